"""Do the components fit the cases, and each other? Measures that no case can have are left out, and the user is told."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark import needs
from benchmark.build import build
from benchmark.cases import CaseTable, decode_case, shortened
from benchmark.components import Components, named
from benchmark.errors import Problem, UserError, blame, some
from benchmark.metrics import Measure, Metric, SetMetric
from benchmark.model import Reviewing

Specs = dict[str, dict[str, Any]]
MOST_NOTES = 20


@dataclass
class Fitted:
    """The metrics as they fit the cases, by option: their specs and objects; what the user should know, and what is wrong."""

    specs: Specs
    metrics: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def fit(
    parts: Components,
    specs: Mapping[str, dict[str, Any]],
    table: CaseTable,
    plugins: Sequence[str],
    scores: bool = True,
) -> Fitted:
    """Return the metrics of `specs` narrowed to what the cases and the output allow, and every misfit of the components.

    A metric whose `names` are not given loses the measures that need what no case has, or another kind of output; a note
    says so. What only some cases lack, or what was asked for by name, is a problem. Unless this invocation `scores`, nothing
    is said of metrics.
    """
    fitted = Fitted(dict(specs), {name: parts.metrics[name] for name in specs})
    lacking = needs.count_lacking(table, parts.model_needs() | parts.metric_needs(fitted.metrics))
    absent = {need for (_, need), n in lacking.items() if n == len(table.lines)}
    for name, metric in fitted.metrics.items():
        if getattr(metric, "names", ()) is None:
            _narrow(fitted, name, {m.name: why for m in metric.measures if (why := _unfit(m, absent, parts))}, plugins)
    if scores:
        kept = parts.model_needs() | parts.metric_needs(fitted.metrics)
        fitted.problems += _wrong_kinds(fitted.metrics, parts)
    else:
        kept = parts.model_needs()
        fitted.notes.clear()
    lacking = needs.Lacking({(who, need): n for (who, need), n in lacking.items() if need in kept.get(who, ())})
    fitted.problems += needs.problems_of(lacking, len(table.lines))
    for where, component in _present(parts, fitted.metrics if scores else {}):
        for said in _review(where, component, table):
            if isinstance(said, Problem):
                fitted.problems.append(named(where, said))
            else:
                fitted.notes.append(said)
    fitted.notes, fitted.problems = fitted.notes[:MOST_NOTES], shortened(fitted.problems)
    return fitted


def _unfit(measure: Measure, absent: Collection[str], parts: Components) -> str:
    """Return why a measure can't be had of any prediction, or ""."""
    if parts.output and measure.kinds and parts.output not in measure.kinds:
        return f"it is of a {' or '.join(measure.kinds)}, the model makes a {parts.output}"
    lacking = [need for need in measure.needs if need in absent]
    return f"no case has {some(lacking)}" if lacking else ""


def _narrow(fitted: Fitted, name: str, unfit: Mapping[str, str], plugins: Sequence[str]) -> None:
    kept = [measure.name for measure in fitted.metrics[name].measures if measure.name not in unfit]
    if not (unfit and kept):
        return
    spec = {**fitted.specs[name], "names": kept}
    metric, problems = build(spec, (Metric, SetMetric), f"metrics.{name}", plugins)
    assert not problems, f"metrics.{name} takes its own measures' names: {problems}"
    fitted.specs[name], fitted.metrics[name] = spec, metric
    for why in dict.fromkeys(unfit.values()):
        fitted.notes.append(f"metrics.{name} leaves out {some(m for m in unfit if unfit[m] == why)}: {why}")


def _wrong_kinds(metrics: Mapping[str, Any], parts: Components) -> Iterator[Problem]:
    for name, metric in metrics.items():
        for measure in metric.measures if metric else ():
            if why := _unfit(measure, (), parts):
                yield Problem(f"metrics.{name}", f"can't give {measure.name}: {why}", fix="leave it out of names")


def _present(parts: Components, metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "dataset", parts.dataset
    yield "model", parts.model
    yield "prompts", parts.prompts
    for name, metric in metrics.items():
        yield f"metrics.{name}", metric


def _review(where: str, component: Any, table: CaseTable) -> Iterator[Problem | str]:
    if not isinstance(component, Reviewing):
        return
    try:
        yield from component.review((decode_case(line) for line in table.lines), table.samples)
    except UserError as error:
        yield from error.problems
    except Exception as error:  # noqa: BLE001 - a component's own code
        yield Problem(where, f"its look at the cases failed: {blame(error)}")
