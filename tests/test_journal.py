"""Journals: what is read back after whatever was done to them, and who is judged dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from workshop.runs import until

from benchmark import journal as journal_module
from benchmark.errors import DiskFull, UserError
from benchmark.journal import Journal, Watcher, has_ended, left_without_space, read_journal, read_life
from benchmark.process import is_gone, process_start
from benchmark.records import Abandon, Death, End, Key, Life, Prediction, Start, encode

LONG_S = 3600.0


def new_journal(folder: Path, worker: str = "w0") -> Journal:
    return Journal(folder, role="worker", stage="infer", worker=worker, code="c", config="d")


def prediction(case_id: str) -> Prediction:
    return Prediction(case_id=case_id, sample=0, status="ok", text="t", fingerprint="f")


def play(folder: Path, **changes: object) -> Path:
    """Write the journal of a life that was elsewhere; return its path."""
    own = new_journal(folder, "played")
    life = msgspec.structs.replace(own.life, **changes)
    own.path.write_bytes(encode(life))
    return own.path


class Clock:
    """A monotonic clock that goes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(journal_module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_reads_back_what_was_written_in_order(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    lines = [Start([Key("a", 0)], 0, 1.0), prediction("a"), Abandon([Key("b", 1)]), Death("w0", 5, "killed", 2.0)]
    for line in lines:
        journal.write(line)
    journal.end("done")
    records, offset, bad = read_journal(journal.path)
    assert records[:5] == [journal.life, *lines]
    assert (records[5].reason, offset, bad) == ("done", journal.path.stat().st_size, 0)


def test_every_line_is_one_write_and_a_second_end_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, writes = new_journal(tmp_path), []
    monkeypatch.setattr(journal_module.os, "write", lambda fd, data: writes.append(data) or len(data))
    journal.write(prediction("a"))
    journal.end("done")
    journal.end("again")
    assert [data.count(b"\n") for data in writes] == [1, 1]
    assert b"done" in writes[1]


def test_two_lives_of_one_worker_never_share_a_journal(tmp_path: Path) -> None:
    assert len({new_journal(tmp_path).name for _ in range(20)}) == 20


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)

    def work(name: str) -> None:
        for index in range(200):
            journal.write(prediction(f"{name}{index}" + "x" * 300))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records, _, bad = read_journal(journal.path)
    assert (len({record.case_id for record in records[1:]}), bad) == (800, 0)


def test_a_torn_last_line_is_no_record_until_it_is_whole(tmp_path: Path) -> None:
    path = play(tmp_path)
    line = encode(prediction("a"))
    with path.open("ab", 0) as file:
        file.write(line[:-9])
        records, offset, bad = read_journal(path)
        assert ([type(record) for record in records], bad) == ([Life], 0)
        file.write(line[-9:])
    records, end, _ = read_journal(path, offset)
    assert (records, end) == ([prediction("a")], path.stat().st_size)


def test_garbage_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    path = play(tmp_path)
    with path.open("ab") as file:
        file.write(encode(prediction("a")) + b'\x00\xff{"record":"predic\n\n' + b"[1]\n" + encode(prediction("b")))
    records, _, bad = read_journal(path)
    assert ([record.case_id for record in records[1:]], bad) == (["a", "b"], 2)


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    path = play(tmp_path)
    with path.open("ab") as file:
        file.write(encode(prediction("a")).replace(b"prediction/1", b"prediction/2"))
    with pytest.raises(UserError, match=r"newer format") as caught:
        read_journal(path)
    assert "prediction/2" in str(caught.value)
    assert path.name in str(caught.value)


def test_a_journal_whose_identity_is_not_of_this_format_has_no_life(tmp_path: Path) -> None:
    path = tmp_path / "infer-w0-1.jsonl"
    for content in (b"", b'{"record":"life/1","jour', b'{"record":"life/2"}\n', encode(prediction("a"))):
        path.write_bytes(content)
        assert read_life(path) is None
        assert not has_ended(path)


@pytest.mark.parametrize("space", [0, 40])
def test_after_a_torn_line_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: int) -> None:
    journal, write = new_journal(tmp_path), os.write

    def full(fd: int, data: bytes) -> int:
        if not space:
            raise OSError(28, "No space left on device")
        return write(fd, data[:space])

    monkeypatch.setattr(journal_module.os, "write", full)
    with pytest.raises(DiskFull):
        journal.write(prediction("a"))
    monkeypatch.undo()
    with pytest.raises(DiskFull):
        journal.write(prediction("b"))
    records, _, bad = read_journal(journal.path)
    assert (len(records), bad) == (1, 0)
    journal.end_without_space(Abandon([Key("a", 0)]))  # there is space again
    records, _, bad = read_journal(journal.path)
    assert [type(record) for record in records] == [Life, Abandon, End]
    assert bad == bool(space)


def test_a_life_that_can_write_nothing_more_still_says_that_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = new_journal(tmp_path)

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, "write", full)
    journal.end_without_space()
    monkeypatch.undo()
    assert left_without_space(journal.path)
    assert not has_ended(journal.path)
    assert Watcher(tmp_path, LONG_S).death(journal.name) == "left in order"


