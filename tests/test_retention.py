"""keep_media: which outputs go once they are scored, and that no record does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SHAPES = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from benchmark.media import Image
from benchmark.metrics import Measure


@dataclass
class Shapes:
    """A grey picture for the first case, noise for the others."""
    batch_size: int = 1
    version: ClassVar[str] = "1"
    output: ClassVar[str] = "image"
    needs: ClassVar[tuple] = ()

    def load(self, device): ...

    def generate(self, requests):
        return [self.draw(r) for r in requests]

    def draw(self, request):
        noise = np.random.default_rng(request.seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        return Image(np.full_like(noise, 120) if request.case.id == "c00" else noise)


@dataclass
class Mean:
    """The mean level; c01 can't be measured."""
    batch_size: int = 2
    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple] = ("image",)
    measures: ClassVar[tuple] = (Measure("mean", "neither"),)

    def load(self, device): ...

    def score(self, items):
        return [ValueError("unlucky") if i.case.id == "c01" else {"mean": float(i.clip.frames.mean())} for i in items]
'''


@pytest.fixture
def shapes(lab: Any) -> Any:
    (lab.folder / "lab" / "shapes.py").write_text(SHAPES)
    lab.option("model/shapes", "_target_: lab.shapes.Shapes\n")
    lab.option("metrics/mean", "# @package metrics.mean\n_target_: lab.shapes.Mean\n")
    lab.options = ("--config-dir", "conf", "plugins=[lab]", "model=shapes", "dataset=rows", "metrics=[mean]")
    return lab


def media(lab: Any) -> list[str]:
    return sorted(path.stem for path in (lab.folder / "outputs/shapes-rows/latest/predictions").rglob("*.png"))


def latest(lab: Any, name: str) -> Path:
    return lab.folder / "outputs/shapes-rows/latest" / name


@pytest.mark.parametrize(("keep", "left"), [("all", 12), ("failed", 2), ("none", 0)])
def test_media_go_once_scored_and_records_stay(shapes: Any, keep: str, left: int) -> None:
    said = shapes.run(f"keep_media={keep}")
    assert said.code == 1  # c01 has no score
    assert len(media(shapes)) == left
    if keep == "failed":
        assert media(shapes) == ["c00", "c01"]  # a plain colour, and a failed score
    assert ("outputs were removed once scored" in said.out) == (keep != "all")
    made = latest(shapes, "predictions/shapes/predictions.jsonl").read_text().splitlines()
    assert len(made) == 12 and all(json.loads(line)["sha256"] for line in made)
    assert len(latest(shapes, "results/shapes/scores.jsonl").read_text().splitlines()) == 12


def test_nothing_goes_before_it_is_scored(shapes: Any) -> None:
    assert shapes.run("keep_media=none", "mode=infer").code == 0
    assert len(media(shapes)) == 12
    shapes.run("keep_media=none", "mode=eval")
    assert media(shapes) == []


def test_a_run_keeps_to_what_it_was_started_with(shapes: Any) -> None:
    shapes.run("keep_media=none", "cache_dir=caches", "mode=infer")
    shapes.run("mode=eval")
    assert media(shapes) == []
    config = latest(shapes, "configs/config.yaml").read_text()
    assert "keep_media: none" in config and "cache_dir: caches" in config


def test_scoring_what_is_gone_is_refused_and_the_scores_that_are_there_stay(shapes: Any) -> None:
    shapes.run("keep_media=none")
    before = latest(shapes, "results/shapes/scores.jsonl").read_bytes()
    shapes.option("metrics/again", "# @package metrics.again\n_target_: lab.shapes.Mean\n")
    said = shapes.refuse("mode=eval", "metrics=[again]")
    assert "12 of 12 outputs are gone (keep_media=none)" in said.err and "mode=all reuse=null" in said.err
    assert latest(shapes, "results/shapes/scores.jsonl").read_bytes() == before
    assert shapes.run("mode=viz").code in (0, 1)


def test_a_case_that_failed_too_often_is_said_to_need_more_than_going_on(shapes: Any) -> None:
    said = [shapes.run("max_attempts=2") for _ in range(2)]
    assert [one.code for one in said] == [1, 1]
    assert "--redo-failed" not in said[0].out
    assert "some failed max_attempts=2 times" in said[1].out and "--redo-failed" in said[1].out
    words = said[1].out.rpartition("python -m benchmark ")[2].split()
    assert shapes.bare(*words).code == 1  # as unlucky as ever, and told so again
