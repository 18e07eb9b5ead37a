"""Merging journals into one file per kind: a pure function of all that was ever recorded.

Where a unit has several records, ok beats failed, the later attempt beats the earlier, and between two of the same attempt
(a late owner woke up) the one whose sha256 matches the file on the disk wins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmark.journal import read_journal
from benchmark.records import Key, Prediction, Score, Start, digest, encode
from benchmark.store import Store, prediction_digest

Record = Prediction | Score


class Manifest(msgspec.Struct):
    """How far each journal need not be read beside the merged file with this size and time.

    That is as far as every record in it is in the merged file too and all that it started is recorded. So nothing hides what
    only a journal knows: earlier failures, records of another fingerprint, what its writer died of, unreadable lines.
    """

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


@dataclass
class Segment:
    """What a journal holds behind the part that the manifest spares, from byte `start` to byte `end`."""

    start: int
    end: int
    records: list
    bad: int

    @property
    def is_open(self) -> bool:
        """Whether something is started and not recorded, or unreadable."""
        flight: set[Key] = set()
        for record in self.records:
            if isinstance(record, Start):
                flight.update(record.keys)
            elif isinstance(record, (Prediction, Score)):
                flight.discard(Key(record.case_id or "", record.sample))
        return bool(flight or self.bad)


@dataclass
class Sources:
    """All that was recorded of one kind: what the merged file holds, and what the journals hold beside it."""

    merged: list
    segments: dict[str, Segment]
    unit: Callable[[Any], tuple]

    def groups(self) -> dict[tuple, list]:
        """Return the records of each unit."""
        groups: dict[tuple, list] = {}
        for records in (self.merged, *(segment.records for segment in self.segments.values())):
            for record in records:
                if isinstance(record, (Prediction, Score)):
                    groups.setdefault(self.unit(record), []).append(record)
        return groups

    def spared(self, best: Mapping[tuple, Record]) -> dict[str, int]:
        """Return how far each journal need not be read beside the best records."""

        def are_best(records: Iterable[Any]) -> bool:
            return all(best.get(self.unit(r)) == r for r in records if isinstance(r, (Prediction, Score)))

        spared = {}
        superseded = not are_best(self.merged)  # some journal that was spared knows more than the new file will
        for name, segment in self.segments.items():
            if segment.start and superseded:
                continue
            end = segment.start if segment.is_open or not are_best(segment.records) else segment.end
            if end:
                spared[name] = end
        return spared


def _sources(store: Store, stage: str, model: str, unit: Callable[[Any], tuple]) -> Sources:
    contained, segments = read_manifest(store, stage, model), {}
    for path in store.stage_journals(stage):
        start = contained.get(path.name, 0)
        records, end, bad = read_journal(path, start)
        segments[path.name] = Segment(start, end, records, bad)
    merged = store.merged(stage, model)  # after the journals: meanwhile it may only get richer
    return Sources(read_journal(merged)[0] if merged.is_file() else [], segments, unit)


def best_prediction(store: Store, records: Iterable[Prediction]) -> Prediction:
    """Return the record that counts among several of one (case, sample)."""
    candidates = list(records)
    if len(candidates) == 1:
        return candidates[0]
    top = max((record.status == "ok", record.attempt) for record in candidates)
    candidates = [record for record in candidates if (record.status == "ok", record.attempt) == top]
    if len({record.sha256 for record in candidates}) > 1:
        matching = [record for record in candidates if _matches_files(store, record)]
        candidates = matching or candidates
    return min(candidates, key=encode)


def _matches_files(store: Store, record: Prediction) -> bool:
    try:
        files = {role: store.folder / path for role, path in record.files.items()}
        return prediction_digest(files, record.text, record.choices) == record.sha256
    except OSError:
        return False


def predictions(store: Store, model: str, fingerprint: str | None = None) -> dict[tuple, Prediction]:
    """Return the predictions that count, by (case_id, sample), of one fingerprint or of all."""
    best = {}
    for key, group in _sources(store, "infer", model, _prediction_unit).groups().items():
        fitting = [record for record in group if fingerprint in (None, record.fingerprint)]
        if fitting:
            best[key] = best_prediction(store, fitting)
    return best


def scores(store: Store, model: str, made: Mapping[tuple, Prediction]) -> list[Score]:
    """Return the scores that count: per unit and fingerprint the best one, of the prediction as it is now."""
    return _best_scores(_sources(store, "eval", model, _score_unit).groups(), made)


def set_digest(made: Mapping[tuple, Prediction]) -> str:
    """Return what identifies the set of all good predictions: a set score is valid only for this set."""
    return digest(sorted([*key, record.sha256] for key, record in made.items() if record.status == "ok"), 64)


def _prediction_unit(record: Prediction) -> tuple:
    return (record.case_id, record.sample)


def _score_unit(record: Score) -> tuple:
    return (record.case_id, record.sample, record.metric, record.fingerprint)


def _best_scores(groups: Mapping[tuple, list[Score]], made: Mapping[tuple, Prediction]) -> list[Score]:
    best, whole_set = [], set_digest(made)
    for unit, group in groups.items():
        prediction = made.get(unit[:2])
        valid_for = whole_set if unit[0] is None else prediction.sha256 if prediction else ""
        valid = [record for record in group if record.prediction_sha256 == valid_for]
        if len(valid) == 1:
            best.append(valid[0])
        elif valid:
            best.append(max(valid, key=lambda record: (record.status == "ok", record.attempt, encode(record))))
    return best


def merge_predictions(store: Store, model: str) -> dict[tuple, Prediction]:
    """Write predictions.jsonl from all journals, ordered by case and sample, and return what it holds."""
    sources = _sources(store, "infer", model, _prediction_unit)
    best = {key: best_prediction(store, group) for key, group in sources.groups().items()}
    _write(store, "infer", model, (encode(best[key]) for key in sorted(best)), sources.spared(best))
    return best


def merge_scores(store: Store, model: str, made: Mapping[tuple, Prediction]) -> list[Score]:
    """Write scores.jsonl from all journals and return what it holds."""
    sources = _sources(store, "eval", model, _score_unit)
    best = _best_scores(sources.groups(), made)
    best.sort(key=lambda r: (r.case_id is None, r.case_id or "", r.sample, r.metric, r.fingerprint))
    spared = sources.spared({_score_unit(record): record for record in best})
    _write(store, "eval", model, map(encode, best), spared)
    return best


def _write(store: Store, stage: str, model: str, lines: Iterable[bytes], spared: dict[str, int]) -> None:
    with store.replacing(store.merged(stage, model)) as temporary:
        with temporary.open("wb") as file:
            file.writelines(lines)
        stat = temporary.stat()  # of our file, not of one that someone else puts there next
    manifest = Manifest(stat.st_size, stat.st_mtime_ns, spared)
    store.write(_manifest_file(store, stage, model), msgspec.json.encode(manifest))
