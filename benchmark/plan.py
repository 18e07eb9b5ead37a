"""The plan: everything that can go wrong for a user goes wrong here, before anything is written and before any GPU.

All mistakes are collected and shown together. Planning leaves no trace; `freeze` makes the run folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmark import cases as case_files
from benchmark import reuse
from benchmark.build import build
from benchmark.cases import CaseTable
from benchmark.config import CaseSet, Config, Frozen, Identity, MetricPlan
from benchmark.dataset import Dataset
from benchmark.errors import Problem, UserError, closest, some
from benchmark.ledger import Pass
from benchmark.metrics import Metric, SetMetric
from benchmark.model import Checked, Model, Sized
from benchmark.prompts import Prompts
from benchmark.store import Store, unsafe

FILTERS = ("categories", "ids")
LIGHT = "import msgspec, yaml, numpy, PIL, av"
REDO_WORDS = ("failed", "infer", "predictions")


@dataclass
class Invocation:
    """What the user typed, resolved: the typed config, which options were chosen, and which keys were given by hand."""

    config: Config
    model_name: str
    dataset_name: str
    overrides: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.config.name or f"{self.model_name}-{self.dataset_name}"

    @property
    def given(self) -> set[str]:
        """The keys that were overridden by hand, without the groups' own names."""
        keys = {override.lstrip("+~").split("=")[0].split("@")[0] for override in self.overrides}
        return keys - {"model", "dataset", "prompts", "metrics", "compute", "experiment"}


@dataclass
class Plan:
    """A run that can be frozen: the config its workers will read, its cases, and the folder it goes on with, if any."""

    frozen: Frozen
    table: CaseTable
    output_root: Path
    store: Store | None
    why: str
    overrides: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)


@dataclass
class Components:
    """The built components of a run, None where the user's mistake prevents one."""

    model: Any = None
    dataset: Any = None
    prompts: Any = None
    metrics: dict[str, Any] = field(default_factory=dict)


def plan(invocation: Invocation, within_sweep: bool = False, on: Store | None = None) -> Plan:
    """Return the plan of one run. Raises UserError with all problems at once.

    `within_sweep` leaves it to the sweep which run to go on with; `on` is the run that mode=eval or viz works on.
    """
    config = invocation.config
    if config.mode in ("eval", "viz"):
        return _plan_on_existing(invocation, on)
    parts, problems = build_all(config, with_dataset=True)
    problems += _settings(invocation, parts)
    table = CaseTable()
    if parts.dataset:
        table, found = _cases(config, parts)
        problems += found
    problems += _resources(config)
    if problems:
        raise UserError(problems)
    frozen = _freeze(invocation, parts, table)
    store, why = (None, "a new sweep") if within_sweep else _choose(invocation, frozen)
    if store:
        frozen = reuse.next_passes(store, frozen, config.redo)
    problems = _disk(config, parts.model, frozen, store)
    if problems:
        raise UserError(problems)
    return Plan(frozen, table, Path(config.output_root), store, why, invocation.overrides)


def build_all(config: Config, with_dataset: bool) -> tuple[Components, list[Problem]]:
    """Return the components and every problem that building and asking them finds."""
    parts, plugins = Components(), config.plugins
    parts.model, problems = build(config.model, (Model,), "model", plugins)
    parts.prompts, found = build(config.prompts, (Prompts,), "prompts", plugins)
    problems += found
    if with_dataset:
        spec = {key: value for key, value in config.dataset.items() if key not in FILTERS}
        parts.dataset, found = build(spec, (Dataset,), "dataset", plugins)
        problems += found
    for name, spec in config.metrics.items():
        parts.metrics[name], found = build(spec, (Metric, SetMetric), f"metrics.{name}", plugins)
        problems += found
    named = {"model": parts.model, "prompts": parts.prompts, "dataset": parts.dataset}
    named |= {f"metrics.{name}": metric for name, metric in parts.metrics.items()}
    for component in named.values():
        if isinstance(component, Checked):
            problems += component.problems()
    for name, metric in parts.metrics.items():
        if metric and parts.model and parts.model.output not in metric.accepts:
            wrong = f"scores {some(metric.accepts)}, but the model makes {parts.model.output}"
            problems.append(Problem(f"metrics.{name}", wrong, fix="leave it out, or choose another model"))
    return parts, problems


def _settings(invocation: Invocation, parts: Components) -> list[Problem]:
    config, problems = invocation.config, []
    for where, name in (("name", invocation.name), ("model", invocation.model_name)):
        if why := unsafe(name):
            problems.append(Problem(where, why, repr(name), fix="use letters, digits, - and _"))
    words = [*REDO_WORDS, *config.metrics]
    for word in config.redo:
        if word not in words:
            problems.append(Problem("redo", "names nothing to redo", word, some(words), closest(word, words)))
    if "eval" in config.stages and not config.metrics:
        problems.append(Problem("metrics", "none is chosen, so there is nothing to score", fix="mode=infer"))
    return problems


