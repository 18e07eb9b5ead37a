"""Follows CONTRIBUTING.md word for word: writes each recipe's files outside the repository and runs its commands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r"(?:^`(?P<name>[^`\n]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block: its language, its text, and the file name in the line before it, if any."""

    name: str | None
    language: str
    text: str


def sections() -> dict[str, str]:
    """Return the text below each heading of the guide."""
    _, *parts = re.split(r"^## (.+)$", GUIDE, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def blocks(heading: str) -> list[Block]:
    return [Block(*found.group("name", "language", "text")) for found in BLOCK.finditer(sections()[heading])]


def place(heading: str, folder: Path) -> None:
    """Write the recipe's files, as one would by hand."""
    for block in blocks(heading):
        if block.name:
            path = folder / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


class Followed:
    """A recipe that was followed: what its commands printed, and the run that they left."""

    def __init__(self, heading: str, folder: Path) -> None:
        self.folder = folder
        place(heading, folder)
        said = [block for block in blocks(heading) if block.name is None]
        assert [block.language for block in said] == ["sh", "text"], "a recipe ends with its commands and what one sees"
        self.output = self._run(said[0].text)
        for line in said[1].text.splitlines():
            pattern = r".*".join(r"\s+".join(map(re.escape, part.split())) for part in line.split(" ... "))
            assert re.search(pattern, self.output), f"the recipe promises {line!r}; printed was:\n{self.output}"

    def _run(self, commands: str) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            ["sh", "-e", "-c", commands],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def latest(self, heading: str) -> Path:
        """Return the run that the recipe itself points to."""
        named = re.findall(r"`(outputs/[^`]+/latest)/[^`]*`", sections()[heading])
        assert len(set(named)) == 1, f"the recipe names {named} as where the outcome lies"
        return self.folder / named[0]


def records(run: Path, pattern: str) -> list[dict[str, Any]]:
    (file,) = run.glob(pattern)
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_guide_has_a_recipe_for_each_kind_of_part() -> None:
    recipes = [heading for heading in sections() if heading.startswith("Add a ")]
    assert recipes == ["Add a model", "Add a dataset", "Add a metric", "Add a compute option"]


def test_the_layout_in_the_guide_lists_the_files_of_the_recipes() -> None:
    (layout,) = blocks("Parts of your own")
    names = {Path(block.name).name for heading in sections() for block in blocks(heading) if block.name}
    assert {Path(word).name for word in re.findall(r"[\w/]+\.(?:py|yaml)", layout.text)} == names


def test_the_targets_that_the_guide_names_exist() -> None:
    asked = set(re.findall(r"^`?make (\w+)", GUIDE, re.MULTILINE))
    assert asked
    assert asked <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("heading", ["Add a model", "Add a dataset", "Add a metric"])
def test_recipes_follow_the_style_of_the_house(heading: str, tmp_path: Path) -> None:
    (file,) = [block for block in blocks(heading) if block.language == "python"]
    (tmp_path / "part.py").write_text(file.text)
    house = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    for command in (["format", "--check"], ["check", "--config", "lint.isort.known-first-party = ['benchmark']"]):
        asked = [sys.executable, "-m", "ruff", *command, *house, "part.py"]
        done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_model_is_added_by_two_files(tmp_path: Path) -> None:
    run = Followed("Add a model", tmp_path).latest("Add a model")
    made = records(run, "predictions/grain/predictions.jsonl")
    assert [record["status"] for record in made] == ["ok"] * 4
    assert {(record["width"], record["height"], record["frames"]) for record in made} == {(192, 128, 9)}
    assert {record["batch_size"] for record in made} == {4}
    assert all((run / record["files"]["video"]).is_file() for record in made)
    frozen = (run / "configs" / "config.yaml").read_text()
    assert "model.identity.numpy" in frozen
    assert "model.sigma" in frozen
    assert "model.batch_size" not in frozen, "batch_size is execution_only, and counts nevertheless"


def test_a_dataset_is_added_by_two_files(tmp_path: Path) -> None:
    run = Followed("Add a dataset", tmp_path).latest("Add a dataset")
    cases = records(run, "cases.jsonl")
    assert len(cases) == 4
    assert all(Path(case["inputs"]["image"]).stem == case["id"] for case in cases)
    assert {case["fields"]["move"] for case in cases} == {"zoom_in"}
    assert [record["status"] for record in records(run, "predictions/*/predictions.jsonl")] == ["ok"] * 4


def test_the_datasets_own_mistake_is_one_of_the_users(tmp_path: Path) -> None:
    place("Add a dataset", tmp_path)
    command = [sys.executable, "-m", "benchmark", "--config-dir", "lab/conf", "plugins=[lab]", "dataset=stills"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "dataset.folder: is no folder" in done.stderr


def test_a_metric_is_added_by_two_files_and_scores_a_run_that_exists(tmp_path: Path) -> None:
    run = Followed("Add a metric", tmp_path).latest("Add a metric")
    scores = records(run, "results/ken_burns/scores.jsonl")
    own = [score for score in scores if score["metric"].startswith("colour/")]
    assert {score["status"] for score in own} == {"ok"}
    assert {score["metric"] for score in own} == {"colour/colourfulness", "colour/colour_shift"}
    assert {len(score["details"]["frames"]) for score in own if score["metric"] == "colour/colourfulness"} == {2, 8}
    assert len(list(run.parent.glob("2*"))) == 1, "mode=eval made a run of its own"
    assert all(0 < score["value"] < 150 for score in own if score["metric"] == "colour/colourfulness")


def test_the_metric_of_the_guide_agrees_with_its_formula(tmp_path: Path) -> None:
    """Plain red has no spread: 0.3 * sqrt(255^2 + 127.5^2). Red beside green differs in one opponent alone."""
    import numpy as np

    (file,) = [block for block in blocks("Add a metric") if block.language == "python"]
    (tmp_path / "metric.py").write_text(file.text)
    sys.path.insert(0, str(tmp_path))
    try:
        from metric import colourfulness  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("metric", None)
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    assert colourfulness(red) == pytest.approx(85.5296, abs=1e-3)
    assert colourfulness(np.full((8, 8, 3), 128, np.uint8)) == 0
    both = red.copy()
    both[:4] = (0, 255, 0)
    assert colourfulness(both) == pytest.approx(255 + 0.3 * 127.5)


def test_a_compute_option_is_added_by_one_file(tmp_path: Path) -> None:
    run = Followed("Add a compute option", tmp_path).latest("Add a compute option")
    made = records(run, "predictions/ken_burns/predictions.jsonl")
    assert [record["status"] for record in made] == ["ok"] * 4
    assert {path.name for path in (run / "logs" / "infer").iterdir()} == {"w0.log", "w1.log"}
    assert {path.name for path in (run / "logs" / "eval").iterdir()} == {"w0.log", "w1.log"}
