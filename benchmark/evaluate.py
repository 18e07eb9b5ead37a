"""What a worker does in the eval stage: decode each prediction once, let every metric that lacks it score it, record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.claims import Chunk
from benchmark.config import Frozen
from benchmark.drain import Failure, guarded
from benchmark.ledger import Ledger
from benchmark.media import Clip
from benchmark.merge import set_digest
from benchmark.metrics import Item, Measured, Metric, SetMetric
from benchmark.model import Kind
from benchmark.records import Case, Key, Line, Prediction, Score
from benchmark.store import CaseFile, Store

SET_KEY = Key("", 0)  # stands for the whole set in a journal's start lines


@dataclass(frozen=True)
class Scoring:
    """One prediction, and the metrics options that still have to score it."""

    item: Item
    options: tuple[str, ...]

    @property
    def key(self) -> Key:
        return Key(self.item.case.id, self.item.prediction.sample)


@dataclass(frozen=True)
class SetScoring:
    """All predictions at once, and the set metrics that still have to score them."""

    options: tuple[str, ...]
    key: Key = SET_KEY


@dataclass
class Context:
    """What both passes of the eval stage look at."""

    store: Store
    frozen: Frozen
    ledger: Ledger
    made: Mapping[tuple, Prediction]
    worker: str
    dead: Iterable[str] = ()
    cases: CaseFile = field(init=False)

    def __post_init__(self) -> None:
        self.cases = self.store.cases()

    def item(self, case: Case, prediction: Prediction) -> Item:
        files = {role: self.store.folder / path for role, path in prediction.files.items()}
        return Item(case, prediction, Clip(files, prediction.text))

    def wants(self, option: str, case_id: str | None, sample: int, sha256: str) -> bool:
        """Return whether any number of a metrics option is still to be had of this prediction."""
        plan, states = self.frozen.metrics[option], self.ledger.states
        units = ((case_id, sample, f"{option}/{measure.name}") for measure in plan.measures)
        return any(plan.turn.wants(states.get(unit), sha256) for unit in units)

    def scores(self, option: str, unit: Score, result: Any) -> list[Line]:
        """Return a Score per measure of the option, made from the metric's result or its failure."""
        plan, records = self.frozen.metrics[option], []
        for measure in plan.measures:
            value, details, error = _value(result, measure.name)
            records.append(
                Score(
                    case_id=unit.case_id,
                    sample=unit.sample,
                    category=unit.category,
                    metric=f"{option}/{measure.name}",
                    status="failed" if error else "ok",
                    value=value,
                    error=error,
                    details=details,
                    prediction_sha256=unit.prediction_sha256,
                    fingerprint=plan.identity.fingerprint,
                    attempt=plan.turn.attempt,
                    worker=self.worker,
                )
            )
        return records  # type: ignore[return-value]

    def of(self, case: Case | None, sample: int, sha256: str | None) -> Score:
        """Return a score without a value, which says what it is of."""
        return Score(
            case_id=case.id if case else None,
            sample=sample,
            category=case.category if case else "",
            metric="",
            status="failed",
            prediction_sha256=sha256,
            fingerprint="",
        )


def _value(result: Any, name: str) -> tuple[float | None, dict[str, Any], str | None]:
    if isinstance(result, Failure):
        return None, {}, result.error
    if name not in result:
        return None, {}, f"ValueError: the metric gave no {name}; it gave {', '.join(result) or 'nothing'}"
    value: Any = result[name]
    details: dict[str, Any] = {}
    if isinstance(value, Measured):
        value, details = value.value, dict(value.details)
    if not math.isfinite(value):
        return None, details, f"ValueError: the metric gave {value}, which is no finite number"
    return float(value), details, None


