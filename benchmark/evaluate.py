"""What a worker does in the eval stage: decode each prediction once, let every metric that lacks it score it, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.claims import Chunk
from benchmark.guard import guarded
from benchmark.ledger import Deaths
from benchmark.merge import set_digest
from benchmark.metrics import Item, Metric, SetMetric
from benchmark.records import Key, Line
from benchmark.scoring import SET_KEY, Context, Scoring


@dataclass
class Evaluation:
    """The pass over single predictions: all metrics of one clip share its one decode."""

    context: Context
    metrics: Mapping[str, Metric]
    ahead: int = field(init=False)
    threads: int = field(init=False)
    batch: int = field(init=False)

    def __post_init__(self) -> None:
        everything = len(self.context.cases) * self.context.frozen.samples
        sizes = {option: metric.batch_size or everything for option, metric in self.metrics.items()}
        self._sizes, self.batch = sizes, max(sizes.values(), default=1)
        needs = {need for metric in self.metrics.values() for measure in metric.measures for need in measure.needs}
        self._compares = "reference" in needs
        decodes = any(getattr(metric, "decodes", True) for metric in self.metrics.values())
        decodes = decodes and any(prediction.files for prediction in self.context.made.values())
        self.threads = self.ahead = 1 if decodes else 0

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
                    made = self.context.made[case.id, sample]
                    item, key = self.context.item(case, made), Key(case.id, sample)
                    found.append(Scoring(key, case.id, case.category, made.sha256 or "", options, item))
        return found

    def lacking(self, case_id: str, sample: int) -> tuple[str, ...]:
        """Return the metrics options that still have to score a prediction; none where there is no good one."""
        prediction = self.context.made.get((case_id, sample))
        if prediction is None or prediction.status != "ok":
            return ()
        sha256 = prediction.sha256 or ""
        return tuple([option for option in self.metrics if self.context.wants(option, case_id, sample, sha256)])

    def deaths(self, scorings: Sequence[Scoring]) -> dict[Key, Deaths]:
        return self.context.deaths(scorings)

    def prepare(self, scoring: Scoring) -> None:
        """Decode the clip ahead of its turn."""
        assert scoring.item
        scoring.item.clip.preload()
        if self._compares and "reference" in scoring.item.case.inputs:
            scoring.item.input("reference").preload()

    def work(self, scorings: Sequence[Scoring]) -> list[list[Line]]:
        """Return all scores of each prediction; a metric's exception fails that metric of that prediction alone."""
        items = [scoring.item for scoring in scorings if scoring.item]
        assert len(items) == len(scorings)
        records: list[list[Line]] = [[] for _ in scorings]
        try:
            for item in items:
                self.context.check(item)
            for option, metric in self.metrics.items():
                wanted = [index for index, scoring in enumerate(scorings) if option in scoring.options]
                size = self._sizes[option]
                for first in range(0, len(wanted), size):
                    batch = wanted[first : first + size]
                    results = guarded(metric.score, [items[index] for index in batch], _keep_batch)
                    for index, result in zip(batch, results, strict=True):
                        records[index] += self.context.scores(option, scorings[index], result)
        finally:
            for item in items:
                item.release()
        return records

    def records(self, scoring: Scoring, made: list[Line], hold: Callable[[], None]) -> list[Line]:
        return made

    def failed(self, scoring: Scoring, error: str) -> list[Line]:
        return self.context.failed(scoring, error)


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

    def pending(self, chunk: Chunk) -> list[Scoring]:
        for journal in chunk.former:
            self.context.ledger.refresh_one(journal)
        options = self.lacking()
        return [Scoring(SET_KEY, None, "", self._sha256, options)] if options else []

    def lacking(self) -> tuple[str, ...]:
        return tuple(option for option in self.metrics if self.context.wants(option, None, 0, self._sha256))

    def deaths(self, scorings: Sequence[Scoring]) -> dict[Key, Deaths]:
        return self.context.deaths(scorings)

    def prepare(self, scoring: Scoring) -> None:
        """Nothing can be prepared: the set is streamed."""

    def items(self) -> Iterator[Item]:
        """Yield every good prediction, in the order of the cases, decoded when asked for and released after its turn."""
        for case in self.context.cases:
            for sample in range(self.context.frozen.samples):
                prediction = self.context.made.get((case.id, sample))
                if prediction and prediction.status == "ok":
                    item = self.context.item(case, prediction)
                    self.context.check(item)
                    yield item
                    item.release()

    def work(self, scorings: Sequence[Scoring]) -> list[list[Line]]:
        records: list[Line] = []
        used = sum(prediction.status == "ok" for prediction in self.context.made.values())
        expected = len(self.context.cases) * self.context.frozen.samples
        for option in scorings[0].options:
            metric = self.metrics[option]
            result = guarded(lambda _, metric=metric: [metric.score_set(self.items())], [None], _keep_batch)[0]  # type: ignore[misc]
            made = self.context.scores(option, scorings[0], result)
            for record in made:
                record.details.update(n_used=used, n_expected=expected)  # type: ignore[union-attr]
            records += made
        return [records]

    def records(self, scoring: Scoring, made: list[Line], hold: Callable[[], None]) -> list[Line]:
        return made

    def failed(self, scoring: Scoring, error: str) -> list[Line]:
        return self.context.failed(scoring, error)
