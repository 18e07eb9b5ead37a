"""What becomes of outputs once they are scored: `keep_media` says which stay; their records always do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark.config import Frozen
from benchmark.records import Prediction, Score
from benchmark.store import Store


def drop_media(store: Store, frozen: Frozen, made: Mapping[tuple, Prediction], scores: Iterable[Score]) -> int:
    """Remove the files of predictions that every metric has looked at, as `keep_media` says; return how many lost theirs.

    `none` removes all of these, `failed` spares what failed to be scored or looks wrong (quality flags). While a metric of
    the whole set has no value, or a prediction lacks a record of any score, nothing of it goes. Files outside the run folder
    are the user's own and stay.
    """
    if frozen.keep_media == "all":
        return 0
    valid = set(frozen.score_fingerprints.values())
    recorded: dict[tuple, set[str]] = {}
    failed: set[tuple] = set()
    of_set: set[str] = set()
    for score in scores:
        if score.fingerprint not in valid:
            continue
        if score.case_id is None:
            of_set |= {score.metric} if score.status == "ok" else set()
            continue
        key = (score.case_id, score.sample)
        if score.prediction_sha256 == made[key].sha256 if key in made else False:
            recorded.setdefault(key, set()).add(score.metric)
            failed |= {key} if score.status == "failed" else set()
    wanted: dict[str, set[str]] = {"case": set(), "set": set()}
    for option, plan in frozen.metrics.items():
        wanted[plan.scope] |= {f"{option}/{measure.name}" for measure in plan.measures}
    if not frozen.metrics or not wanted["set"] <= of_set:
        return 0
    dropped = 0
    for key, prediction in made.items():
        spared = frozen.keep_media == "failed" and (key in failed or prediction.quality_flags)
        if prediction.status == "ok" and wanted["case"] <= recorded.get(key, set()) and not spared:
            dropped += store.drop(own_files(prediction))
    return dropped


def own_files(prediction: Prediction) -> list[str]:
    """Return the paths of a prediction's files that belong to the run."""
    return [path for path in prediction.files.values() if not Path(path).is_absolute()]
