"""Workers as processes: killed, stopped, hung, orphaned, without space; what is recorded stays, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from workshop.runs import Run, cases, freeze_run, metric_plan, until

from benchmark import merge
from benchmark.journal import read_journal
from benchmark.process import process_start
from benchmark.records import Abandon, End, Life, Prediction, Score, Start, encode
from benchmark.worker import (
    EXIT_DISK_FULL,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_ORPHANED,
    EXIT_TIMED_OUT,
    orphanhood,
)

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[MakeRun]:
    """Make runs whose workers do not outlive the test."""
    runs: list[Run] = []

    def make(*arguments: Any, folder: Path | None = None, **settings: Any) -> Run:
        runs.append(freeze_run((folder or tmp_path) / f"r{len(runs)}", *arguments, **settings))
        return runs[-1]

    yield make
    for run in runs:
        run.kill()


def ids(n: int) -> list[str]:
    return [f"c{i}" for i in range(n)]


def lives(run: Run, stage: str = "infer", most: int = 9) -> list[int]:
    """Start lives one after the other, as a slot would, until one ends well; return how each ended."""
    codes = []
    while not codes or (codes[-1] and len(codes) < most):
        codes.append(run.start(stage).wait(60))
    return codes


def waits(run: Run, case_id: str) -> None:
    until(lambda: (run.notes / f"{case_id}.waits").exists())


def let_go(run: Run, case_id: str) -> None:
    (run.notes / f"{case_id}.go").touch()


def files_match(run: Run) -> bool:
    """Return whether each good prediction's files have the digest that its record names."""
    good = [record for record in run.made().values() if record.status == "ok"]
    folder = run.store.folder
    found = {
        r.case_id: merge.prediction_digest({role: folder / path for role, path in r.files.items()}, r.text)
        for r in good
    }
    return found == {record.case_id: record.sha256 for record in good}


def test_racing_workers_do_each_case_once_in_both_stages(make_run: MakeRun) -> None:
    run = make_run(cases(300), metrics={"len": metric_plan("Length"), "all": metric_plan("Total")})
    for stage in ("infer", "eval"):
        racers = [run.start(stage, f"w{index}") for index in range(3)]
        assert [racer.wait(60) for racer in racers] == [EXIT_DONE] * 3
    assert run.recorded_once(ids(300))
    scores = [(score.case_id, score.metric) for score in run.lines(Score, "eval")]
    assert len(scores) == len(set(scores)) == 300 * 2 + 1
    asked = [case_id for batch in run.noted("batches") for case_id in batch.split()]
    assert sorted(asked) == sorted(ids(300))


def test_killed_at_any_moment_nothing_is_lost_and_nothing_recorded_twice(make_run: MakeRun) -> None:
    run, moment = make_run(cases(60), model="Clips", compute={"max_case_deaths": 100}), random.Random(0)
    for _ in range(4):
        before = len(run.lines(Prediction))
        process = run.start()
        until(lambda before=before: len(run.lines(Prediction)) > before + 2)  # type: ignore[misc]
        time.sleep(moment.random() / 50)  # not to wait for anything: to hit any moment
        process.kill()
        process.wait()
    assert run.start().wait(60) == EXIT_DONE
    assert run.recorded_once(ids(60))
    assert files_match(run)
    run.store.sweep_temporaries(lambda journal: "dead")
    there = [path for path in (run.store.folder / "predictions").rglob("*") if path.is_file()]
    assert len(there) == 60


def test_the_rest_of_a_killed_workers_chunk_goes_to_one_that_lives(make_run: MakeRun) -> None:
    run = make_run(cases(8, c5={"do": "wait"}), batch_size=4)
    first = run.start(name="w0")
    waits(run, "c5")
    let_go(run, "c5")
    second = run.start(name="w1")
    first.kill()
    first.wait()
    assert second.wait(60) == EXIT_DONE
    assert run.recorded_once(ids(8))


# -------------------------------------------------------------------------------------------------- other hosts, and late


