"""The README's commands for a user's own material, run as they stand there, each from nothing to a table of scores."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark.media import Video, write_video
from tests.workshop import tiny_language_model, tiny_pipelines

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECTION = README.split("## Your own material")[1].split("\n## ")[0]
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def clips(folder: Path) -> None:
    """200 clips in two subfolders: a bright square that wanders over noise."""
    rng = np.random.default_rng(0)
    for number in range(200):
        frames = rng.integers(0, 120, (6, 48, 64, 3)).astype(np.uint8)
        for t in range(6):
            frames[t, 8:24, number % 40 + t : number % 40 + t + 16] = 250
        path = folder / "clips" / ("indoor" if number % 2 else "outdoor") / f"clip {number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, Video(frames, 8), crf=28)


def checkpoint(folder: Path) -> None:
    tiny_pipelines.save(tiny_pipelines.cogvideox(), folder / "checkpoint")
    (folder / "prompts.txt").write_text("a red circle\na blue square, at night\n")


def script(folder: Path) -> None:
    shutil.copytree(ROOT / "examples" / "outside_script", folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "conf")
    text = re.search(r"`(conf/model/my_script.yaml)`.*?^```yaml\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert text
    assert len(text[2].splitlines()) <= 10
    (folder / text[1]).parent.mkdir(parents=True)
    (folder / text[1]).write_text(text[2])


def questions(folder: Path) -> None:
    tiny_language_model.build(folder / "checkpoint", positions=512)
    rows = [
        {"id": f"q{i}", "prompt": f"What is {i} + 1 ?", "choices": ["one", "two"], "answer": i % 2} for i in range(6)
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "prepare", "cases", "metrics"),
    [
        ("dataset=folder", clips, 200, {"basic/temporal_flickering", "basic/motion_magnitude", "iqa/piqe"}),
        ("model=diffusers", checkpoint, 2, {"basic/temporal_flickering", "basic/motion_magnitude"}),
        ("model=my_script", script, 4, {"basic/temporal_flickering", "basic/motion_magnitude"}),
        ("model=causal_lm", questions, 6, {"text/acc", "text/acc_norm"}),
    ],
)
def test_a_command_of_the_readme_ends_in_a_table(
    tmp_path: Path, part: str, prepare: Callable[[Path], None], cases: int, metrics: set[str]
) -> None:
    (command,) = [text.rstrip() for text in COMMANDS if part in text]
    if part == "model=diffusers":  # the tiny pipeline's sizes; real ones have defaults of their own
        command += " model.call.num_frames=8 model.call.height=16 model.call.width=16 model.call.max_sequence_length=16"
    prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    variables = {**os.environ, "PATH": path, "COLUMNS": "120", "OMP_NUM_THREADS": "2"}
    said = subprocess.run(
        ["sh", "-ec", command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"Predictions: {cases}/{cases} ok" in said.stdout
    assert all(name.split("/")[1] in said.stdout for name in metrics)
    (summary,) = tmp_path.glob("outputs/*/latest/results/*/summary.json")
    found = json.loads(summary.read_text())["metrics"]
    assert metrics <= found.keys()
    assert all(found[name]["scored"] == cases for name in found)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_command_that_fetches_names_options_that_exist(tmp_path: Path) -> None:
    (command,) = [text for text in COMMANDS if " fetch " in text]
    words = command.replace("/shared/caches", str(tmp_path)).replace("python", sys.executable, 1) + " dry_run=true"
    said = subprocess.run(
        ["sh", "-ec", words.replace("\n", " ")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "ViT-B" in said.stdout and "musiq" in said.stdout and str(tmp_path) in said.stdout
