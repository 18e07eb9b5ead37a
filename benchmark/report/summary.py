"""From records to a Summary: each metric's statistics and coverage, what failed and why, how long it took."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from benchmark.records import Prediction, Score
from benchmark.report.statistics import Statistics, describe

if TYPE_CHECKING:
    from benchmark.metrics import Measure

EXAMPLES = 5
TRACEBACK = "Traceback (most recent call last)"


class PredictionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many predictions there should be (cases x samples) and what became of them."""

    expected: int
    ok: int
    failed: int
    missing: int


class MetricSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric over the run: expected = scored + failed + missing, and the statistics of what was scored.

    A metric of the whole set (`scope` "set") expects one value, has no categories and keeps its details.
    """

    scope: Literal["case", "set"]
    direction: Literal["higher", "lower", "neither"]
    unit: str
    expected: int
    scored: int
    failed: int
    missing: int
    overall: Statistics
    categories: dict[str, Statistics] = {}
    details: dict[str, Any] = {}


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failed records whose errors share their first line: how many, of how many cases, the first few cases.

    `metrics` names the metrics that failed so; it is empty for predictions.
    """

    stage: Literal["infer", "eval"]
    error: str
    count: int
    n_cases: int
    case_ids: list[str]
    metrics: list[str] = []


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="summary/1"):
    """The content of results/<model>/summary.json. `stages_s` is the wall time of each stage in seconds.

    `excluded` counts the rows of the dataset that were left out because something is wrong with them: no case, no score.
    """

    n_cases: int
    samples: int
    seed: int
    excluded: int = 0
    predictions: PredictionCounts
    metrics: dict[str, MetricSummary]
    failures: list[FailureGroup]
    stages_s: dict[str, float]


_Failures = defaultdict[tuple[Literal["infer", "eval"], str], list[tuple[str | None, str]]]
"""By stage and first line of the error: the case and the metric of each failed record."""


@dataclass
class _Tally:
    """What was found of one metric so far: values by category with the cases they belong to."""

    scope: Literal["case", "set"]
    values: dict[str, list[float]] = field(default_factory=dict)
    cases: dict[str, list[str]] = field(default_factory=dict)
    failed: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, category: str, case_id: str | None, value: float) -> None:
        self.values.setdefault(category, []).append(value)
        self.cases.setdefault(category, []).append(case_id or "")


def summarise(
    cases: Sequence[tuple[str, str]],
    predictions: Iterable[Prediction],
    scores: Iterable[Score],
    measures: Mapping[str, Measure],
    samples: int,
    seed: int,
    *,
    set_metrics: Collection[str] = (),
    stages_s: Mapping[str, float] | None = None,
    excluded: int = 0,
) -> Summary:
    """Return the summary of one model's run, the same for any order of the records.

    Args:
        cases: id and category of each expected case.
        predictions: at most one for each (case, sample).
        scores: at most one valid score for each (case, sample, metric).
        measures: what was to be measured, by `<option>/<name>`; scores of anything else are ignored, as are
            records of cases and samples that are not expected.
        samples: outputs asked of each case.
        seed: of the bootstrap intervals.
        set_metrics: the names in `measures` that give one value for the whole set; those that have a set
            score need not be named.
        stages_s: wall time of each stage in seconds.
        excluded: rows of the dataset that were left out.
    """
    categories = dict(cases)
    failures: _Failures = defaultdict(list)
    counts = _count_predictions(categories, predictions, samples, failures)
    tallies = _tally(categories, scores, measures, samples, set_metrics, failures)
    return Summary(
        n_cases=len(categories),
        samples=samples,
        seed=seed,
        excluded=excluded,
        predictions=counts,
        metrics={name: _metric(measures[name], tallies[name], categories, samples, seed) for name in measures},
        failures=_group(failures),
        stages_s=dict(stages_s or {}),
    )