def play_elsewhere(run: Run) -> Path:
    """Rewrite the only journal's identity line: its writer was on another host."""
    (path,) = run.store.stage_journals("infer")
    lines = path.read_bytes().splitlines(keepends=True)
    life = read_journal(path)[0][0]
    path.write_bytes(encode(msgspec.structs.replace(life, host="elsewhere", boot_id="other")) + b"".join(lines[1:]))
    return path


def test_a_worker_killed_elsewhere_is_followed_after_a_lease(make_run: MakeRun) -> None:
    run = make_run(cases(6, c2={"do": "wait"}), compute={"lease_s": 1.5})
    killed = run.start(name="w0")
    waits(run, "c2")
    killed.kill()
    killed.wait()
    play_elsewhere(run)
    let_go(run, "c2")
    follower = run.start(name="w1")
    until(lambda: len(run.lines(Prediction)) == 5)
    started = time.monotonic()
    assert follower.wait(60) == EXIT_DONE
    assert time.monotonic() - started > 0.5  # it waited for the lease, not for nothing
    assert run.recorded_once(ids(6))


@pytest.mark.parametrize("model", ["Text", "Clips"])
def test_an_owner_that_wakes_up_late_records_nothing_twice(make_run: MakeRun, model: str) -> None:
    run = make_run(cases(6, c2={"do": "wait"}), model=model, compute={"lease_s": 0.9})
    late = run.start(name="w0")
    waits(run, "c2")
    until(lambda: len(run.lines(Prediction)) == 2)  # the others before it are written
    late.send_signal(signal.SIGSTOP)
    let_go(run, "c2")
    assert run.start(name="w1").wait(60) == EXIT_DONE
    assert run.recorded_once(ids(6))
    files = {path: path.stat().st_mtime_ns for path in (run.store.folder / "predictions").rglob("*.mp4")}
    assert len(files) == (6 if model == "Clips" else 0)
    late.send_signal(signal.SIGCONT)
    assert late.wait(60) == EXIT_DONE
    assert run.recorded_once(ids(6))
    assert files_match(run)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert not list((run.store.folder / "predictions").rglob("*.tmp"))
    assert [line.keys[0].case_id for line in run.lines(Abandon)] == ["c2"]


# ------------------------------------------------------------------------------------------------------ poison and hanging


@pytest.mark.parametrize(
    ("model", "batch_size", "most", "killed"),
    [("Text", 1, 3, 3), ("Text", 4, 3, 3), ("Text", 4, 1, 2), ("Clips", 4, 2, 2), ("Clips", 1, 1, 2)],
)
def test_a_case_that_kills_its_worker_fails_alone(
    make_run: MakeRun, model: str, batch_size: int, most: int, killed: int
) -> None:
    run = make_run(cases(10, c1={"do": "kill"}), model=model, batch_size=batch_size, compute={"max_case_deaths": most})
    codes = lives(run)
    assert codes[-1] == EXIT_DONE
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert 1 <= len(codes) - 1 <= killed
    made = run.made()
    assert {case_id for case_id, record in made.items() if record.status == "failed"} == {"c1"}
    assert (made["c1"].error or "").startswith("worker died: ")
    assert run.recorded_once(set(ids(10)) - {"c1"})


def test_a_suspect_is_tried_with_no_other_at_its_side(make_run: MakeRun) -> None:
    run = make_run(cases(4, c1={"do": "kill"}), batch_size=4, compute={"max_case_deaths": 3})
    assert lives(run) == [-9, -9, -9, EXIT_DONE]
    starts = [[key.case_id for key in line.keys] for line in run.lines(Start)]
    assert sorted(starts) == sorted([ids(4), ["c0"], ["c1"], ["c1"], ["c2"], ["c3"]])


def test_a_clip_that_kills_the_worker_that_scores_it_fails_alone(make_run: MakeRun) -> None:
    run = make_run(
        cases(6, c3={"score": "kill"}),
        model="Pictures",
        metrics={"light": metric_plan("Light", batch_size=2)},
        compute={"max_case_deaths": 2},
    )
    assert run.start().wait(60) == EXIT_DONE
    codes = lives(run, "eval")
    assert codes[-1] == EXIT_DONE
    assert len(codes) <= 4
    scores = run.scores()
    assert len(scores) == 12
    assert {case_id for (case_id, _), score in scores.items() if score.status == "failed"} == {"c3"}


