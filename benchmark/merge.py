"""Merging journals into one file per kind: a pure function of all that was ever recorded.

Where a unit has several records, ok beats failed, the later attempt beats the earlier, and between two of the same attempt
(a late owner woke up) the one whose sha256 matches the file on the disk wins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from benchmark.journal import read_journal
from benchmark.records import Prediction, Score, digest, encode
from benchmark.store import Store, prediction_digest


class Manifest(msgspec.Struct):
    """How far each journal is contained in the merged file with this size and time."""

    size: int
    mtime_ns: int
    journals: dict[str, int]


def _manifest_file(store: Store, stage: str, model: str) -> Path:
    return store.folder / ".work" / "merged" / f"{stage}-{model}.json"


def read_manifest(store: Store, stage: str, model: str) -> dict[str, int]:
    """Return how many bytes of each journal need not be read again, since the merged file holds them.

    Empty when the merged file is not the one the manifest was written for: then everything is read, which is only slower.
    """
    with contextlib.suppress(OSError, msgspec.DecodeError):
        manifest = msgspec.json.decode(_manifest_file(store, stage, model).read_bytes(), type=Manifest)
        stat = store.merged(stage, model).stat()
        if (stat.st_size, stat.st_mtime_ns) == (manifest.size, manifest.mtime_ns):
            return manifest.journals
    return {}


def _sources(store: Store, stage: str, model: str) -> Iterator[tuple[str, list, int]]:
    merged = store.merged(stage, model)
    contained = read_manifest(store, stage, model)
    if merged.is_file():
        yield "", read_journal(merged)[0], 0
    for path in store.stage_journals(stage):
        records, end, _ = read_journal(path, contained.get(path.name, 0))
        yield path.name, records, end


def best_prediction(store: Store, records: Iterable[Prediction]) -> Prediction:
    """Return the record that counts among several of one (case, sample)."""
    candidates = list(records)
    top = max((record.status == "ok", record.attempt) for record in candidates)
    candidates = [record for record in candidates if (record.status == "ok", record.attempt) == top]
    if len({record.sha256 for record in candidates}) > 1:
        matching = [record for record in candidates if _matches_files(store, record)]
        candidates = matching or candidates
    return min(candidates, key=encode)


def _matches_files(store: Store, record: Prediction) -> bool:
    try:
        files = {role: store.folder / path for role, path in record.files.items()}
        return prediction_digest(files, record.text) == record.sha256
    except OSError:
        return False


def predictions(store: Store, model: str, fingerprint: str | None = None) -> dict[tuple, Prediction]:
    """Return the predictions that count, by (case_id, sample), of one fingerprint or of all."""
    groups, _ = _collect(store, "infer", model, Prediction, lambda record: (record.case_id, record.sample))
    best = {}
    for key, group in groups.items():
        fitting = [record for record in group if fingerprint in (None, record.fingerprint)]
        if fitting:
            best[key] = fitting[0] if len(fitting) == 1 else best_prediction(store, fitting)
    return best


def scores(store: Store, model: str, made: Mapping[tuple, Prediction]) -> list[Score]:
    """Return the scores that count: per unit and fingerprint the best one, of the prediction as it is now."""
    groups, _ = _collect(store, "eval", model, Score, _score_unit)
    return _best_scores(groups, made)


def set_digest(made: Mapping[tuple, Prediction]) -> str:
    """Return what identifies the set of all good predictions: a set score is valid only for this set."""
    return digest(sorted([*key, record.sha256] for key, record in made.items() if record.status == "ok"), 64)


def _score_unit(record: Score) -> tuple:
    return (record.case_id, record.sample, record.metric, record.fingerprint)


def _best_scores(groups: Mapping[tuple, list[Score]], made: Mapping[tuple, Prediction]) -> list[Score]:
    best, whole_set = [], set_digest(made)
    for unit, group in groups.items():
        prediction = made.get(unit[:2])
        valid_for = whole_set if unit[0] is None else prediction.sha256 if prediction else ""
        valid = [record for record in group if record.prediction_sha256 == valid_for]
        if valid:
            best.append(max(valid, key=lambda record: (record.status == "ok", record.attempt, encode(record))))
    return best


def _collect(
    store: Store, stage: str, model: str, kind: type, unit: Callable[..., tuple]
) -> tuple[dict[tuple, list], dict[str, int]]:
    groups: dict[tuple, list] = {}
    ends: dict[str, int] = {}
    for name, records, end in _sources(store, stage, model):
        if name:
            ends[name] = end
        for record in records:
            if isinstance(record, kind):
                groups.setdefault(unit(record), []).append(record)
    return groups, ends


def merge_predictions(store: Store, model: str) -> dict[tuple, Prediction]:
    """Write predictions.jsonl from all journals, in the order of the cases, and return what it holds."""
    groups, ends = _collect(store, "infer", model, Prediction, lambda record: (record.case_id, record.sample))
    best = {key: group[0] if len(group) == 1 else best_prediction(store, group) for key, group in groups.items()}
    _write(store, "infer", model, sorted(best.values(), key=lambda r: (r.case_id, r.sample)), ends)
    return best


def merge_scores(store: Store, model: str, made: Mapping[tuple, Prediction]) -> list[Score]:
    """Write scores.jsonl from all journals and return what it holds."""
    groups, ends = _collect(store, "eval", model, Score, _score_unit)
    best = _best_scores(groups, made)
    best.sort(key=lambda r: (r.case_id is None, r.case_id or "", r.sample, r.metric, r.fingerprint))
    _write(store, "eval", model, best, ends)
    return best


def _write(store: Store, stage: str, model: str, records: Iterable, ends: dict[str, int]) -> None:
    merged = store.merged(stage, model)
    store.write(merged, (encode(record) for record in records))
    stat = merged.stat()
    manifest = Manifest(stat.st_size, stat.st_mtime_ns, ends)
    store.write(_manifest_file(store, stage, model), msgspec.json.encode(manifest))