def _cases(config: Config, parts: Components) -> tuple[CaseTable, list[Problem]]:
    filters = {key: config.dataset.get(key) for key in FILTERS}
    problems = [
        Problem(f"dataset.{key}", "expected a list", repr(value), fix=f"dataset.{key}=[{value}]")
        for key, value in filters.items()
        if value is not None and not isinstance(value, list)
    ]
    if problems:
        return CaseTable(), problems
    texts = {key: value and [str(item) for item in value] for key, value in filters.items()}
    table, problems = case_files.choose(parts.dataset, limit=config.limit, **texts)
    needs: dict[str, Sequence[str]] = {"model": parts.model.needs} if parts.model else {}
    if "eval" in config.stages:
        for name, metric in parts.metrics.items():
            if metric:
                needed = dict.fromkeys(need for measure in metric.measures for need in measure.needs)
                needs[f"metrics.{name}"] = list(needed)
    return table, problems + case_files.inspect(table, needs, parts.prompts)


def _resources(config: Config) -> list[Problem]:
    problems = []
    for stage in ("infer", "eval"):
        python = config.compute.of(stage).python
        if python and stage in config.stages:
            problems += _interpreter(f"compute.{stage}.python", python)
    where = _existing(Path(config.output_root))
    if not where.is_dir() or not os.access(where, os.W_OK | os.X_OK):
        wrong = "can't be written" if where.is_dir() else "is no folder"
        problems.append(Problem("output_root", f"{where} {wrong}", config.output_root, fix="output_root=..."))
    return problems


def _interpreter(where: str, python: str) -> list[Problem]:
    path = shutil.which(python)
    if not path:
        return [Problem(where, "no such interpreter", python, fix="give the full path of a python executable")]
    tried = subprocess.run([path, "-c", LIGHT], capture_output=True, text=True, check=False)
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or ["it does not run"])[-1]
        fix = f"{python} -m pip install msgspec pyyaml numpy pillow av"
        return [Problem(where, f"can't run a worker: {reason}", python, fix=fix)]
    return []


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _disk(config: Config, model: Any, frozen: Frozen, store: Store | None) -> list[Problem]:
    if not isinstance(model, Sized) or "infer" not in frozen.stages:
        return []
    done = 0
    if store:
        ledger = reuse.Ledger(store, "infer", frozen.model_name, [frozen.prediction.fingerprint])
        done = sum(state.ok >= 0 for state in ledger.states.values())
    pending = frozen.cases.n * frozen.samples - done
    where = _existing(Path(config.output_root))
    free_mb, needed_mb = shutil.disk_usage(where).free / 1e6, model.output_mb() * pending
    if needed_mb <= free_mb:
        return []
    wrong = f"too little disk: {pending} outputs take about {needed_mb:,.0f} MB, {free_mb:,.0f} MB are free in {where}"
    return [Problem("output_root", wrong, config.output_root, fix="free some, or give another output_root=")]


def _freeze(invocation: Invocation, parts: Components, table: CaseTable) -> Frozen:
    config = invocation.config
    keys = reuse.identity_of("model", config.model, parts.model)
    keys |= reuse.identity_of("prompts", config.prompts, parts.prompts)
    keys |= {"seed": config.seed} | dict(reuse.flatten("media", msgspec.to_builtins(config.media)))
    return Frozen(
        name=invocation.name,
        model_name=invocation.model_name,
        mode=config.mode,
        model=config.model,
        dataset=config.dataset,
        prompts=config.prompts,
        metrics=plan_metrics(config, parts),
        media=config.media,
        compute=config.compute,
        seed=config.seed,
        samples=config.samples,
        limit=config.limit,
        plugins=config.plugins,
        plugin_folders=plugin_folders(config.plugins),
        cases=CaseSet(len(table.ids), table.digest),
        prediction=Identity(keys),
        infer=Pass(max_attempts=config.max_attempts),
        debug=config.debug,
    )


def plan_metrics(config: Config, parts: Components) -> dict[str, MetricPlan]:
    """Return each metrics option with what identifies its scores."""
    return {
        name: MetricPlan(
            spec=spec,
            identity=Identity(reuse.identity_of(f"metrics.{name}", spec, parts.metrics[name])),
            scope="set" if isinstance(parts.metrics[name], SetMetric) else "case",
            turn=Pass(max_attempts=config.max_attempts),
            measures=list(parts.metrics[name].measures),
        )
        for name, spec in config.metrics.items()
    }


def plugin_folders(plugins: Sequence[str]) -> dict[str, str]:
    """Return where each plugin's package lies, so that a worker in another interpreter finds it."""
    from importlib.util import find_spec

    found = {name: find_spec(name) for name in plugins}
    return {
        name: next(iter(spec.submodule_search_locations or [])) or spec.origin or ""
        for name, spec in found.items()
        if spec
    }


def _choose(invocation: Invocation, frozen: Frozen) -> tuple[Store | None, str]:
    config, root = invocation.config, Path(invocation.config.output_root)
    if config.reuse is None:
        return None, "reuse=null"
    wanted = wanted_of(frozen)
    if config.reuse == "auto":
        return reuse.choose(root, wanted, bool(config.redo))
    store = existing_run(root, invocation.name, config.reuse)
    found = reuse.mismatch(reuse.newest_config(store), wanted)
    if found:
        raise UserError(reuse.refusal(store, found))
    return store, f"reuse={config.reuse}"


