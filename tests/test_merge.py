"""Merging: a pure function of all that was recorded, however often and in whatever order it is done."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark import merge
from benchmark.errors import UserError
from benchmark.ledger import Ledger, Pass
from benchmark.records import Key, Line, Prediction, Score, Start, encode
from benchmark.store import Store


def prediction(case_id: str, **other: Any) -> Prediction:
    plain = {"case_id": case_id, "sample": 0, "status": "ok", "text": "t", "sha256": "s", "fingerprint": "f"}
    return Prediction(**plain | other)  # type: ignore[arg-type]


def failed(case_id: str, attempt: int) -> Prediction:
    error = f"RuntimeError: {attempt}"
    return Prediction(case_id=case_id, sample=0, status="failed", fingerprint="f", attempt=attempt, error=error)


def score(case_id: str | None, **other: Any) -> Score:
    plain = {"case_id": case_id, "sample": 0, "category": "", "metric": "m/x", "status": "ok", "value": 1.0}
    return Score(**plain | {"prediction_sha256": "s", "fingerprint": "f"} | other)  # type: ignore[arg-type]


def journal(store: Store, name: str, lines: Sequence[Line], stage: str = "infer") -> Path:
    store.journals.mkdir(parents=True, exist_ok=True)
    path = store.journals / f"{stage}-{name}.jsonl"
    with path.open("ab") as file:
        file.writelines(map(encode, lines))
    return path


def merged_bytes(store: Store) -> bytes:
    merge.merge_predictions(store, "m")
    return store.merged("infer", "m").read_bytes()


def picture(store: Store, content: bytes, **other: Any) -> Prediction:
    """A prediction of c0 whose file would hold `content`."""
    sha256 = hashlib.sha256(content).hexdigest()
    return prediction("c0", text=None, files={"image": "predictions/m/c0.png"}, sha256=sha256, **other)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


RECORDS = [
    *(prediction(f"c{i}", sample=sample, worker=f"w{i % 3}") for i in range(6) for sample in range(2)),
    failed("c0", 0),
    failed("c7", 0),
    failed("c7", 1),
    failed("c7", 2),
    prediction("c1", attempt=3, text="again", sha256="r"),
    prediction("c2", attempt=0, text="twice", sha256="q"),
    prediction("c3", fingerprint="other", attempt=1),
]


@pytest.mark.parametrize("seed", range(4))
def test_the_same_records_in_any_journals_and_any_order_give_the_same_bytes(tmp_path: Path, seed: int) -> None:
    expected, store = Store(tmp_path / "one"), Store(tmp_path / "many")
    journal(expected, "all", RECORDS)
    shuffle = random.Random(seed)
    shuffled = shuffle.sample(RECORDS, len(RECORDS))
    for part in range(4):
        lines = shuffled[part::4]
        journal(store, f"j{part}", [*lines, *lines[:2]])  # some recorded twice
        if shuffle.random() < 0.6:
            merge.merge_predictions(store, "m")  # in between, as often as one likes
    once = merged_bytes(store)
    assert once == merged_bytes(expected)
    assert once == merged_bytes(store)
    for manifest in (tmp_path / "many" / ".work" / "merged").iterdir():
        manifest.unlink()
    assert once == merged_bytes(store)


def test_the_merged_file_is_ordered_by_case_and_sample(store: Store) -> None:
    journal(store, "a", RECORDS)
    keys = [(record.case_id, record.sample) for record in merge.merge_predictions(store, "m").values()]
    lines = merge.read_journal(store.merged("infer", "m"))[0]
    assert [(line.case_id, line.sample) for line in lines] == sorted(keys)


@pytest.mark.parametrize(
    ("records", "winner"),
    [
        ([failed("c0", 3), prediction("c0")], prediction("c0")),  # ok beats failed, whatever the attempt
        ([prediction("c0"), prediction("c0", attempt=1)], prediction("c0", attempt=1)),
        ([failed("c0", 0), failed("c0", 1)], failed("c0", 1)),
    ],
)
def test_which_record_counts(store: Store, records: list[Prediction], winner: Prediction) -> None:
    for order in itertools.permutations(records):
        assert merge.best_prediction(store, order) == winner


@pytest.mark.parametrize("on_disk", [b"first", b"second"])
def test_of_two_owners_the_one_whose_file_lies_there_counts(store: Store, on_disk: bytes) -> None:
    store.write(store.folder / "predictions/m/c0.png", on_disk)
    records = [picture(store, b"first", worker="w0"), picture(store, b"second", worker="w1")]
    journal(store, "a", records)
    best = merge.merge_predictions(store, "m")["c0", 0]
    assert best.sha256 == hashlib.sha256(on_disk).hexdigest()


def test_without_any_file_the_choice_is_still_the_same_for_all(store: Store) -> None:
    records = [picture(store, b"first"), picture(store, b"second")]
    assert merge.best_prediction(store, records) == merge.best_prediction(store, records[::-1])


def test_a_fingerprint_of_another_run_is_told_apart(store: Store) -> None:
    journal(store, "a", [prediction("c0"), prediction("c0", fingerprint="g", attempt=9)])
    assert merge.predictions(store, "m", "f")["c0", 0].fingerprint == "f"
    assert merge.predictions(store, "m", "h") == {}


def states(store: Store, stage: str = "infer") -> dict[tuple, tuple]:
    ledger = Ledger(store, stage, "m", ["f"])
    return {unit: (state.ok, state.last, state.failed, state.sha256) for unit, state in ledger.states.items()}


@pytest.mark.parametrize("stale", [False, True])
def test_the_shortcut_hides_nothing_that_a_full_reading_shows(store: Store, stale: bool) -> None:
    parts = [RECORDS[i::4] for i in range(4)]
    for n, lines in enumerate(parts):
        journal(store, f"j{n}", lines)
        merge.merge_predictions(store, "m")
        journal(store, f"j{n}", [Start([Key("c9", 0)], 5, 1.0)] if n == 1 else [])
        shortcut = merge.read_manifest(store, "infer", "m")
        if stale:
            os.utime(store.merged("infer", "m"), (n, n))
            assert merge.read_manifest(store, "infer", "m") == {}
        made, known = merge.predictions(store, "m", "f"), states(store)
        last, flight = (ledger := Ledger(store, "infer", "m", ["f"])).last_attempt, ledger.in_flight
        shutil.rmtree(store.folder / ".work" / "merged")
        store.merged("infer", "m").rename(store.folder / "aside")
        assert made == merge.predictions(store, "m", "f")
        assert known == states(store)
        full = Ledger(store, "infer", "m", ["f"])
        assert last == full.last_attempt
        assert {k: v for k, v in flight.items() if v} == {k: v for k, v in full.in_flight.items() if v}
        assert shortcut is not None
        merge.merge_predictions(store, "m")


def test_journals_that_the_merged_file_contains_are_not_read_again(store: Store) -> None:
    whole = journal(store, "whole", [prediction("c0"), prediction("c1")])
    with_failure = journal(store, "failed", [failed("c2", 0)])
    journal(store, "retried", [failed("c2", 1)])
    started = journal(store, "open", [prediction("c3"), Start([Key("c4", 0)], 0, 1.0)])
    garbage = journal(store, "garbage", [prediction("c5")])
    with garbage.open("ab") as file:
        file.write(b"garbage\n")
    merge.merge_predictions(store, "m")
    spared = merge.read_manifest(store, "infer", "m")
    assert spared.get(whole.name) == whole.stat().st_size
    assert not {with_failure.name, started.name, garbage.name} & spared.keys()


def test_failures_are_counted_over_merges(store: Store) -> None:
    for attempt in range(3):
        assert Pass(attempt).wants(Ledger(store, "infer", "m", ["f"]).states.get(("c0", 0)))
        journal(store, f"j{attempt}", [failed("c0", attempt)])
        merge.merge_predictions(store, "m")
        merge.merge_predictions(store, "m")
    assert not Pass(3).wants(Ledger(store, "infer", "m", ["f"]).states["c0", 0])


def test_a_manifest_is_never_that_of_another_mergers_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = journal(store, "a", [prediction("c0")])
    older = merged_bytes(store)
    journal(store, "a", [prediction("c1")])
    replacing, done = Store.replacing, []

    @contextlib.contextmanager
    def overtaken(self: Store, target: Path, *arguments: Any) -> Iterator[Path]:
        with replacing(self, target, *arguments) as temporary:
            yield temporary
        if target == self.merged("infer", "m") and not done:
            done.append(target)
            self.write(target, older)  # of one that had read the journals before us, and comes last

    monkeypatch.setattr(Store, "replacing", overtaken)
    merge.merge_predictions(store, "m")
    assert store.merged("infer", "m").read_bytes() == older
    assert merge.read_manifest(store, "infer", "m").get(path.name, 0) < path.stat().st_size
    assert set(merge.predictions(store, "m")) == {("c0", 0), ("c1", 0)}


def test_a_run_without_its_work_folder_is_still_read(store: Store) -> None:
    journal(store, "a", RECORDS)
    before = merge.merge_predictions(store, "m")
    journal(store, "b", [score(f"c{i}") for i in range(6)], "eval")
    made = merge.predictions(store, "m", "f")
    scores = merge.merge_scores(store, "m", made)
    shutil.rmtree(store.folder / ".work")
    assert merge.predictions(store, "m") == before
    assert merge.scores(store, "m", made) == scores
    assert Ledger(store, "infer", "m", ["f"]).states["c0", 0].ok == 0
    content = store.merged("infer", "m").read_bytes()
    assert merged_bytes(store) == content


def test_a_merged_file_of_a_newer_format_is_refused(store: Store) -> None:
    store.write(store.merged("infer", "m"), encode(prediction("c0")).replace(b"prediction/1", b"prediction/9"))
    with pytest.raises(UserError, match="newer format"):
        merge.merge_predictions(store, "m")
    assert b"prediction/9" in store.merged("infer", "m").read_bytes()


def test_scores_count_only_of_the_predictions_as_they_are(store: Store) -> None:
    made = {("c0", 0): prediction("c0"), ("c1", 0): failed("c1", 0)}
    whole = merge.set_digest(made)
    journal(
        store,
        "a",
        [
            score("c0", value=1.0),
            score("c0", value=2.0, attempt=1),
            score("c0", status="failed", value=None, attempt=2, error="e"),
            score("c0", value=3.0, prediction_sha256="old", attempt=3),
            score("c0", metric="m/y", fingerprint="g"),
            score("c1"),
            score("gone"),
            score(None, metric="s/x", prediction_sha256=whole),
            score(None, metric="s/x", prediction_sha256="old", attempt=7),
        ],
        "eval",
    )
    found = {(record.case_id, record.metric): record for record in merge.merge_scores(store, "m", made)}
    assert set(found) == {("c0", "m/x"), ("c0", "m/y"), (None, "s/x")}
    assert (found["c0", "m/x"].value, found["c0", "m/x"].attempt) == (2.0, 1)
    assert found[None, "s/x"].attempt == 0


def test_scores_come_back_when_the_prediction_does(store: Store) -> None:
    made = {("c0", 0): prediction("c0")}
    other = {("c0", 0): prediction("c0", sha256="new")}
    journal(store, "a", [score("c0")], "eval")
    for _ in range(2):
        assert len(merge.merge_scores(store, "m", made)) == 1
        assert merge.merge_scores(store, "m", other) == []
        assert merge.merge_scores(store, "m", {}) == []
    assert len(merge.scores(store, "m", made)) == 1


def test_merged_scores_are_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    made = {(f"c{i}", 0): prediction(f"c{i}") for i in range(5)}
    records = [score(f"c{i % 5}", metric=f"m/{i % 3}", attempt=i % 2, value=float(i)) for i in range(40)]
    contents = []
    for seed in range(3):
        store = Store(tmp_path / str(seed))
        shuffled = random.Random(seed).sample(records, len(records))
        journal(store, "a", shuffled[:20], "eval")
        if seed:
            merge.merge_scores(store, "m", made)
        journal(store, "b", shuffled[20:], "eval")
        merge.merge_scores(store, "m", made)
        contents.append(store.merged("eval", "m").read_bytes())
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0].splitlines()) == 15