def encode_summary(summary: Summary) -> bytes:
    """Return the summary as indented JSON, the content of summary.json."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"


def decode_summary(data: bytes) -> Summary:
    """Return the summary that `encode_summary` wrote; raise msgspec.DecodeError on anything else."""
    return msgspec.json.decode(data, type=Summary)


def _count_predictions(
    categories: Mapping[str, str], predictions: Iterable[Prediction], samples: int, failures: _Failures
) -> PredictionCounts:
    ok = failed = 0
    for prediction in predictions:
        if prediction.case_id not in categories or not 0 <= prediction.sample < samples:
            continue
        if prediction.status == "ok":
            ok += 1
        else:
            failed += 1
            failures["infer", _headline(prediction.error)].append((prediction.case_id, ""))
    expected = len(categories) * samples
    assert ok + failed <= expected, f"{ok + failed} predictions for {expected} expected ones: not deduplicated"
    return PredictionCounts(expected=expected, ok=ok, failed=failed, missing=expected - ok - failed)


def _tally(
    categories: Mapping[str, str],
    scores: Iterable[Score],
    measures: Mapping[str, Measure],
    samples: int,
    set_metrics: Collection[str],
    failures: _Failures,
) -> dict[str, _Tally]:
    tallies = {name: _Tally("set" if name in set_metrics else "case") for name in measures}
    for score in scores:
        tally = tallies.get(score.metric)
        if tally is None:
            continue
        if score.case_id is None:
            tally.scope, tally.details = "set", score.details
        elif score.case_id not in categories or not 0 <= score.sample < samples:
            continue
        value, error = score.value, score.error
        if score.status == "ok" and (value is None or not math.isfinite(value)):
            error = f"the value is {value}, which is no finite number"  # a broken record must not end the report
        elif score.status == "ok" and value is not None:
            tally.add(categories[score.case_id] if score.case_id is not None else "", score.case_id, value)
            continue
        tally.failed += 1
        failures["eval", _headline(error)].append((score.case_id, score.metric))
    return tallies


def _metric(measure: Measure, tally: _Tally, categories: Mapping[str, str], samples: int, seed: int) -> MetricSummary:
    sizes = {} if tally.scope == "set" else Counter(categories.values())
    expected = 1 if tally.scope == "set" else len(categories) * samples

    def statistics(names: Collection[str], expected: int) -> Statistics:
        values = [value for name in names for value in tally.values.get(name, [])]
        owners = [owner for name in names for owner in tally.cases.get(name, [])]
        return describe(values, expected, seed, owners if samples > 1 else None)

    overall = statistics(tally.values, expected)
    missing = expected - overall.count - tally.failed
    assert missing >= 0, f"{measure.name}: more scores than the {expected} expected ones: not deduplicated"
    return MetricSummary(
        scope=tally.scope,
        direction=measure.direction,
        unit=measure.unit,
        expected=expected,
        scored=overall.count,
        failed=tally.failed,
        missing=missing,
        overall=overall,
        categories={name: statistics([name], sizes[name] * samples) for name in sorted(sizes) if set(sizes) != {""}},
        details=tally.details,
    )


def _headline(error: str | None) -> str:
    """Return the line that says what happened: the first one, but the last one of a bare traceback."""
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    if not lines:
        return "no error was recorded"
    return lines[-1] if lines[0].startswith(TRACEBACK) else lines[0]


def _group(failures: _Failures) -> list[FailureGroup]:
    """Return the failures by stage and first line, the most frequent first."""
    groups = []
    for (stage, error), members in failures.items():
        ids = sorted({case_id for case_id, _ in members if case_id is not None})
        metrics = sorted({metric for _, metric in members if metric})
        groups.append(
            FailureGroup(
                stage=stage,
                error=error,
                count=len(members),
                n_cases=len(ids),
                case_ids=ids[:EXAMPLES],
                metrics=metrics,
            )
        )
    return sorted(groups, key=lambda group: (-group.count, group.stage == "eval", group.error))
