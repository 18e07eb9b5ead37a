"""benchmark.dataset.pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import media
from benchmark.clip import quality_flags
from benchmark.dataset import Dataset
from benchmark.dataset.pictures import MOVES, PICTURES, Picture, Pictures, locate
from benchmark.errors import UserError
from benchmark.model import ken_burns


def test_it_satisfies_the_protocol() -> None:
    assert isinstance(Pictures(), Dataset)


def test_its_moves_are_those_of_ken_burns() -> None:
    assert tuple(MOVES) == ken_burns.MOVES


def test_all_pictures_with_all_moves() -> None:
    cases = list(Pictures().cases())
    assert len(cases) == len({case.id for case in cases}) == len(PICTURES) * len(MOVES) == 64
    assert cases == list(Pictures().cases())
    for case in cases:
        assert case.id == f"{case.fields['picture']}-{case.fields['move']}"
        assert case.category == case.fields["move"]
        assert case.prompt.startswith(MOVES[case.category]) and case.prompt.endswith(".")
    for path in {Path(case.inputs["image"]) for case in cases}:
        assert path.is_absolute()
        media.check_image(path)
        pixels = media.read_image(path)
        assert min(pixels.shape[:2]) >= 256
        assert (pixels[..., 0] != pixels[..., 2]).any(), "a colour photograph"
        assert quality_flags(pixels[None]) == []


def test_a_choice_keeps_its_order() -> None:
    ids = [case.id for case in Pictures(["rocket", "china"], ["zoom_in", "static"]).cases()]
    assert ids == ["rocket-zoom_in", "rocket-static", "china-zoom_in", "china-static"]


def test_all_mistakes_at_once_with_close_matches() -> None:
    dataset = Pictures(["astronot", "rocket", "rocket"], ["pan_lef", "fly"])
    wrong = [(problem.where, problem.given, problem.fix) for problem in dataset.problems()]
    assert wrong == [
        ("dataset.pictures", "astronot", "did you mean `astronaut`?"),
        ("dataset.pictures", "rocket", "remove one"),
        ("dataset.moves", "pan_lef", "did you mean `pan_left`?"),
        ("dataset.moves", "fly", ""),
    ]
    with pytest.raises(UserError, match="4 problems"):
        list(dataset.cases())


def test_empty_lists_are_mistakes() -> None:
    assert [problem.wrong for problem in Pictures([], []).problems()] == ["is empty", "is empty"]


def test_a_picture_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Picture("no_such_package", "no-such-dist", "data/x.png", "nothing")
    monkeypatch.setitem(PICTURES, "rocket", gone)
    assert locate(gone) is None
    (problem,) = Pictures().problems()
    assert "`rocket`" in problem.wrong
    assert problem.fix == "pip install no-such-dist"
    assert not list(Pictures(["china"]).problems())
