"""Building components: the allow-list, signatures, and everything that is wrong at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from benchmark.build import bind, build, in_words, plainly
from benchmark.dataset import Dataset
from benchmark.metrics import Metric, SetMetric
from benchmark.model import Model


@dataclass
class Argued:
    count: Annotated[int, Meta(ge=1, le=9)]
    kind: Literal["fast", "exact"] = "fast"
    share: float = 0.5
    root: Path = Path()
    names: list[str] | None = None
    limit: int | Literal["auto"] | None = None


def test_arguments_arrive_as_their_types() -> None:
    given = {"count": 3, "share": 1, "root": "/data", "names": ["a"], "limit": "auto"}
    bound, problems = bind(Argued, given, "model")
    assert not problems
    assert bound == {"count": 3, "share": 1.0, "root": Path("/data"), "names": ["a"], "limit": "auto"}
    assert type(bound["share"]) is float


@pytest.mark.parametrize(
    ("name", "value", "allowed", "fix"),
    [
        ("count", 0, "a whole number >= 1 and <= 9", ""),
        ("count", "3", "a whole number >= 1 and <= 9", ""),
        ("count", True, "a whole number >= 1 and <= 9", ""),
        ("kind", "exakt", "fast or exact", "did you mean `exact`?"),
        ("share", "half", "a number", ""),
        ("root", 3, "a path", ""),
        ("names", [1], "a list (text) or null", ""),
        ("limit", "all", "a whole number or auto or null", ""),
    ],
)
def test_wrong_values_say_what_is_allowed(name: str, value: Any, allowed: str, fix: str) -> None:
    _, problems = bind(Argued, {"count": 1, name: value}, "model")
    assert [(p.where, p.given, p.allowed, p.fix) for p in problems] == [(f"model.{name}", plainly(value), allowed, fix)]


def test_all_wrong_arguments_are_told_at_once() -> None:
    _, problems = bind(Argued, {"kinds": "fast", "share": None}, "model")
    assert [problem.where for problem in problems] == ["model.kinds", "model.share", "model.count"]
    assert problems[0].fix == "did you mean `model.kind`?"


def test_types_in_words() -> None:
    assert in_words(dict[str, int] | None) == "settings (key: value) or null"
    assert in_words(tuple[int, ...]) == "a list (a whole number)"


@pytest.mark.parametrize(
    "target",
    ["os.system", "shutil.copytree", "torch.load", "benchmarks.model.X", "KenBurns", "", ".benchmark.x", "lab.X"],
)
def test_only_own_packages_and_plugins_are_imported(target: str) -> None:
    built, (problem,) = build({"_target_": target}, (Model,), "model", [])
    assert built is None
    assert problem.where == "model._target_" and "outside" in problem.wrong


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("benchmark.model.ken_burns.KenBurn", "did you mean `KenBurns`?"),
        ("benchmark.model.nonesuch.X", "No module named"),
        ("benchmark.media.Path", "names no class"),  # defined elsewhere: an import is no way around the allow-list
        ("benchmark.cases.choose", "names no class"),
        ("benchmark.model..x", "can't be imported"),
        ("benchmark.", "names no class"),
    ],
)
def test_targets_that_are_no_class(target: str, says: str) -> None:
    built, (problem,) = build({"_target_": target}, (Model,), "model", [])
    assert built is None
    assert says in str(problem)


def test_what_is_no_component_is_not_even_constructed(lab: Any) -> None:
    lab.bare("--version")  # puts nothing on the path; the folder is put there by hand
    import sys

    sys.path.insert(0, str(lab.folder))
    built, (problem,) = build({"_target_": "lab.parts.Loud"}, (Model,), "model", ["lab"])
    assert built is None and "is no Model: it lacks generate, load" in str(problem)
    assert not (lab.folder / "touched").exists()


def test_a_constructor_that_raises_is_blamed_with_its_line(lab: Any) -> None:
    import sys

    sys.path.insert(0, str(lab.folder))
    _, (problem,) = build({"_target_": "lab.parts.Fragile"}, (Model,), "model", ["lab"])
    assert "RuntimeError: no gauge here" in str(problem) and "parts.py, line" in str(problem)


def test_a_component_of_another_kind_is_refused() -> None:
    spec = {"_target_": "benchmark.dataset.pictures.Pictures"}
    assert build(spec, (Dataset,), "dataset", [])[1] == []
    _, (problem,) = build(spec, (Metric, SetMetric), "metrics.x", [])
    assert "is no Metric or SetMetric" in str(problem)
