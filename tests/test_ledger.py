"""The ledger: what is pending, which attempts failed, and what lives died of."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.journal import Journal
from benchmark.ledger import TIMED_OUT, Ledger, Pass, PredictionEntry, ScoreEntry, State
from benchmark.records import Abandon, Key, Prediction, Score, Start, encode
from benchmark.store import Store


def made(attempt: int, status: str = "ok", sha256: str = "s") -> PredictionEntry:
    return PredictionEntry("a", 0, status, "f", attempt, sha256 if status == "ok" else None)  # type: ignore[arg-type]


def scored(attempt: int, status: str = "ok", sha256: str = "s") -> ScoreEntry:
    return ScoreEntry("a", 0, "m/x", status, "f", attempt, sha256)  # type: ignore[arg-type]


def state_of(*entries: PredictionEntry | ScoreEntry) -> State:
    state = State()
    for entry in entries:
        state.add(entry)
    return state


FAILED_THRICE = [made(attempt, "failed") for attempt in range(3)]


@pytest.mark.parametrize(
    ("entries", "turn", "wanted"),
    [
        ([made(0)], Pass(0), False),
        ([made(0)], Pass(5), False),
        ([made(0, "failed")], Pass(0), False),  # failed in this pass: again in the next only
        ([made(0, "failed")], Pass(1), True),
        ([made(0, "failed"), made(1)], Pass(2), False),
        (FAILED_THRICE, Pass(3), False),  # three tries are used up
        (FAILED_THRICE, Pass(3, max_attempts=4), True),
        (FAILED_THRICE, Pass(3, max_attempts=1_000_000), True),  # redo=[failed]
        ([*FAILED_THRICE, *FAILED_THRICE], Pass(3, max_attempts=4), True),  # a record read twice counts once
        ([made(0)], Pass(1, floor=1), True),  # redo=[infer]
        ([made(0), made(1)], Pass(1, floor=1), False),  # and done
        ([made(0), made(1, "failed")], Pass(1, floor=1), False),  # redone, in vain
        ([made(0), made(1, "failed")], Pass(2, floor=1), True),  # so once more
        ([made(0), made(1, "failed")], Pass(2), False),  # without redo the old one is good enough
        ([*FAILED_THRICE, made(3)], Pass(4, floor=4), True),  # redo: earlier failures are forgotten
        ([*FAILED_THRICE, made(3), made(4, "failed")], Pass(5, floor=4, max_attempts=1), False),
    ],
)
def test_what_is_wanted_of_a_prediction(entries: list[PredictionEntry], turn: Pass, wanted: bool) -> None:
    assert turn.wants(state_of(*entries)) is wanted
    assert turn.wants(state_of(*reversed(entries))) is wanted  # journals are read in any order


def test_what_is_not_known_is_wanted() -> None:
    assert Pass().wants(None)
    assert Pass().wants(None, "s")


@pytest.mark.parametrize(
    ("entries", "turn", "wanted"),
    [
        ([scored(0)], Pass(0), False),
        ([scored(0, sha256="old")], Pass(0), True),  # of another prediction
        ([scored(0, "failed", "old"), scored(1, "failed", "old"), scored(2, "failed", "old")], Pass(3), True),
        ([scored(0, sha256="old"), scored(1)], Pass(2), False),
        ([scored(0), scored(1, sha256="new")], Pass(2), True),  # the prediction changed and changed back
        ([scored(0, "failed")], Pass(0), False),
        ([scored(0, "failed")], Pass(1), True),
        ([scored(0), scored(1, "failed")], Pass(1, floor=1), False),
    ],
)
def test_a_score_counts_only_of_the_prediction_as_it_is(entries: list[ScoreEntry], turn: Pass, wanted: bool) -> None:
    assert turn.wants(state_of(*entries), "s") is wanted
    assert turn.wants(state_of(*reversed(entries)), "s") is wanted


class Lab:
    """A store with journals to write, and a ledger of it."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.store.journals.mkdir(parents=True)

    def journal(self, stage: str = "infer") -> Journal:
        return self.store.open_journal(role="worker", stage=stage, worker="w", config="d")

    def ledger(self, stage: str = "infer") -> Ledger:
        return Ledger(self.store, stage, "m", ["f"])

    def deaths(
        self, dead: set[str], *keys: Key, recorded: int = -1, stage: str = "infer"
    ) -> dict[Key, tuple[int, int]]:
        found = self.ledger(stage).deaths([(key, recorded) for key in keys], dead.__contains__)
        return {key: (deaths.n, deaths.alone) for key, deaths in found.items()}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


A, B, C = Key("a", 0), Key("b", 0), Key("c", 0)


def prediction(case_id: str, **other: object) -> Prediction:
    return Prediction(**{"case_id": case_id, "sample": 0, "status": "ok", "text": "t", "fingerprint": "f"} | other)  # type: ignore[arg-type]


