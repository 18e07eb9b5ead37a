"""benchmark.dataset.folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.dataset import Dataset, Excluding
from benchmark.dataset.folder import Folder, id_of
from benchmark.errors import Problem, UserError
from benchmark.names import unsafe_id


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name in (
        "cats/tom_10.png",
        "cats/tom_9.PNG",
        "cats/deep/a-b.mp4",
        "top.jpg",
        "cats/notes.md",
        ".hidden/x.png",
        "cats/.x.png",
    ):
        path = tmp_path / "media" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "media" / "top.txt").write_text("\ufeffthe top, at night\n", encoding="utf-8")
    return tmp_path / "media"


def refused(dataset: Folder) -> list[Problem]:
    with pytest.raises(UserError) as caught:
        list(dataset.cases())
    return caught.value.problems


def test_pictures_and_clips_with_their_subfolder_as_category(media: Path) -> None:
    dataset = Folder(media, fields={"move": "roll"})
    assert isinstance(dataset, Dataset) and isinstance(dataset, Excluding)
    found = list(dataset.cases())
    assert [(case.id, case.category, case.prompt, list(case.inputs)) for case in found] == [
        ("cats-deep-a-b", "cats/deep", "a b", ["video"]),
        ("cats-tom_9", "cats", "tom 9", ["image"]),
        ("cats-tom_10", "cats", "tom 10", ["image"]),
        ("top", "", "the top, at night", ["image"]),
    ]
    assert found[1].inputs["image"] == str(media / "cats" / "tom_9.PNG") and found[1].fields == {"move": "roll"}
    assert list(dataset.review([], 1)) == ["dataset.path: 1 .md passed over, neither pictures nor clips"]


def test_more_files_change_no_id(media: Path) -> None:
    before = {case.inputs.get("image"): case.id for case in Folder(media, kind="image").cases()}
    (media / "dogs").mkdir()
    for name in ("dogs/tom_9.png", "aaa.png"):
        (media / name).write_bytes(b"x")
    after = {case.inputs.get("image"): case.id for case in Folder(media, kind="image").cases()}
    assert before.items() < after.items() and len(set(after.values())) == len(after) == 5


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ({"kind": "video"}, ["cats-deep-a-b"]),
        ({"kind": "image", "pattern": "*"}, ["top"]),
        ({"pattern": "cats/*.png"}, ["cats-tom_10"]),
    ],
)
def test_which_files(media: Path, arguments: dict[str, str], ids: list[str]) -> None:
    assert [case.id for case in Folder(media, **arguments).cases()] == ids  # type: ignore[arg-type]


def test_prompts(media: Path) -> None:
    (media / "top.txt").write_text("a sidecar")
    assert [case.prompt for case in Folder(media, pattern="*", prompts="name").cases()] == ["top"]
    assert [case.prompt for case in Folder(media, pattern="*", prompts="none").cases()] == [""]
    assert [case.prompt for case in Folder(media, pattern="*", prompts="sidecar").cases()] == ["a sidecar"]
    problems = refused(Folder(media, prompts="sidecar"))
    assert [problem.where for problem in problems] == ["cats/deep/a-b.mp4", "cats/tom_9.PNG", "cats/tom_10.png"]
    assert "3 bad rows of 4: dataset.skip_bad=true" in problems[0].fix


def test_a_parallel_folder_of_references(media: Path, tmp_path: Path) -> None:
    for name in ("cats/tom_9.mp4", "cats/tom_10.png", "top.webp"):
        path = tmp_path / "originals" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (problem,) = refused(Folder(media, reference=tmp_path / "originals"))
    assert problem.where == "cats/deep/a-b.mp4" and problem.wrong == "has no reference"
    found = list(Folder(media, kind="image", reference=tmp_path / "originals").cases())
    assert [Path(case.inputs["reference"]).name for case in found] == ["tom_9.mp4", "tom_10.png", "top.webp"]


def test_files_that_can_be_no_case_are_listed_or_left_out(media: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(media / "good.png")
    (media / "zero.png").touch()
    (media / "top.png").write_bytes(b"x")
    (media / 'quo"te').mkdir()
    (media / 'quo"te' / "x.png").write_bytes(b"x")
    problems = refused(Folder(media, kind="image"))
    assert [(problem.where, problem.wrong) for problem in problems] == [
        ('quo"te/x.png', "its category holds a control character, a backslash or a double quote"),
        ("top.png", "has the id of top.jpg"),
        ("zero.png", "is empty"),
    ]
    dataset = Folder(media, kind="image", skip_bad=True)
    assert [case.id for case in dataset.cases()] == ["good"], "the others of one byte don't open"
    assert dataset.excluded.count == 6


@pytest.mark.parametrize(
    "name", ["a/b c.png", "物理/猫.png", 'a"b.png', "x" * 250 + ".png", "a\nb.png", "§.png", os.fsdecode(b"\xff.png")]
)
def test_every_name_gives_an_id_that_can_name_a_file(name: str) -> None:
    assert not unsafe_id(id_of(Path(name)))


def test_names_that_become_alike_stay_apart() -> None:
    assert len({id_of(Path(name)) for name in ('a"b.png', "a\\b.png", "a\nb.png")}) == 3


def test_links_to_folders_are_followed(media: Path, tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "pets").symlink_to(media / "cats")
    assert [case.category for case in Folder(tmp_path / "view", kind="image").cases()] == ["pets", "pets"]


def test_a_folder_without_pictures_says_what_is_there(media: Path) -> None:
    (problem,) = refused(Folder(media, pattern="cats/*.md"))
    assert problem.where == "dataset.path" and "but 1 .md" in problem.wrong
    assert ".png" in problem.allowed


def test_folders_that_are_not_there(media: Path) -> None:
    (problem,) = refused(Folder())
    assert problem.wrong == "is not given"
    problems = refused(Folder(media.parent / "medai", reference=media / "top.jpg"))
    assert [(problem.where, problem.wrong) for problem in problems] == [
        ("dataset.path", "no such file or folder"),
        ("dataset.reference", "is a file, not a folder"),
    ]
    assert problems[0].fix == "did you mean `media`?"
