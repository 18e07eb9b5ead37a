"""The command line from outside: no trace of a dry run, Hydra's own flags, both entry points, plugins where the user is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


def shell(lab: Any, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=lab.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def scratch() -> set[str]:
    import tempfile

    return {path.name for path in Path(tempfile.gettempdir()).glob("genbench-*")}


@pytest.mark.parametrize(
    "words",
    [
        "dry_run=true",
        "dry_run=true -m seed=1,2,3",
        "-m dry_run=true model=echo seed=range(1,4)",
        "dry_run=true hydra.run.dir=elsewhere hydra.output_subdir=kept hydra.job.chdir=true",
        "dry_run=true hydra.mode=MULTIRUN seed=1,2",
        "dry_run=true -m seed=1,2 hydra.sweep.dir=elsewhere",
        "--cfg job",
        "--cfg all --resolve",
        "--info all",
        "--info",
        "--help",
        "--hydra-help",
        "--version",
        "model=echo --cfg job -p model",
    ],
)
def test_nothing_is_left_behind(lab: Any, words: str) -> None:
    before, temporary = lab.tree(), scratch()
    said = lab(*words.split())
    assert said.code == 0, said
    assert lab.tree() == before and scratch() == temporary


def test_a_dry_run_tells_the_whole_plan(lab: Any) -> None:
    said = lab("dry_run=true", "samples=2", "compute.workers=3", "limit=7", "name=first try")
    for part in (
        "run      first try: mode=all (infer, eval, viz)",
        "folder   outputs/first try/<now> (no run of this name yet)",
        "cases    7 x 2 samples: red 3, green 2, 物理 2",
        "metrics  length/length",
        "infer    14 pending, 0 reused; 3 workers: w0, w1, w2",
        "-m benchmark.worker outputs/first try/<now> infer ",
        "no problems found; dry run: nothing was written, nothing was started",
    ):
        assert part in said.out


def test_flags_may_stand_anywhere(lab: Any) -> None:
    said = lab("limit=2", "--multirun", "seed=1,2", "dry_run=true")
    assert said.code == 0 and "sweep of 2 runs" in said.out
    assert lab("dry_run=true", "--multi", "seed=1,2").out.startswith("sweep of 2 runs")


def test_users_folders_for_hydra_do_no_harm(lab: Any) -> None:
    said = lab.run("limit=1", "hydra.run.dir=elsewhere", "hydra.mode=MULTIRUN", "hydra.sweep.dir=elsewhere")
    assert said.code == 0 and not (lab.folder / "elsewhere").exists()
    assert lab.runs()


def test_what_hydra_shows(lab: Any) -> None:
    assert "lab.parts.Echo" in lab("--cfg", "job").out
    assert lab("--cfg", "job", "-p", "model").out.startswith("# @package model")
    assert "python -m benchmark --multirun" in lab("--help").out
    assert "genbench" in lab("--version").out
    assert "model/echo" in lab("--info", "defaults").out
    refused = lab.bare("--cfg", "job", "model=nonesuch")
    assert refused.code == 2 and "no such option" in refused.err


def test_spellings_of_modes(lab: Any) -> None:
    for spelling, stages in {"full": "infer, eval, viz", "infer-only": "infer", "infer": "infer"}.items():
        assert f"({stages})" in lab("dry_run=true", f"mode={spelling}").out


def test_awkward_values_arrive(lab: Any) -> None:
    said = lab(
        "--cfg",
        "job",
        "dataset.categories=[物理]",
        "prompts.template={prompt}, it's (new) = good",
        "reuse=20260101_120000",
    )
    assert "- 物理" in said.out and "{prompt}, it''s (new) = good" in said.out and "'20260101_120000'" in said.out


@pytest.mark.parametrize("entry", ["module", "script"])
def test_both_entry_points_find_plugins_in_the_current_folder(lab: Any, entry: str) -> None:
    script = Path(sys.executable).with_name("benchmark")
    command = [sys.executable, "-m", "benchmark"] if entry == "module" else [str(script)]
    if entry == "script" and not script.exists():
        pytest.skip("the console script is not installed")
    before = lab.tree()
    done = shell(lab, *command, *lab.options, "dry_run=true", "-m", "seed=1,2")
    assert done.returncode == 0 and "sweep of 2 runs" in done.stdout, done.stderr
    assert lab.tree() == before


def test_a_run_with_workers_from_a_folder_with_plugins(lab: Any) -> None:
    done = shell(
        lab, sys.executable, "-m", "benchmark", *lab.options, "compute.workers=2", "output_root=my runs", "limit=6"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (lab.folder / "my runs" / "echo-rows").glob("2*")
    assert len((run / "predictions/echo/predictions.jsonl").read_text().splitlines()) == 6
    again = shell(
        lab, sys.executable, "-m", "benchmark", *lab.options, "output_root=my runs", "limit=6", "reuse=latest"
    )
    assert again.returncode == 0, again.stderr


def test_mistakes_from_outside(lab: Any) -> None:
    before = lab.tree()
    done = shell(lab, sys.executable, "-m", "benchmark", *lab.options, "modle=x", "seed=abc", "model.batch_size=0.5")
    assert done.returncode == 2 and done.stderr.startswith("3 problems, nothing was started:"), done.stderr
    assert "Traceback" not in done.stderr and not done.stdout and lab.tree() == before


def test_a_closed_pipe_is_no_mistake(lab: Any) -> None:
    done = shell(lab, "bash", "-c", f"{sys.executable} -m benchmark --help | true")
    assert "problem" not in done.stderr and "Traceback" not in done.stderr


def test_an_interrupt_while_planning(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmark.start

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark.start, "plan", interrupted)
    assert lab("dry_run=true").code == 130


def test_our_own_bug_is_exit_3_with_a_traceback(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmark.start

    def broken(*_: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(benchmark.start, "plan", broken)
    said = lab("dry_run=true")
    assert said.code == 3 and "RuntimeError: ours" in said.err