def test_reads_on_from_where_it_stopped(lab: Lab) -> None:
    journal, ledger = lab.journal(), lab.ledger()
    journal.write(prediction("a"))
    ledger.refresh()
    assert set(ledger.states) == {("a", 0)}
    journal.write(prediction("b"))
    other = lab.journal()
    other.write(prediction("c"))
    ledger.refresh_one(other.name)
    assert set(ledger.states) == {("a", 0), ("c", 0)}
    ledger.refresh()
    assert set(ledger.states) == {("a", 0), ("b", 0), ("c", 0)}


@pytest.mark.parametrize("block_bytes", [1, 100, 300, 1000])
def test_lines_may_be_longer_than_the_blocks_that_are_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr("benchmark.ledger.BLOCK_BYTES", block_bytes)
    journal = lab.journal()
    journal.write(prediction("a"), prediction("b", text="x" * 2000), prediction("c"))
    ledger = lab.ledger()
    assert set(ledger.states) == {("a", 0), ("b", 0), ("c", 0)}
    with journal.path.open("ab") as file:
        file.write(encode(prediction("d"))[:-5])
    ledger.refresh()
    assert set(ledger.states) == {("a", 0), ("b", 0), ("c", 0)}


def test_other_fingerprints_and_garbage_are_no_states(lab: Lab) -> None:
    journal = lab.journal()
    journal.write(prediction("a", fingerprint="other"))
    with journal.path.open("ab") as file:
        file.write(b"garbage\n" + encode(prediction("b")) + encode(prediction("c"))[:-5])
    ledger = lab.ledger()
    assert set(ledger.states) == {("b", 0)}
    assert ledger.unreadable == 1


def test_a_former_owner_whose_journal_is_gone_recorded_nothing(lab: Lab) -> None:
    ledger = lab.ledger()
    ledger.refresh_one("infer-w-gone.jsonl")
    assert ledger.states == {}


def test_a_start_without_a_record_in_a_dead_journal_is_a_death(lab: Lab) -> None:
    dead, living = lab.journal(), lab.journal()
    dead.write(Start([A, B], 0, 1.0), prediction("b"))
    living.write(Start([C], 0, 1.0))
    assert lab.deaths({dead.name}, A, B, C) == {A: (1, 1)}
    assert lab.deaths(set(), A, B, C) == {}


def test_deaths_alone_are_told_from_deaths_among_others(lab: Lab) -> None:
    batch, alone = lab.journal(), lab.journal()
    batch.write(Start([A, B], 0, 1.0))
    alone.write(Start([A], 0, 2.0))
    assert lab.deaths({batch.name, alone.name}, A, B) == {A: (2, 1), B: (1, 0)}


def test_what_was_given_back_or_recorded_since_is_no_death(lab: Lab) -> None:
    dead = lab.journal()
    dead.write(Start([A, B], 0, 1.0), Abandon([B]))
    assert lab.deaths({dead.name}, A, B) == {A: (1, 1)}
    assert lab.deaths({dead.name}, A, recorded=0) == {}  # failed in that attempt: deaths before are settled
    dead.write(Start([A], 1, 1.0))
    assert lab.deaths({dead.name}, A, recorded=0) == {A: (1, 1)}


@pytest.mark.parametrize(("reason", "deaths"), [("done", {}), ("parent gone", {}), (TIMED_OUT, {A: (1, 1)})])
def test_leaving_in_order_is_no_death_unless_for_a_hung_case(lab: Lab, reason: str, deaths: object) -> None:
    journal = lab.journal()
    journal.write(Start([A], 0, 1.0))
    journal.end(reason)
    assert lab.deaths({journal.name}, A) == deaths


def test_a_full_disk_is_no_death(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = lab.journal()
    journal.write(Start([A], 0, 1.0))
    journal._append = lambda data: (_ for _ in ()).throw(OSError(28, "full"))  # type: ignore[method-assign,assignment]
    journal.end_without_space()
    assert lab.deaths({journal.name}, A) == {}


def test_the_record_of_a_set_metric_settles_its_start(lab: Lab) -> None:
    journal, whole = lab.journal("eval"), Key("", 0)
    journal.write(Start([whole], 0, 1.0))
    assert lab.deaths({journal.name}, whole, stage="eval") == {whole: (1, 1)}
    score = Score(case_id=None, sample=0, category="", metric="m/x", status="ok", value=1.0, fingerprint="f")
    journal.write(score)
    assert lab.deaths({journal.name}, whole, stage="eval") == {}


def test_the_last_attempt_is_known_from_starts_too(lab: Lab) -> None:
    journal = lab.journal()
    assert lab.ledger().last_attempt == -1
    journal.write(prediction("a", attempt=1), Start([B], 4, 1.0))
    assert lab.ledger().last_attempt == 4
