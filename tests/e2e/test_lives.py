"""Runs that are killed, interrupted, resumed, retried and worked on by several at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HERE, Bench, until


def test_a_killed_run_goes_on_by_the_same_command_and_ends_as_an_undisturbed_one(bench: Bench, tmp_path: Path) -> None:
    command = ("model.sleep_s=0.1", f"model.trace={bench.trace}", "compute.workers=2", "name=x")
    process = bench.start(*command)
    until(lambda: len(bench.asked()) >= 5)
    bench.kill_all(process)
    at_death = len(bench.asked())

    code, output = bench.run(*command)

    assert code == 0, output
    assert len(bench.runs) == 1
    kept = re.search(r"going on with .*: (\d+) of 12 predictions are there", output)
    assert kept and at_death - 2 <= int(kept[1]) <= at_death, output
    assert len(bench.asked()) <= 12 + 2, "more was made again than the two workers had in hand"
    undisturbed = Bench(tmp_path / "other")
    undisturbed.folder.mkdir()
    assert undisturbed.run("name=x")[0] == 0
    for kind in ("predictions", "scores"):
        assert bench.records(kind) == undisturbed.records(kind)


def test_a_complete_run_starts_afresh_and_says_so(bench: Bench) -> None:
    assert bench.run("name=x")[0] == 0
    code, output = bench.run("name=x")
    assert code == 0
    assert len(bench.runs) == 2
    assert "is complete" in output


def test_first_ctrl_c_ends_the_case_and_names_the_way_on(bench: Bench) -> None:
    process = bench.start("model.sleep_s=0.5", f"model.trace={bench.trace}", "name=x")
    until(lambda: len(bench.asked()) >= 2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)

    assert process.returncode == 130, output
    assert "Ctrl-C again to stop now" in output
    assert len(bench.records("predictions")) == len(bench.asked()), "the case at work was not ended"
    way_on = re.search(r"python -m benchmark (resume \S+)", output)
    assert way_on, output
    code, output = bench.command(*way_on[1].split())
    assert code == 0, output
    assert len(bench.asked()) == 12, "a recorded case was made again"
    assert bench.summary()["predictions"]["ok"] == 12


def test_second_ctrl_c_stops_at_once(bench: Bench) -> None:
    process = bench.start("model.hanging=[c001]", f"model.trace={bench.trace}", "name=x")
    until(lambda: "c001" in bench.asked())
    process.send_signal(signal.SIGINT)
    assert process.stdout
    until(lambda: "again to stop now" in process.stdout.readline())  # type: ignore[union-attr]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert bench.workers() == []


def test_workers_leave_when_their_driver_is_gone(bench: Bench) -> None:
    process = bench.start("model.sleep_s=30", "compute.workers=2", "name=x")
    until(lambda: len(bench.workers()) == 2)
    process.kill()
    process.wait()
    assert until(lambda: not bench.workers(), 15)


def test_a_killed_worker_is_restarted_and_its_death_written_down(bench: Bench) -> None:
    process = bench.start("model.sleep_s=0.3", f"model.trace={bench.trace}", "name=x")
    until(lambda: len(bench.asked()) >= 2)
    os.kill(bench.workers()[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    driver = next(bench.latest.glob(".work/journals/driver-*.jsonl")).read_text()
    assert "killed by SIGKILL" in driver


def test_a_case_that_kills_its_worker_is_failed_and_all_others_are_done(bench: Bench) -> None:
    code, output = bench.run("model.killing=[c003]", "model.batch_size=4", "name=x")
    assert code == 1, output
    failed = [record for record in bench.records("predictions") if record["status"] == "failed"]
    assert [record["case_id"] for record in failed] == ["c003"]
    assert "worker died" in failed[0]["error"]
    assert bench.summary()["predictions"] == {"expected": 12, "ok": 11, "failed": 1, "missing": 0}


def test_a_hung_case_is_failed_after_its_time(bench: Bench) -> None:
    code, output = bench.run("model.hanging=[c002]", "compute.case_timeout_min=0.03", "name=x")
    assert code == 1, output
    failed = [record for record in bench.records("predictions") if record["status"] == "failed"]
    assert [record["case_id"] for record in failed] == ["c002"]
    assert "case_timeout_min" in failed[0]["error"]
    assert bench.summary()["predictions"]["ok"] == 11


def test_failed_cases_are_tried_again_up_to_max_attempts_and_on_demand(bench: Bench) -> None:
    mended = bench.folder / "mended"
    command = (
        "model.failing=[c004]",
        f"model.mended={mended}",
        f"model.trace={bench.trace}",
        "max_attempts=2",
        "name=x",
    )
    code, output = bench.run(*command)
    assert code == 1
    assert "RuntimeError: c004 can't be answered" in output
    assert "python -m benchmark resume" in output
    assert bench.run(*command)[0] == 1
    assert bench.asked().count("c004") == 2
    assert bench.run(*command)[0] == 1
    assert bench.asked().count("c004") == 2, "tried more often than max_attempts"
    mended.touch()
    code, output = bench.run(*command, "redo=[failed]")
    assert code == 0, output
    assert bench.asked().count("c004") == 3
    assert len(bench.asked()) == 12 + 2, "other cases were made again"
    assert len(bench.runs) == 1


def test_a_failing_metric_is_counted_and_never_scored(bench: Bench) -> None:
    code, output = bench.run("metrics.length.failing=[c001,c002]", "name=x")
    assert code == 1, output
    length = bench.summary()["metrics"]["length/length"]
    assert (length["expected"], length["scored"], length["failed"]) == (12, 10, 2)
    assert length["overall"]["count"] == 10
    assert "10/12" in output
    scores = {record["case_id"]: record for record in bench.records("scores")}
    assert scores["c001"]["value"] is None
    assert scores["c001"]["error"].startswith("ValueError: c001 can't be measured\n")


def test_redoing_a_metric_makes_its_scores_again_and_no_prediction(bench: Bench) -> None:
    command = (f"model.trace={bench.trace}", "name=x")
    assert bench.run(*command)[0] == 0
    code, output = bench.run("mode=eval", "redo=[length]", "name=x")
    assert code == 0, output
    assert len(bench.asked()) == 12
    attempts = [json.loads(line)["attempt"] for line in next(bench.latest.glob("results/*/scores.jsonl")).open()]
    assert attempts == [1] * 12


def test_conf_edited_in_the_middle_of_a_run_changes_nothing(bench: Bench) -> None:
    conf = bench.folder / "conf"
    shutil.copytree(HERE / "conf", conf)
    arguments = [str(conf) if word == str(HERE / "conf") else word for word in bench.studio]
    process = bench.start(*arguments, "model.sleep_s=0.2", f"model.trace={bench.trace}", "name=x", studio=False)
    until(lambda: len(bench.asked()) >= 2)
    echo = conf / "model" / "echo.yaml"
    echo.write_text(echo.read_text().replace("word: hello", "word: edited"))
    os.kill(bench.workers()[0], signal.SIGKILL)  # a fresh life reads its config now
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert all(record["text"].startswith("hello ") for record in bench.records("predictions"))


def test_an_invocation_with_other_metrics_works_beside_a_live_one(bench: Bench) -> None:
    first = bench.start("metrics.length.sleep_s=0.3", "name=x")
    until(lambda: list(bench.folder.glob("outputs/x/latest/.work/journals/eval-*")))
    code, output = bench.run("metrics=[vocabulary]", "mode=eval", "name=x")
    assert code == 0, output
    assert first.poll() is None, "the first run was over before the second, which proves nothing"
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 0, output
    metrics = [record["metric"] for record in bench.records("scores")]
    assert sorted(set(metrics)) == ["length/length", "vocabulary/words"]
    assert metrics.count("length/length") == 12


def test_the_same_command_typed_twice_shares_the_work(bench: Bench) -> None:
    command = ("model.sleep_s=0.2", f"model.trace={bench.trace}", "name=x")
    first = bench.start(*command)
    until(lambda: len(bench.asked()) >= 2)
    code, output = bench.run(*command)
    assert code == 0, output
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert sorted(bench.asked()) == [f"c{n:03d}" for n in range(12)], "a case was made twice, or not at all"
    assert len(bench.runs) == 1


def test_the_number_of_workers_may_change_between_tries(bench: Bench) -> None:
    command = ("model.sleep_s=0.1", f"model.trace={bench.trace}", "name=x")
    process = bench.start(*command, "compute.workers=3")
    until(lambda: len(bench.asked()) >= 4)
    bench.kill_all(process)
    code, output = bench.run(*command, "compute.workers=1")
    assert code == 0, output
    assert bench.summary()["predictions"]["ok"] == 12


def test_wait_and_status_see_a_live_run_from_elsewhere_and_agree_at_its_end(bench: Bench) -> None:
    process = bench.start("model.sleep_s=0.3", f"model.trace={bench.trace}", "model.failing=[c001]", "name=x")
    until(lambda: len(bench.asked()) >= 3)
    code, output = bench.command("status", "x")
    assert code == 0
    assert "driven by process" in output
    assert re.search(r"infer [1-9]\d*/12", output), output
    code, output = bench.command("wait", "x")
    assert process.wait(timeout=20) == 1
    assert code == 1, output
    assert "resume" in output
    code, output = bench.command("status", "x")
    assert "not running" in output
    assert "1 failed" in output


def test_a_sweep_killed_in_the_middle_goes_on_where_it_stopped(bench: Bench) -> None:
    command = ("--multirun", "model.word=a,b,c", "model.sleep_s=0.05", f"model.trace={bench.trace}", "name=s")
    process = bench.start(*command)
    until(lambda: len(bench.asked()) >= 15)
    bench.kill_all(process)
    code, output = bench.run(*command)
    assert code == 0, output
    sweeps = [path for path in bench.folder.glob("outputs/s/2*") if path.is_dir()]
    assert len(sweeps) == 1
    runs = sorted(path.parent for path in sweeps[0].glob("*/cases.jsonl"))
    assert len(runs) == 3
    assert all(bench.summary(run)["predictions"]["ok"] == 12 for run in runs)
    assert len(bench.asked()) <= 36 + 1
    expected = json.loads((sweeps[0] / "sweep.json").read_text())["runs"]
    assert sorted(expected) == [run.name for run in runs]


def test_debug_runs_in_this_process_with_tracebacks(bench: Bench) -> None:
    code, output = bench.run("debug=true", "model.failing=[c001]", "name=x")
    assert code == 1
    assert "Traceback (most recent call last)" in output
    assert "RuntimeError: c001 can't be answered" in output
    assert bench.summary()["predictions"]["ok"] == 11


def test_samples_have_seeds_and_files_of_their_own(bench: Bench) -> None:
    code, output = bench.run("samples=2", "name=x")
    assert code == 0, output
    predictions = bench.records("predictions")
    assert len(predictions) == 24
    assert len({record["seed"] for record in predictions}) == 24
    assert bench.summary()["metrics"]["length/length"]["overall"]["expected"] == 24


def test_a_model_that_cannot_load_fails_no_case_and_shows_why(bench: Bench) -> None:
    code, output = bench.run("model.broken=true", "name=x")
    assert code == 1, output
    assert "OSError: no such weights" in output
    assert "infer/w0.log" in output
    assert bench.summary()["predictions"] == {"expected": 12, "ok": 0, "failed": 0, "missing": 12}


def test_a_changed_metric_setting_costs_no_prediction_of_an_incomplete_run(bench: Bench) -> None:
    command = ("model.sleep_s=0.1", f"model.trace={bench.trace}", "name=x")
    process = bench.start(*command)
    until(lambda: len(bench.asked()) >= 5)
    bench.kill_all(process)
    code, output = bench.run(*command, "metrics.length.scale=2")
    assert code == 0, output
    assert "metrics.length.scale: 1.0 -> 2.0" in output
    assert len(bench.runs) == 1
    assert len(bench.asked()) <= 12 + 1


def test_flags_may_stand_among_the_overrides(bench: Bench) -> None:
    code, output = bench.run("model.word=a,b", "-m", "name=s", "dry_run=true")
    assert code == 0, output
    assert output.count("12 pending") == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_loses_nothing_and_says_how_to_go_on(bench: Bench, small_disk: Path) -> None:
    command = (f"output_root={small_disk}", f"model.word={'x' * 50_000}", f"model.trace={bench.trace}", "name=x")
    code, output = bench.run(*command)
    assert code == 1, output[-2000:]
    assert "no space left" in output
    assert "python -m benchmark resume" in output
    assert "Traceback" not in output
    asked = len(bench.asked())
    assert 0 < asked < 12
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    code, output = bench.run(*command)
    assert code == 0, output[-2000:]
    assert "of 12 predictions are there" in output
    assert len(bench.asked()) <= 12 + 2, "what was recorded before the disk was full is kept"


def test_a_reader_that_leaves_does_not_stop_the_run(bench: Bench) -> None:
    process = bench.start("model.sleep_s=0.1", "name=x")
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert bench.summary()["predictions"]["ok"] == 12


def test_a_look_at_an_incomplete_run_does_not_make_it_complete(bench: Bench) -> None:
    process = bench.start("model.sleep_s=0.3", f"model.trace={bench.trace}", "name=x")
    until(lambda: len(bench.asked()) >= 3)
    bench.kill_all(process)
    code, output = bench.run("mode=viz", "name=x", studio=False)
    assert code == 0, output
    assert "missing" in output
    code, output = bench.command("status", "x")
    assert "incomplete" in output, output
    assert bench.command("wait", "x")[0] == 1


def test_an_output_that_changed_or_is_gone_is_not_scored(bench: Bench) -> None:
    chosen = ("dataset.ids=[coffee-static,coffee-roll,coffee-zoom_in]", "model.frames=3", "name=x")
    assert bench.run(*chosen, studio=False)[0] == 0
    clips = {path.stem: path for path in bench.latest.glob("predictions/*/*/*.mp4")}
    clips["coffee-roll"].unlink()
    clips["coffee-static"].write_bytes(clips["coffee-zoom_in"].read_bytes())
    code, output = bench.run("mode=eval", "metrics.basic.flow_size=64", "name=x", studio=False)
    assert code == 1, output
    assert "is gone since it was recorded" in output
    assert "has changed since it was recorded" in output
    assert bench.summary()["metrics"]["basic/motion_magnitude"]["scored"] == 1
    code, output = bench.run("redo=[infer]", "metrics.basic.flow_size=64", *chosen, studio=False)
    assert code == 0, output
    assert bench.summary()["metrics"]["basic/motion_magnitude"]["scored"] == 3


def test_a_damaged_journal_is_told_of_and_its_case_made_again(bench: Bench) -> None:
    assert bench.run("name=x", f"model.trace={bench.trace}")[0] == 0
    journal = next(bench.latest.glob(".work/journals/infer-*.jsonl"))
    lines = journal.read_text().splitlines(keepends=True)
    (at,) = (n for n, line in enumerate(lines) if '"case_id":"c005"' in line)
    lines[at] = lines[at].replace("{", "#", 1)
    journal.write_text("".join(lines))
    next(bench.latest.glob("predictions/*/predictions.jsonl")).unlink()
    code, output = bench.command("resume", "x")
    assert code == 0, output
    assert "1 lines of the journals can't be read" in output
    assert bench.asked().count("c005") == 2
    assert len(bench.asked()) == 13