def wanted_of(frozen: Frozen) -> reuse.Wanted:
    return reuse.Wanted(
        name=frozen.name,
        model_name=frozen.model_name,
        prediction=frozen.prediction,
        cases_n=frozen.cases.n,
        cases_digest=frozen.cases.digest,
        samples=frozen.samples,
        dataset=frozen.dataset,
        scores=frozen.score_fingerprints,
        measures={name: tuple(m.name for m in p.measures) for name, p in frozen.metrics.items()},
        set_options=frozenset(name for name, p in frozen.metrics.items() if p.scope == "set"),
        stages=frozen.stages,
    )


def existing_run(output_root: Path, name: str, which: str) -> Store:
    """Return the run that `reuse=latest`, or `reuse=<timestamp>`, names. Raises UserError if there is none."""
    runs = reuse.runs_of(output_root, name)
    for store in runs:
        if which in ("auto", "latest", store.folder.name):
            return store
    stamps = [store.folder.name for store in runs]
    wrong = f"{output_root / name} has no such run" if runs else f"{output_root / name} has no run yet"
    fix = closest(which, stamps) or ("" if runs else "run it with mode=all first, or give name=...")
    raise UserError(Problem("reuse", wrong, which, some(["latest", *stamps]) if runs else "", fix))


def _plan_on_existing(invocation: Invocation, on: Store | None) -> Plan:
    """Plan mode=eval or viz: model, dataset, prompts and seed are those of the run it works on."""
    config = invocation.config
    if config.reuse is None:
        fix = "leave reuse away (the latest run), or give reuse=<timestamp>"
        raise UserError(Problem("reuse", f"mode={config.mode} needs a run to work on", "null", "latest", fix))
    store = on or existing_run(Path(config.output_root), invocation.name, config.reuse)
    old = reuse.newest_config(store)
    taken = msgspec.structs.replace(
        config,
        model=old.model,
        dataset=old.dataset,
        prompts=old.prompts,
        media=old.media,
        seed=old.seed,
        samples=old.samples,
        limit=old.limit,
        plugins=list(dict.fromkeys([*old.plugins, *config.plugins])),
    )
    problems = _contradictions(invocation, store, old)
    parts, found = build_all(taken, with_dataset=False)
    problems += found + _settings(invocation, parts) + _resources(config)
    table = CaseTable()
    for case in store.cases():
        table.ids.append(case.id)
        table.categories.append(case.category)
        table.lines.append(case_files.encode(case))
    if config.mode == "eval" and not found:
        needs = {f"metrics.{n}": [x for s in m.measures for x in s.needs] for n, m in parts.metrics.items()}
        problems += case_files.inspect(table, needs, None)
    if problems:
        raise UserError(problems)
    metrics = plan_metrics(taken, parts) if config.mode == "eval" else old.metrics
    frozen = msgspec.structs.replace(
        old,
        mode=config.mode,
        metrics=metrics,
        compute=config.compute,
        plugins=taken.plugins,
        plugin_folders=plugin_folders(taken.plugins),
        debug=config.debug,
    )
    frozen = reuse.next_passes(store, frozen, config.redo)
    notes = _other_scores(old, frozen)
    why = f"mode={config.mode} works on an existing run"
    return Plan(frozen, table, Path(config.output_root), store, why, invocation.overrides, notes)


def _contradictions(invocation: Invocation, store: Store, old: Frozen) -> list[Problem]:
    config, given = invocation.config, invocation.given
    asked: Mapping[str, Any] = {
        **dict(reuse.flatten("model", config.model)),
        **dict(reuse.flatten("prompts", config.prompts)),
        **dict(reuse.flatten("dataset", config.dataset)),
        **dict(reuse.flatten("media", msgspec.to_builtins(config.media))),
        "seed": config.seed,
        "samples": config.samples,
        "limit": config.limit,
    }
    has = {
        **dict(reuse.flatten("model", old.model)),
        **dict(reuse.flatten("prompts", old.prompts)),
        **dict(reuse.flatten("dataset", old.dataset)),
        **dict(reuse.flatten("media", msgspec.to_builtins(old.media))),
        "seed": old.seed,
        "samples": old.samples,
        "limit": old.limit,
    }
    found = reuse.differences(has, asked)
    return reuse.refusal(store, {key: pair for key, pair in found.items() if key in given})


def _other_scores(old: Frozen, frozen: Frozen) -> list[str]:
    notes = []
    for name, plan_ in frozen.metrics.items():
        before = old.metrics.get(name)
        if before and before.identity.fingerprint != plan_.identity.fingerprint:
            changed = reuse.differences(before.identity.keys, plan_.identity.keys)
            listed = some(f"{key}: {was} -> {now}" for key, (was, now) in changed.items())
            notes.append(f"metrics.{name} has other settings than last time ({listed}): its scores are computed again")
    return notes