def test_other_trouble_than_space_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = new_journal(tmp_path)

    def broken(fd: int, data: bytes) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(journal_module.os, "write", broken)
    with pytest.raises(OSError, match="Input/output"):
        journal.write(prediction("a"))


def test_the_heartbeat_survives_a_hiccup_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, touches = new_journal(tmp_path), []

    def utime(fd: int) -> None:
        touches.append(fd)
        if len(touches) == 1:
            raise OSError(116, "Stale file handle")

    monkeypatch.setattr(journal_module.os, "utime", utime)
    journal.keep_alive(0.03)
    until(lambda: len(touches) >= 3)
    journal.end("done")
    assert len(touches) >= 3


def test_an_ended_journal_is_dead_and_one_at_work_here_lives(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    watcher = Watcher(tmp_path, LONG_S)
    assert watcher.death(journal.name) == ""
    journal.end("done")
    assert watcher.death(journal.name) == "left in order"


def test_a_journal_that_is_gone_has_a_dead_owner(tmp_path: Path) -> None:
    assert Watcher(tmp_path, LONG_S).death("infer-w0-0.jsonl") == "its journal is gone"


def test_a_gone_process_of_this_host_is_dead_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = play(tmp_path, pid=process.pid, start_time=process_start(process.pid))
    watcher = Watcher(tmp_path, LONG_S)
    assert watcher.death(path.name) == ""
    process.send_signal(signal.SIGKILL)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z")
    assert "is gone" in watcher.death(path.name)  # a zombie: nobody has waited for it yet
    process.wait()
    assert "is gone" in Watcher(tmp_path, LONG_S).death(path.name)


def test_a_recycled_pid_is_not_the_process(tmp_path: Path) -> None:
    path = play(tmp_path, pid=os.getpid(), start_time="1")
    assert f"process {os.getpid()} is gone" in Watcher(tmp_path, LONG_S).death(path.name)


def test_a_hidden_process_of_another_user_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("benchmark.process.os.kill", kill)
    assert not is_gone(2**22 + 1, "77")  # /proc shows nothing, but something has the pid
    assert not is_gone(os.getpid(), "")  # a host without /proc wrote no start time
    assert is_gone(1, "77")  # /proc shows it: another start time, another process


@pytest.mark.parametrize("key", ["host", "boot_id", "pid_namespace"])
def test_an_owner_elsewhere_is_dead_only_after_a_lease_of_silence(tmp_path: Path, clock: Clock, key: str) -> None:
    path = play(tmp_path, **{key: "elsewhere", "pid": 2**22 + 1, "start_time": "1"})
    watcher = Watcher(tmp_path, 60.0)
    assert watcher.death(path.name) == ""
    clock.now += 59.9
    assert watcher.death(path.name) == ""
    clock.now += 0.1
    assert watcher.death(path.name) == "silent for 60 s"


def test_an_owner_elsewhere_that_goes_on_touching_is_never_dead(tmp_path: Path, clock: Clock) -> None:
    path = play(tmp_path, host="elsewhere")
    watcher = Watcher(tmp_path, 60.0)
    for beat in range(10):
        os.utime(path, (beat, 1000 - beat))  # its clock may even go backwards
        assert watcher.death(path.name) == ""
        clock.now += 59.0
    with path.open("ab") as file:
        file.write(encode(prediction("a")))
    os.utime(path, (9, 991))  # the same time again, but the size has grown
    assert watcher.death(path.name) == ""
    clock.now += 60.0
    assert "silent" in watcher.death(path.name)


def test_the_wall_clock_of_either_host_plays_no_part(tmp_path: Path, clock: Clock) -> None:
    path = play(tmp_path, host="elsewhere")
    os.utime(path, (1, 1))
    assert Watcher(tmp_path, 60.0).death(path.name) == ""


def test_an_empty_journal_is_judged_by_its_silence(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "infer-w0-1.jsonl"
    path.touch()
    watcher = Watcher(tmp_path, 60.0)
    assert watcher.death(path.name) == ""
    clock.now += 61
    assert watcher.death(path.name) == "silent for 61 s"


def test_the_living_are_shown_oldest_first_without_the_dead_and_the_long_silent(tmp_path: Path) -> None:
    second, first = play(tmp_path, host="elsewhere", time=20.0), play(tmp_path, host="elsewhere", time=10.0)
    driver = play(tmp_path, host="elsewhere", role="driver", time=15.0)
    play(tmp_path, start_time="1")
    stale = play(tmp_path, host="elsewhere")
    os.utime(stale, (1, 1))
    watcher = Watcher(tmp_path, 60.0)
    assert [life.time for life in watcher.living("worker")] == [10.0, 20.0]
    assert [life.time for life in watcher.living()] == [10.0, 15.0, 20.0]
    assert driver.exists()
    assert {first, second} <= set(tmp_path.iterdir())
