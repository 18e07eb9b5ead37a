"""The run that a newcomer starts first, on real pictures, and the same stages in another interpreter."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import av
import pytest
from conftest import Bench

LIGHT = ["msgspec", "pyyaml", "numpy", "pillow", "av"]


def test_the_default_run_leaves_the_folder_of_the_readme_and_numbers_that_add_up(bench: Bench) -> None:
    code, output = bench.run("experiment=quick", "name=first", studio=False)

    assert code == 0, output
    run = bench.latest
    for part in ("configs/config.yaml", "configs/overrides.yaml", "configs/environment.json", "cases.jsonl",
                 "logs/infer/w0.log", "logs/eval/w0.log", "predictions/ken_burns/predictions.jsonl",
                 "results/ken_burns/scores.jsonl", "results/ken_burns/summary.json"):  # fmt: skip
        assert (run / part).is_file(), part
        assert part.startswith(("configs/", "cases", "logs/")) or str(Path("latest") / part) or part in output
    predictions = bench.records("predictions")
    assert len({record["case_id"].split("-")[1] for record in predictions}) == 8, (
        "limit=8 is spread over the categories"
    )
    for record in predictions:
        with av.open(str(run / record["files"]["video"])) as clip:
            frames = sum(1 for _ in clip.decode(video=0))
            assert (frames, clip.streams.video[0].width) == (record["frames"], record["width"])
    summary = bench.summary()
    for name, metric in summary["metrics"].items():
        values = [record["value"] for record in bench.records("scores") if record["metric"] == name]
        assert metric["overall"]["count"] == len(values) == 8
        assert metric["overall"]["mean"] == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert metric["overall"]["std"] == pytest.approx(statistics.stdev(values), abs=1e-12)
        assert metric["overall"]["std_ddof"] == 1
        assert metric["overall"]["coverage"] == 1.0
        assert metric["overall"]["ci_low"] <= metric["overall"]["mean"] <= metric["overall"]["ci_high"]
        assert name in output
    assert set(summary["stages_s"]) >= {"infer", "eval"}
    assert "8/8" in output


def test_lossless_frames_are_kept_and_scored_when_asked_for(bench: Bench) -> None:
    chosen = ("dataset.ids=[coffee-static]", "model.frames=3", "metrics.basic.names=[first_frame_psnr]")
    assert bench.run(*chosen, "name=lossy", studio=False)[0] == 0
    lossy = bench.summary(next(bench.folder.glob("outputs/lossy/2*")))
    code, output = bench.run(*chosen, "media.frames=png", "name=lossless", studio=False)
    assert code == 0, output
    run = next(bench.folder.glob("outputs/lossless/2*"))
    frames = sorted(path.name for path in run.glob("predictions/ken_burns/static/coffee-static/frames/*"))
    assert frames == ["00000.png", "00001.png", "00002.png"]
    psnr = bench.summary(run)["metrics"]["basic/first_frame_psnr"]["overall"]["mean"]
    assert psnr == 100.0, "the first frame of a still is its picture, and PNG keeps it"
    assert lossy["metrics"]["basic/first_frame_psnr"]["overall"]["mean"] < 60


def another_python() -> str | None:
    """Return an interpreter of another minor version that this machine has, or None."""
    homes = [Path.home() / ".pyenv" / "versions", Path("/opt/python"), Path("/usr/bin"), Path("/usr/local/bin")]
    for minor in (10, 12, 13, 14):
        if minor == sys.version_info.minor:
            continue
        found = shutil.which(f"python3.{minor}")
        candidates = [Path(found)] if found and "shims" not in found else []
        candidates += [path for home in homes for path in home.glob(f"3.{minor}*/bin/python3.{minor}")]
        if candidates:
            return str(candidates[0])
    return None


def test_both_stages_run_in_another_minor_python_without_hydra_or_our_package(bench: Bench) -> None:
    base = another_python()
    if base is None:
        pytest.skip("this machine has no other Python 3")
    uv = shutil.which("uv")
    environment = bench.folder / "venv"
    python = str(environment / "bin" / "python")
    if uv:
        subprocess.run([uv, "venv", "--quiet", "--python", base, str(environment)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *LIGHT], check=True)
    else:
        subprocess.run([base, "-m", "venv", str(environment)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *LIGHT], check=True)
    without = (
        "import importlib.util as u; assert not any(map(u.find_spec, ('hydra', 'submitit', 'torch', 'benchmark')))"
    )
    subprocess.run([python, "-c", without], check=True, cwd="/")

    code, output = bench.run(f"compute.infer.python={python}", f"compute.eval.python={python}", "name=other")

    assert code == 0, output
    for stage in ("infer", "eval"):
        assert python in (bench.latest / "logs" / stage / "w0.log").read_text()
    other = bench.records("predictions")
    here = Bench(bench.folder / "here")
    here.folder.mkdir()
    assert here.run("name=other")[0] == 0
    assert other == here.records("predictions")
    assert bench.records("scores") == here.records("scores")


def test_a_python_that_lacks_what_a_worker_needs_is_refused_before_anything_starts(bench: Bench) -> None:
    bare = bench.folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    code, output = bench.run(f"compute.eval.python={bare}/bin/python", "name=x")
    assert code == 2, output
    assert "compute.eval.python" in output
    assert "pip install msgspec" in output
    assert not (bench.folder / "outputs").exists()


def test_the_environment_file_tells_versions_and_holds_no_secret(bench: Bench) -> None:
    code, _ = bench.run("name=x", HF_TOKEN="hf_secret", WANDB_API_KEY="key_secret")
    assert code == 0
    text = (bench.latest / "configs" / "environment.json").read_text()
    assert json.loads(text)["packages"]["msgspec" if "msgspec" in text else "numpy"]
    everything = b"".join(path.read_bytes() for path in bench.latest.rglob("*") if path.is_file())
    assert b"hf_secret" not in everything
    assert b"key_secret" not in everything
    assert os.environ.get("HF_TOKEN") != "hf_secret"
