"""The components of a run: building all of them, asking each what is wrong, and what identifies each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import msgspec

from benchmark.build import arguments_of, bind, build
from benchmark.config import Config, Identity, MetricPlan
from benchmark.dataset import Dataset
from benchmark.errors import Problem, UserError, blame, some
from benchmark.ledger import Pass
from benchmark.metrics import Metric, SetMetric
from benchmark.model import Checked, Identified, Kind, Model
from benchmark.prompts import Prompts
from benchmark.reuse import flatten

FILTERS = ("categories", "ids")
OWN_NAME = re.compile(r"^metrics\.\w+")


@dataclass
class Components:
    """The built components of a run, None where the user's mistake prevents one."""

    model: Any = None
    dataset: Any = None
    prompts: Any = None
    metrics: dict[str, Any] = field(default_factory=dict)
    output: Kind | None = None

    def model_needs(self) -> dict[str, Sequence[str]]:
        """Return what each case must have for the model."""
        return {"model": self.model.needs} if self.model else {}

    def metric_needs(self, metrics: Mapping[str, Any]) -> dict[str, Sequence[str]]:
        """Return what each case must have for each of the metrics options."""
        built = {f"metrics.{name}": metric for name, metric in metrics.items() if metric}
        return {
            name: list(dict.fromkeys(need for measure in metric.measures for need in measure.needs))
            for name, metric in built.items()
        }


def build_all(config: Config, with_dataset: bool = True, matched: bool = True) -> tuple[Components, list[Problem]]:
    """Return the components and every problem that building and asking them finds, with those of one beside the other
    unless it is not `matched`."""
    places: dict[str, tuple[Mapping[str, Any], tuple[type, ...]]] = {
        "model": (config.model, (Model,)),
        "prompts": (config.prompts, (Prompts,)),
    }
    if with_dataset:
        places["dataset"] = (without_filters(config.dataset), (Dataset,))
    places |= {f"metrics.{name}": (spec, (Metric, SetMetric)) for name, spec in config.metrics.items()}
    built: dict[str, Any] = {}
    problems = plugin_problems(config.plugins)
    for where, (spec, protocols) in places.items():
        if where.startswith("metrics.") and "_target_" not in spec:
            built[where], found = None, [_not_chosen(where, config)]
            problems += found
            continue
        built[where], found = build(spec, protocols, where, config.plugins)
        problems += found or _own_problems(where, built[where])
    parts = Components(
        model=built["model"],
        prompts=built["prompts"],
        dataset=built.get("dataset"),
        metrics={name: built[f"metrics.{name}"] for name in config.metrics},
        output=built["model"].output if built["model"] else None,
    )
    return parts, problems + (_mismatched(parts) if matched else [])


def _not_chosen(where: str, config: Config) -> Problem:
    name = where.partition(".")[2]
    chosen = [option for option, spec in config.metrics.items() if "_target_" in spec]
    fix = f"metrics=[{','.join([*chosen, name])}]"
    return Problem(where, "has settings, but is not among the metrics chosen", some(chosen), fix=fix)


def without_filters(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset's spec without the filters, which are not its own arguments."""
    return {key: value for key, value in spec.items() if key not in FILTERS}


def _own_problems(where: str, component: Any) -> list[Problem]:
    if not isinstance(component, Checked):
        return []
    try:
        return [named(where, problem) for problem in component.problems()]
    except UserError as error:
        return [named(where, problem) for problem in error.problems]
    except Exception as error:  # noqa: BLE001 - a component's own code
        return [Problem(where, f"its check of itself failed: {blame(error)}")]


def named(where: str, problem: Problem) -> Problem:
    """Return the problem with the key under which the component stands: a metric can't know what its option is called."""
    if not where.startswith("metrics.") or problem.where.startswith(where):
        return problem
    return replace(problem, where=OWN_NAME.sub(where, problem.where))


def _mismatched(parts: Components) -> list[Problem]:
    return [
        Problem(
            f"metrics.{name}",
            f"scores {some(metric.accepts)}, but the model makes {parts.model.output}",
            fix=f"leave it out: metrics=[...] without {name}, or choose another model",
        )
        for name, metric in parts.metrics.items()
        if metric and parts.model and parts.model.output not in metric.accepts
    ]


def identity_of(where: str, spec: Mapping[str, Any], component: Any) -> dict[str, Any]:
    """Return what identifies a component: its arguments that change results, its version, and what it says itself.

    Arguments count as what they are converted to (12 for a float is 12.0), so that two spellings are one identity.
    """
    execution_only = getattr(component, "execution_only", ())
    arguments, _ = bind(type(component), arguments_of(spec), where)
    counting = {key: value for key, value in arguments.items() if key not in execution_only}
    keys = {f"{where}._target_": spec.get("_target_"), **dict(flatten(where, counting))}
    keys[f"{where}.version"] = component.version
    if isinstance(component, Identified):
        keys |= dict(flatten(f"{where}.identity", component.identity()))
    plain: dict[str, Any] = msgspec.to_builtins(keys, order="deterministic", enc_hook=str)
    return plain


def plan_metrics(config: Config, parts: Components) -> dict[str, MetricPlan]:
    """Return each metrics option with what identifies its scores."""
    return {
        name: MetricPlan(
            spec=spec,
            identity=Identity(identity_of(f"metrics.{name}", spec, parts.metrics[name])),
            scope="set" if isinstance(parts.metrics[name], SetMetric) else "case",
            turn=Pass(max_attempts=config.max_attempts),
            measures=list(parts.metrics[name].measures),
        )
        for name, spec in config.metrics.items()
    }


def plugin_problems(plugins: Sequence[str]) -> list[Problem]:
    """Return a problem for each plugin that is no package that can be found from here."""
    problems = []
    for name in plugins:
        if not name.isidentifier():
            fix = f"plugins=[{name.split('.')[0]}]"
            problems.append(Problem("plugins", "is no name of a package", name, "a top-level package", fix))
        elif not _locate(name):
            fix = "start from the folder that holds it, install it, or put its folder on PYTHONPATH"
            problems.append(Problem("plugins", "no such package can be found", name, fix=fix))
    return problems


def plugin_folders(plugins: Sequence[str]) -> dict[str, str]:
    """Return where each plugin's package lies, so that a worker in another interpreter finds it."""
    return {name: place for name in plugins if (place := _locate(name))}


def _locate(package: str) -> str:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    return next(iter(spec.submodule_search_locations or []), None) or spec.origin or ""
