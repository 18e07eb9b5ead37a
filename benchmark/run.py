"""The story of a run, from its plan to its report; resuming it tells the same story and skips what is recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from benchmark import merge
from benchmark.config import Frozen
from benchmark.errors import EXIT_INCOMPLETE, EXIT_OK, DiskFull, Interrupted, some
from benchmark.journal import Journal, Watcher
from benchmark.ledger import Ledger
from benchmark.records import Prediction, Score
from benchmark.report.summary import Summary, encode_summary, summarise
from benchmark.report.timing import stage_seconds
from benchmark.retention import drop_media
from benchmark.store import Store

Drainer = Callable[[Store, Frozen, str, Journal], list[str]]


@dataclass
class Outcome:
    """How a run ended: its summary, in words what it lacks and how workers died, and how many outputs were let go."""

    store: Store
    frozen: Frozen
    summary: Summary
    worker_ends: list[str] = field(default_factory=list)
    dropped: int = 0
    gave_up: bool = False  # on something that failed max_attempts times

    @property
    def lacking(self) -> list[str]:
        """What the chosen stages had to do and could not, in words."""
        made, stages, lacking = self.summary.predictions, self.frozen.stages, []
        if "infer" in stages and made.ok < made.expected:
            lacking.append(f"{made.expected - made.ok} of {made.expected} predictions")
        if "eval" in stages:
            short: dict[str, list[str]] = {}
            for name, metric in self.summary.metrics.items():
                if metric.scored < (made.ok if metric.scope == "case" else metric.expected):
                    count = f"{metric.expected - metric.scored} of {metric.expected} scores"
                    short.setdefault(count, []).append(name)
            lacking += [f"{count} of {some(names)}" for count, names in short.items()]
            if made.ok < made.expected and not lacking:
                lacking.append(f"{made.expected - made.ok} of {made.expected} predictions to score")
        return lacking

    @property
    def exit_code(self) -> int:
        return EXIT_INCOMPLETE if self.lacking else EXIT_OK


def run(store: Store, frozen: Frozen, drain: Drainer) -> Outcome:
    """Do the chosen stages, `drain` being how workers are started here. Raises Interrupted; nothing recorded is lost."""
    ends: list[str] = []
    driver = store.open_journal(role="driver", stage="driver", worker="driver", config=frozen.digest)
    driver.keep_alive(frozen.compute.lease_s)
    try:
        for stage in frozen.stages:
            if stage in ("infer", "eval"):
                ends += drain(store, frozen, stage, driver)
        made, scores = merge_run(store, frozen)
        summary = summarise_run(store, frozen, made, scores)
        dropped = drop_media(store, frozen, made, scores) if "eval" in frozen.stages else 0
    except Interrupted:
        merge_run(store, frozen)
        raise
    finally:
        with contextlib.suppress(DiskFull):  # then its process id tells that it left
            driver.end("left")
    return Outcome(store, frozen, summary, ends, dropped, _gave_up(store, frozen))


def _gave_up(store: Store, frozen: Frozen) -> bool:
    """Return whether something has failed so often that going on does not try it again."""
    made = Ledger.of(store, "infer", frozen.model_name, [frozen.prediction.fingerprint]).states.values()
    if "infer" in frozen.stages and any(map(frozen.infer.gave_up, made)):
        return True
    scores = Ledger.of(store, "eval", frozen.model_name, frozen.score_fingerprints.values()).states.items()
    turns = {name: plan.turn for name, plan in frozen.metrics.items()} if "eval" in frozen.stages else {}
    return any(turn.gave_up(state) for key, state in scores if (turn := turns.get(key[2].partition("/")[0])))


def merge_run(store: Store, frozen: Frozen) -> tuple[dict[tuple, Prediction], list[Score]]:
    """Merge the journals into predictions.jsonl and scores.jsonl; return the predictions of this config, and all scores."""
    store.sweep_temporaries(Watcher(store.journals, frozen.compute.lease_s).death)
    merged = merge.merge_predictions(store, frozen.model_name)
    made = {key: record for key, record in merged.items() if record.fingerprint == frozen.prediction.fingerprint}
    return made, merge.merge_scores(store, frozen.model_name, made)


def summarise_run(store: Store, frozen: Frozen, made: Mapping[tuple, Prediction], scores: Iterable[Score]) -> Summary:
    """Write and return the summary of the merged records."""
    valid = set(frozen.score_fingerprints.values())
    summary = summarise(
        [(case.id, case.category) for case in store.cases()],
        made.values(),
        [score for score in scores if score.fingerprint in valid],
        {} if frozen.mode == "infer" else frozen.measures,
        frozen.samples,
        frozen.seed,
        set_metrics=[
            f"{option}/{measure.name}"
            for option, plan in frozen.metrics.items()
            if plan.scope == "set"
            for measure in plan.measures
        ],
        excluded=frozen.cases.excluded,
        stages_s={stage: stage_seconds(store, stage) for stage in ("infer", "eval")},
    )
    store.write(store.summary_file(frozen.model_name), encode_summary(summary))
    return summary
