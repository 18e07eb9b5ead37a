"""Claims: each chunk has one living owner, and none stays without."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from workshop.runs import TESTS, until

from benchmark import claims as claims_module
from benchmark import journal as journal_module
from benchmark.claims import Claims, Lost, chunk_size
from benchmark.errors import DiskFull
from benchmark.journal import Journal, Watcher
from benchmark.records import encode

LEASE_S = 60.0


class Life:
    """A worker's life as far as claims see it, in a clock that goes only when told."""

    def __init__(self, root: Path, n: int = 10, size: int = 2, host: str = "") -> None:
        journals = root / "journals"
        journals.mkdir(exist_ok=True)
        self.journal = Journal(journals, role="worker", stage="infer", worker="w", code="c", config="d")
        if host:
            life = msgspec.structs.replace(self.journal.life, host=host)
            self.journal.path.write_bytes(encode(life))
        self.claims = Claims(root / "K", n, size, self.journal, Watcher(journals, LEASE_S))

    def take_all(self) -> list[int]:
        taken = []
        while chunk := self.claims.take():
            taken.append(chunk.index)
        return taken


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(journal_module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(params=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """File systems with hard links and without."""

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if request.param == "no links":
        monkeypatch.setattr(claims_module.os, "link", refuse)
    return request.param


@pytest.mark.parametrize(
    ("n", "batch", "size"),
    [(0, 1, 1), (1, 1, 1), (1024, 1, 1), (1025, 1, 2), (10, 4, 4), (1_000_000, 1, 977), (1_000_000, 4096, 4096)],
)
def test_a_chunk_holds_a_batch_and_there_are_at_most_1024(n: int, batch: int, size: int) -> None:
    assert chunk_size(n, batch) == size
    assert -(-n // size) <= 1024


def test_chunks_cover_all_cases_once_in_order(tmp_path: Path, links: str) -> None:
    life, covered = Life(tmp_path, n=11, size=3), []
    while chunk := life.claims.take():
        covered += range(chunk.first, chunk.last)
        assert (chunk.owner, chunk.former) == (1, [])
    assert covered == list(range(11))
    assert life.claims.exhausted


def test_a_claim_names_its_owner_from_the_moment_it_is_there(tmp_path: Path, links: str) -> None:
    life = Life(tmp_path)
    life.claims.take()
    assert (tmp_path / "K" / "0.1").read_text() == life.journal.name


def test_a_chunk_of_a_living_owner_is_left_to_it(tmp_path: Path, links: str) -> None:
    first, second = Life(tmp_path, host="a"), Life(tmp_path)
    assert first.claims.take().index == 0
    assert second.take_all() == [1, 2, 3, 4]
    assert not second.claims.exhausted
    assert second.claims.take() is None


def test_a_done_chunk_is_nobodys_business_any_more(tmp_path: Path, links: str) -> None:
    first, second, third = (Life(tmp_path) for _ in range(3))
    chunk = first.claims.take()
    assert second.take_all() == [1, 2, 3, 4]
    first.claims.done(chunk)
    assert not (tmp_path / "K" / "0.done").exists()  # within a second, to be told with others
    first.claims.flush()
    assert second.claims.take() is None
    assert second.claims.exhausted
    assert third.claims.take() is None


def test_done_is_told_only_after_the_records_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life, order = Life(tmp_path), []
    chunks = [life.claims.take(), life.claims.take()]
    sync = life.journal.sync

    def spy() -> None:
        order.append(sorted(path.name for path in (tmp_path / "K").glob("*.done")))
        life.claims.done(chunks[1])  # finishes meanwhile: not covered by this sync
        sync()

    monkeypatch.setattr(life.journal, "sync", spy)
    life.claims.done(chunks[0])
    life.claims.flush()
    assert order == [[]]
    assert [path.name for path in (tmp_path / "K").glob("*.done")] == ["0.done"]


def test_a_dead_owners_chunk_is_taken_over_with_the_names_of_all_before(tmp_path: Path, links: str) -> None:
    lives = [Life(tmp_path) for _ in range(3)]
    lives[0].claims.take()
    lives[0].journal.end("done")
    assert lives[1].take_all() == [1, 2, 3, 4, 0]
    lives[1].journal.end("done")
    chunk = next(chunk for chunk in iter(lives[2].claims.take, None) if chunk.index == 0)
    assert (chunk.owner, chunk.former) == (3, [lives[0].journal.name, lives[1].journal.name])


def test_an_owner_elsewhere_is_followed_only_after_a_lease_of_silence(tmp_path: Path, clock: Clock) -> None:
    first, second = Life(tmp_path, n=2, host="elsewhere"), Life(tmp_path, n=2)
    first.claims.take()
    for beat in range(5):
        assert second.claims.take() is None
        clock.now += LEASE_S - 1
        os.utime(first.journal.path, (beat + 1, beat + 1))
    assert second.claims.take() is None
    clock.now += LEASE_S
    assert second.claims.take().owner == 2


@pytest.mark.parametrize("content", ["", "infer-w-"])
def test_a_claim_that_was_never_written_whole_is_judged_by_its_own_silence(
    tmp_path: Path, clock: Clock, content: str
) -> None:
    (tmp_path / "K").mkdir()
    (tmp_path / "K" / "0.1").write_text(content)
    life = Life(tmp_path, n=2)
    assert life.claims.take() is None
    clock.now += LEASE_S
    chunk = life.claims.take()
    assert (chunk.owner, chunk.former) == (2, [])


def test_of_two_followers_one_wins(tmp_path: Path, links: str) -> None:
    dead, *followers = (Life(tmp_path, n=2) for _ in range(3))
    dead.claims.take()
    dead.journal.end("done")
    for follower in followers:  # both have seen that it is dead
        follower.claims._next, follower.claims._contested = 1, {0: 1}
    assert followers[0].claims.take().owner == 2
    assert followers[1].claims.take() is None
    assert not followers[1].claims.exhausted


def test_a_late_owner_is_told_and_watches_its_chunk_from_then_on(tmp_path: Path, clock: Clock) -> None:
    late, follower = Life(tmp_path, n=2, host="elsewhere"), Life(tmp_path, n=2)
    chunk = late.claims.take()
    late.claims.hold(chunk)
    assert follower.claims.take() is None
    clock.now += LEASE_S
    assert follower.claims.take().owner == 2
    with pytest.raises(Lost):
        late.claims.hold(chunk)
    assert chunk.lost
    assert not late.claims.exhausted
    assert late.claims.take() is None
    follower.journal.end("failed")
    assert late.claims.take().owner == 3


def test_nothing_is_ever_deleted_or_rewritten(tmp_path: Path, links: str) -> None:
    seen: dict[str, str] = {}
    for _ in range(3):
        life = Life(tmp_path)
        life.take_all()
        life.journal.end("done")
        there = {path.name: path.read_text() for path in (tmp_path / "K").iterdir()}
        assert there.items() >= seen.items()
        seen = there
    assert [n for n in range(1, 5) if f"0.{n}" in seen] == [1, 2, 3]


def test_a_create_whose_answer_was_lost_is_known_as_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def twice(source: str, target: str) -> None:
        link(source, target)
        link(source, target)  # what a server does when its first answer got lost

    life = Life(tmp_path, n=2)
    monkeypatch.setattr(claims_module.os, "link", twice)
    assert life.claims.take().index == 0


@pytest.mark.parametrize("call", ["link", "open"])
def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    life = Life(tmp_path)
    life.claims._has_links = call == "link"

    def full(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(claims_module.os, call, full)
    with pytest.raises(DiskFull):
        life.claims.take()


def test_a_forbidden_folder_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path)
    life.claims._has_links = False

    def forbid(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(claims_module.os, "open", forbid)
    with pytest.raises(PermissionError):
        life.claims.take()


RACER = """
import sys, time
from pathlib import Path
from test_claims import Life
root, ready, go = map(Path, sys.argv[1:])
life = Life(root, n=300, size=1)
ready.touch()
while not go.exists():
    pass
taken = []
while chunk := life.claims.take():
    taken.append(chunk.index)
    time.sleep(0.001)  # the work, during which the others take theirs
print(*taken, flush=True)
input()  # lives on: an ended owner's chunks would rightly be taken over
"""


def test_processes_that_race_share_the_chunks_without_rest(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    flags = [tmp_path / f"ready{index}" for index in range(3)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), str(flag), str(tmp_path / "go")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for flag in flags
    ]
    until(lambda: all(flag.exists() for flag in flags))
    (tmp_path / "go").touch()
    taken = [[int(index) for index in racer.stdout.readline().split()] for racer in racers]
    for racer in racers:
        racer.communicate("\n", timeout=30)
    assert sorted(index for indices in taken for index in indices) == list(range(300))
    assert sum(bool(indices) for indices in taken) > 1