@dataclass
class Evaluation:
    """The pass over single predictions: all metrics of one clip share its one decode."""

    context: Context
    metrics: Mapping[str, Metric]
    kind: Kind
    ahead: int = field(init=False)
    threads: int = field(init=False)
    batch: int = field(init=False)

    def __post_init__(self) -> None:
        self.batch = max((metric.batch_size for metric in self.metrics.values()), default=1)
        self.threads = 0 if self.kind == "text" else 1
        self.ahead = 1 if self.threads else 0

    def pending(self, chunk: Chunk) -> list[Scoring]:
        """Return the predictions of the chunk that lack a score, each with the metrics that it lacks."""
        for journal in chunk.former:
            self.context.ledger.refresh_one(journal)
        found = []
        for index in range(chunk.first, chunk.last):
            case = self.context.cases[index]
            for sample in range(self.context.frozen.samples):
                options = self.lacking(case.id, sample)
                if options:
                    prediction = self.context.made[case.id, sample]
                    found.append(Scoring(self.context.item(case, prediction), options))
        return found

    def lacking(self, case_id: str, sample: int) -> tuple[str, ...]:
        """Return the metrics options that still have to score a prediction; none where there is no good one."""
        prediction = self.context.made.get((case_id, sample))
        if prediction is None or prediction.status != "ok":
            return ()
        sha256 = prediction.sha256 or ""
        return tuple(option for option in self.metrics if self.context.wants(option, case_id, sample, sha256))

    def deaths(self, chunk: Chunk) -> dict[Key, int]:
        return self.context.ledger.deaths({*self.context.dead, *chunk.former})

    def prepare(self, scoring: Scoring) -> None:
        """Decode the clip ahead of its turn."""
        if self.kind != "text":
            _ = scoring.item.clip.frames

    def work(self, scorings: Sequence[Scoring]) -> list[list[Line]]:
        """Return all scores of each prediction; a metric's exception fails that metric of that prediction alone."""
        records: list[list[Line]] = [[] for _ in scorings]
        for option, metric in self.metrics.items():
            wanted = [index for index, scoring in enumerate(scorings) if option in scoring.options]
            items = [scorings[index].item for index in wanted]
            for first in range(0, len(items), metric.batch_size):
                batch = items[first : first + metric.batch_size]
                for index, result in zip(wanted[first:], guarded(metric.score, batch, _keep_batch), strict=False):
                    item = scorings[index].item
                    unit = self.context.of(item.case, item.prediction.sample, item.prediction.sha256)
                    records[index] += self.context.scores(option, unit, result)
        for scoring in scorings:
            scoring.item.clip.release()
        return records

    def records(self, scoring: Scoring, made: list[Line]) -> list[Line]:
        return made

    def failed(self, scoring: Scoring, error: str) -> list[Line]:
        item = scoring.item
        unit = self.context.of(item.case, item.prediction.sample, item.prediction.sha256)
        failure = Failure(error)
        return [record for option in scoring.options for record in self.context.scores(option, unit, failure)]


def _keep_batch(_: int) -> None:
    """A metric's batch stays as it is: the next clip may be shorter."""


@dataclass
class SetEvaluation:
    """The pass over the whole set, one chunk: FID and the like."""

    context: Context
    metrics: Mapping[str, SetMetric]
    batch: int = 1
    threads: int = 0
    ahead: int = 0

    def __post_init__(self) -> None:
        self._sha256 = set_digest(self.context.made)

    def pending(self, chunk: Chunk) -> list[SetScoring]:
        for journal in chunk.former:
            self.context.ledger.refresh_one(journal)
        options = self.lacking()
        return [SetScoring(options)] if options else []

    def lacking(self) -> tuple[str, ...]:
        return tuple(option for option in self.metrics if self.context.wants(option, None, 0, self._sha256))

    def deaths(self, chunk: Chunk) -> dict[Key, int]:
        return self.context.ledger.deaths({*self.context.dead, *chunk.former})

    def prepare(self, scoring: SetScoring) -> None:
        """Nothing can be prepared: the set is streamed."""

    def items(self) -> Iterator[Item]:
        """Yield every good prediction, in the order of the cases, decoded when asked for and released after its turn."""
        for case in self.context.cases:
            for sample in range(self.context.frozen.samples):
                prediction = self.context.made.get((case.id, sample))
                if prediction and prediction.status == "ok":
                    item = self.context.item(case, prediction)
                    yield item
                    item.clip.release()

    def work(self, scorings: Sequence[SetScoring]) -> list[list[Line]]:
        records: list[Line] = []
        used = sum(prediction.status == "ok" for prediction in self.context.made.values())
        expected = len(self.context.cases) * self.context.frozen.samples
        for option in scorings[0].options:
            metric = self.metrics[option]
            result = guarded(lambda _, metric=metric: [metric.score_set(self.items())], [None], _keep_batch)[0]  # type: ignore[misc]
            made = self.context.scores(option, self.context.of(None, 0, self._sha256), result)
            for record in made:
                record.details.update(n_used=used, n_expected=expected)  # type: ignore[union-attr]
            records += made
        return [records]

    def records(self, scoring: SetScoring, made: list[Line]) -> list[Line]:
        return made

    def failed(self, scoring: SetScoring, error: str) -> list[Line]:
        unit = self.context.of(None, 0, self._sha256)
        failure = Failure(error)
        return [record for option in scoring.options for record in self.context.scores(option, unit, failure)]