def test_deaths_of_an_earlier_pass_count_until_the_case_is_recorded(make_run: MakeRun) -> None:
    run = make_run(cases(3, c1={"do": "kill"}), compute={"max_case_deaths": 2})
    for attempt in range(2):  # two invocations that nobody restarted anything in, each merged at its end
        run.retry(attempt)
        assert run.start().wait(60) == -signal.SIGKILL
        merge.merge_predictions(run.store, "model")
    run.retry(2)
    assert run.start().wait(60) == EXIT_DONE
    assert (run.made()["c1"].error or "").startswith("worker died: 2 workers died")


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_hung_case_is_ended_and_fails_alone(make_run: MakeRun, batch_size: int) -> None:
    run = make_run(
        cases(8, c1={"do": "hang"}),
        batch_size=batch_size,
        compute={"case_timeout_min": 0.01, "max_case_deaths": 1},
    )
    codes = lives(run)
    assert codes == [EXIT_TIMED_OUT] * (1 if batch_size == 1 else 2) + [EXIT_DONE]
    made = run.made()
    assert {case_id for case_id, record in made.items() if record.status == "failed"} == {"c1"}
    assert made["c1"].error == "TimeoutError: not done after case_timeout_min=0.01"
    assert run.recorded_once(set(ids(8)) - {"c1"})


def test_what_a_hung_case_had_beside_it_is_given_back(make_run: MakeRun) -> None:
    n = 2049  # chunks of three, so that quick cases share a start line
    run = make_run(cases(n, c1={"do": "hang"}), compute={"case_timeout_min": 0.01})
    assert lives(run) == [EXIT_TIMED_OUT, EXIT_DONE]
    assert [key.case_id for line in run.lines(Abandon) for key in line.keys] == ["c2"]
    assert run.recorded_once(set(ids(n)) - {"c1"})


# --------------------------------------------------------------------------------------------------- parents and signals

PARENT = """
import os, subprocess, sys
os.environ["GENBENCH_PARENT"] = str(os.getpid())
worker = subprocess.Popen(sys.argv[1:], start_new_session=True)
print(worker.pid, flush=True)
worker.wait()
"""


def test_an_orphan_leaves_and_blames_nobody(make_run: MakeRun) -> None:
    run = make_run(cases(3, c1={"do": "wait"}), compute={"max_case_deaths": 1})
    probe = run.start(name="w0")  # only to have its command and environment
    environment = {
        line.split("=", 1)[0]: line.split("=", 1)[1]
        for line in Path(f"/proc/{probe.pid}/environ").read_text().split("\0")
        if "=" in line
    }
    probe.kill()
    probe.wait()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *map(str, probe.args)],  # type: ignore[arg-type]
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    waits(run, "c1")
    parent.kill()
    parent.wait()
    killed = time.monotonic()
    until(lambda: not process_start(pid))
    assert time.monotonic() - killed < 2.5
    ends = [line.reason for line in run.lines(End)]
    assert ends == ["parent gone"]
    assert [line.keys[0].case_id for line in run.lines(Abandon)] == ["c1"]
    let_go(run, "c1")
    assert run.start().wait(60) == EXIT_DONE
    assert {record.status for record in run.made().values()} == {"ok"}


def test_a_wrapper_may_stand_between_the_slot_and_the_worker(make_run: MakeRun) -> None:
    run = make_run(cases(3, c1={"do": "wait"}))
    slot = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    worker = run.start(parent=slot.pid)  # whose own parent is this process
    waits(run, "c1")
    assert worker.poll() is None
    slot.kill()
    slot.wait()
    assert worker.wait(10) == EXIT_ORPHANED


def test_a_parent_that_was_gone_from_the_start_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert orphanhood(ended.pid)()
    assert not orphanhood(os.getppid())()
    assert not orphanhood(os.getpid())()


