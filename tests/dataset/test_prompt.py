"""benchmark.dataset.prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.dataset import Dataset
from benchmark.dataset.prompt import Prompt
from benchmark.errors import UserError


def test_a_prompt_alone() -> None:
    (case,) = Prompt("a cat, at night").cases()
    assert isinstance(Prompt(), Dataset)
    assert (case.id, case.prompt, case.category, case.inputs, case.fields) == (
        "a_cat_at_night",
        "a cat, at night",
        "",
        {},
        {},
    )


def test_files_and_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Tom 1.jpg", "clip.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (case,) = Prompt("", Path("Tom 1.jpg"), video=Path("clip.mp4"), fields={"move": "roll"}, category="pets").cases()
    assert case.inputs == {"image": str(tmp_path / "Tom 1.jpg"), "video": str(tmp_path / "clip.mp4")}
    assert (case.id, case.category, case.fields) == ("Tom_1", "pets", {"move": "roll"})


@pytest.mark.parametrize(("prompt", "name"), [("!!!", "prompt"), ("猫,夜", "猫_夜")])
def test_any_prompt_gives_an_id(prompt: str, name: str) -> None:
    assert next(Prompt(prompt).cases()).id == name


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    dataset = Prompt("cat", image=tmp_path / "cat.jpeg", reference=tmp_path / "no" / "x.png", id="a/b", category="../x")
    with pytest.raises(UserError) as caught:
        list(dataset.cases())
    assert [problem.where for problem in caught.value.problems] == [
        "dataset.image", "dataset.reference", "dataset.id", "dataset.category",
    ]  # fmt: skip
    assert "did you mean `cat.jpg`?" in caught.value.problems[0].fix
    (problem,) = Prompt().problems()
    assert problem.where == "dataset.prompt" and "is empty" in problem.wrong


def test_from_the_command_line(lab: Any, capfd: Callable[..., Any]) -> None:
    (lab.folder / "pictures").mkdir()
    lab.picture("cat.png", 90, root="pictures")
    words = [
        "dataset=prompt",
        "dataset.prompt=a cat, at night",
        "dataset.image=pictures/cat.png",
        "model=echo",
        "metrics=[]",
        "mode=infer",
    ]
    said = lab.bare("--config-dir", "conf", "plugins=[lab]", "debug=true", *words)
    assert said.code == 0, said
    (record,) = (lab.folder / "outputs").rglob("predictions.jsonl")
    assert "a cat, at night" in record.read_text()
