"""Do the components fit the cases, and each other? Measures that no case can have are left out, and the user is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark import needs
from benchmark.build import build
from benchmark.cases import CaseTable, decode_case, shortened
from benchmark.components import Components
from benchmark.errors import Problem, UserError, blame, some
from benchmark.metrics import Metric, SetMetric
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
    """Return the metrics of `specs` narrowed to what the cases have, and every misfit of cases and components.

    A metric whose `names` are not given loses the measures that need what no case has; a note says so. What only some
    cases lack, or what was asked for by name, is a problem. Unless this invocation `scores`, nothing is said of metrics.
    """
    fitted = Fitted(dict(specs), {name: parts.metrics[name] for name in specs})
    lacking = needs.count_lacking(table, parts.model_needs() | parts.metric_needs(specs))
    for name, metric in fitted.metrics.items():
        absent = {need for (who, need), n in lacking.items() if who == f"metrics.{name}" and n == len(table.lines)}
        if absent and getattr(metric, "names", ()) is None:
            _narrow(fitted, name, absent, plugins)
            for need in absent if fitted.specs[name].get("names") else ():
                del lacking[f"metrics.{name}", need]
    if not scores:
        fitted.notes.clear()
        lacking = needs.Lacking({pair: n for pair, n in lacking.items() if pair[0] == "model"})
    fitted.problems += needs.problems_of(lacking, len(table.lines))
    for where, component in _present(parts, fitted.metrics if scores else {}):
        for said in _review(where, component, table):
            if isinstance(said, Problem):
                fitted.problems.append(said)
            else:
                fitted.notes.append(said)
    fitted.notes, fitted.problems = fitted.notes[:MOST_NOTES], shortened(fitted.problems)
    return fitted


def _narrow(fitted: Fitted, name: str, absent: set[str], plugins: Sequence[str]) -> None:
    measures = fitted.metrics[name].measures
    left_out = [measure for measure in measures if absent & set(measure.needs)]
    kept = [measure.name for measure in measures if measure not in left_out]
    if not kept:
        return
    spec = {**fitted.specs[name], "names": kept}
    metric, problems = build(spec, (Metric, SetMetric), f"metrics.{name}", plugins)
    assert not problems, f"metrics.{name} takes its own measures' names: {problems}"
    fitted.specs[name], fitted.metrics[name] = spec, metric
    why = some(dict.fromkeys(need for measure in left_out for need in measure.needs if need in absent))
    fitted.notes.append(f"metrics.{name} leaves out {some(m.name for m in left_out)}: no case has {why}")


def _present(parts: Components, metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
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