def test_told_to_stop_it_ends_its_batch_and_leaves_in_order(make_run: MakeRun) -> None:
    run = make_run(cases(20, c3={"do": "wait"}), batch_size=2)
    worker = run.start()
    waits(run, "c3")
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)  # of Ctrl-C, which reaches everyone: not for a worker to act on
    let_go(run, "c3")
    assert worker.wait(60) == EXIT_DONE
    assert sorted(record.case_id for record in run.lines(Prediction)) == ["c0", "c1", "c2", "c3"]
    assert [line.reason for line in run.lines(End)] == ["told to stop"]


def test_told_to_stop_while_it_waits_for_others_it_leaves(make_run: MakeRun) -> None:
    run = make_run(cases(2, c0={"do": "wait"}))
    first = run.start(name="w0")
    waits(run, "c0")
    second = run.start(name="w1")
    until(lambda: len(run.lines(Prediction)) == 1)
    second.send_signal(signal.SIGTERM)
    assert second.wait(10) == EXIT_DONE
    assert first.poll() is None


def test_what_can_not_be_started_says_why(make_run: MakeRun) -> None:
    run = make_run(cases(2))
    run.frozen = msgspec.structs.replace(run.frozen, seed=99)  # a config that was never written
    assert run.start().wait(60) == EXIT_FAILED
    assert "can't be read" in run.log()
    run.freeze(model={"_target_": "os.system"})
    assert run.start().wait(60) == EXIT_FAILED
    assert "outside the packages that may be imported" in run.log()


# -------------------------------------------------------------------------------------------------------------- full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"can't mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=32m", str(folder)], check=True)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("Text", {"repeat": 1500}),
        ("Text", {"repeat": 1200, "batch_size": 3}),
        ("Pictures", {"side": 128}),
        ("Clips", {"side": 96}),
    ],
)
def test_on_a_full_disk_what_was_recorded_stays_and_the_rest_follows(
    make_run: MakeRun, small_disk: Path, model: str, settings: dict[str, int]
) -> None:
    n = 90
    run = make_run(cases(n), model=model, folder=small_disk, compute={"max_case_deaths": 1}, **settings)
    assert run.start().wait(60) == EXIT_DISK_FULL
    before = {record.case_id: record for record in run.lines(Prediction)}
    assert 0 < len(before) < n
    assert {record.status for record in before.values()} == {"ok"}
    assert files_match(run)
    assert not list((run.store.folder / "predictions").rglob("*.tmp"))
    again = run.start().wait(60)  # still full
    assert again in (EXIT_DISK_FULL, EXIT_FAILED)
    grow(small_disk)
    assert run.start().wait(60) == EXIT_DONE
    made = run.made()
    assert sorted(made) == sorted(ids(n))
    assert {record.status for record in made.values()} == {"ok"}  # nobody was blamed for the disk
    assert before.items() <= made.items()
    assert run.recorded_once(ids(n))
    assert files_match(run)


def test_on_a_full_disk_a_scorer_stops_and_the_rest_follows(make_run: MakeRun, small_disk: Path) -> None:
    run = make_run(
        cases(400), metrics={"len": metric_plan("Length")}, folder=small_disk, compute={"max_case_deaths": 1}
    )
    assert run.start().wait(60) == EXIT_DONE
    free = os.statvfs(small_disk).f_bavail * 4096
    (small_disk / "filler").write_bytes(b"x" * (free - 60_000))
    assert run.start("eval").wait(60) == EXIT_DISK_FULL
    before = len(run.lines(Score, "eval"))
    assert 0 < before < 800
    (small_disk / "filler").unlink()
    assert run.start("eval").wait(60) == EXIT_DONE
    scores = [(score.case_id, score.metric) for score in run.lines(Score, "eval")]
    assert len(scores) == len(set(scores)) == 800


def test_a_life_leaves_an_identity_that_names_it(make_run: MakeRun) -> None:
    run = make_run(cases(1))
    process = run.start(name="gpu.0")
    assert process.wait(60) == EXIT_DONE
    (life,) = run.lines(Life)
    assert (life.worker, life.pid, life.stage, life.config) == ("gpu.0", process.pid, "infer", run.frozen.digest)
