"""What is found at a path, and what the model makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import Problem, UserError
from benchmark.media import MediaFile
from benchmark.model import Model, Request, Reviewing, Sized
from benchmark.model.existing.precomputed import Precomputed
from benchmark.records import Case


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def lines(file: Path, *rows: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return file


def cases(*ids: str, **more: Any) -> list[Case]:
    return [Case(id=id, prompt=f"a {id}", **more) for id in ids]


def ask(model: Precomputed, case: Case, sample: int = 0) -> Any:
    model.load("cpu")
    (answer,) = model.generate([Request(case, sample, case.prompt, "", 0)])
    return answer


def names(model: Precomputed) -> list[str]:
    return [model.source.name(index) for index in range(len(model.source))]


def said(model: Precomputed, wanted: Iterable[Case], samples: int = 1) -> tuple[list[Problem], str]:
    """Return the problems, and the notes as one text."""
    found = list(model.review(wanted, samples))
    problems = [each for each in found if isinstance(each, Problem)]
    return problems, "\n".join(each for each in found if isinstance(each, str))


def wrong(model: Precomputed) -> str:
    return "\n".join(map(str, model.problems()))


def test_it_is_a_model_that_needs_and_writes_nothing(tmp_path: Path) -> None:
    model = Precomputed(touch(tmp_path, "a.mp4"))
    assert isinstance(model, Model) and isinstance(model, Sized) and isinstance(model, Reviewing)
    assert (model.output, model.needs, model.output_mb()) == ("video", (), 0.0)


def test_a_folder_with_all_below_it_without_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "x/a.MP4", "x/y/c.webm", ".b.mp4", "._b.mp4", ".cache/d.mp4", "notes.md", "b.txt")
    model = Precomputed(tmp_path)
    assert names(model) == ["b.mp4", "x/a.MP4", "x/y/c.webm"]
    assert wrong(model) == ""


def test_a_glob_is_relative_to_its_fixed_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "runs/1/clips/a.mp4", "runs/2/clips/deep/b.mp4", "runs/2/thumbs/b.mp4", "runs/3/clips")
    monkeypatch.chdir(tmp_path)
    assert names(Precomputed(Path("runs/*/clips"))) == ["1/clips/a.mp4", "2/clips/deep/b.mp4"]
    assert names(Precomputed(Path("runs/**/b.mp4"))) == ["2/clips/deep/b.mp4", "2/thumbs/b.mp4"]
    assert names(Precomputed(tmp_path / "runs" / "[12]" / "*")) == [
        "1/clips/a.mp4", "2/clips/deep/b.mp4", "2/thumbs/b.mp4"]  # fmt: skip
    assert "nothing matches the glob" in wrong(Precomputed(Path("runs/*/clibs")))


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "clips [v2]*/a.mp4")
    assert names(Precomputed(tmp_path / "clips [v2]*")) == ["a.mp4"]


def test_one_file_is_enough(tmp_path: Path) -> None:
    assert names(Precomputed(touch(tmp_path, "a.mp4", "b.mp4") / "a.mp4")) == ["a.mp4"]


def test_links_are_followed_once_and_loops_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "clips/1/a.mp4", "far/b.mp4")
    (tmp_path / "clips/latest").symlink_to("1")
    (tmp_path / "clips/1/up").symlink_to("..")
    (tmp_path / "clips/top").symlink_to(tmp_path)
    (tmp_path / "clips/far").symlink_to(tmp_path / "far")
    (tmp_path / "clips/far2").symlink_to(tmp_path / "far")
    (tmp_path / "far/back").symlink_to(tmp_path / "clips")
    (tmp_path / "clips/c.mp4").symlink_to(tmp_path / "far/b.mp4")
    found = names(Precomputed(tmp_path / "clips"))
    assert found[:1] + found[1:2] == ["1/a.mp4", "c.mp4"]
    assert [name.partition("/")[2] for name in found[2:]] == ["b.mp4"]


@pytest.mark.parametrize(
    ("files", "kind", "found"),
    [
        (["c/000.png", "c/001.png", "c/meta.txt"], "auto", ("video", ["c"])),
        (["c/frames/frame_1.png", "c/frames/frame_2.png"], "auto", ("video", ["c/frames"])),
        (["c/000.png", "c/001.png"], "image", ("image", ["c/000.png", "c/001.png"])),
        (["c/000.png", "c/002.png"], "auto", ("image", ["c/000.png", "c/002.png"])),
        (["c/000.png", "c/002.png"], "video", ("video", ["c"])),
        (["c/000.png"], "auto", ("image", ["c/000.png"])),
        (["c/000.png"], "video", ("video", ["c"])),
        (["c/cat1.png", "c/cat2.png"], "auto", ("image", ["c/cat1.png", "c/cat2.png"])),
        (["000.png", "001.png"], "auto", ("image", ["000.png", "001.png"])),
        (["a.gif"], "auto", ("video", ["a.gif"])),
        (["a.gif"], "image", ("image", ["a.gif"])),
        (["a.mp4", "a.png", "a.txt"], "video", ("video", ["a.mp4"])),
        (["a.mp4", "a.png", "a.txt"], "image", ("image", ["a.png"])),
        (["a.mp4", "a.png", "a.txt"], "text", ("text", ["a.txt"])),
        (["a.mp4", "a.txt"], "auto", ("video", ["a.mp4"])),
        (["a.txt", "b.txt"], "auto", ("text", ["a.txt", "b.txt"])),
        (["v1.5", "v1.5.mp4"], "auto", ("video", ["v1.5.mp4"])),
    ],
)
def test_kinds(tmp_path: Path, files: list[str], kind: Any, found: tuple[str, list[str]]) -> None:
    model = Precomputed(touch(tmp_path, *files), kind=kind)
    assert (model.output, names(model)) == found


def test_mixed_kinds_want_a_word(tmp_path: Path) -> None:
    text = wrong(Precomputed(touch(tmp_path, "a.mp4", "b.mp4", "a.png")))
    assert "2 of kind video and 1 of kind image" in text
    assert "model.kind=video or model.kind=image" in text


def test_what_can_not_be_found_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "clips/notes.md", "empty.jsonl", "a.mp4")
    assert "is not given" in wrong(Precomputed())
    assert "did you mean `clips`?" in wrong(Precomputed(tmp_path / "clibs"))
    assert "1 .md" in wrong(Precomputed(tmp_path / "clips"))
    assert "holds no pictures" in wrong(Precomputed(tmp_path / "a.mp4", kind="image"))
    assert "lists no output" in wrong(Precomputed(tmp_path / "empty.jsonl"))
    assert "is not given" in wrong(Precomputed(tmp_path, match="pattern"))
    assert "match=id" in wrong(Precomputed(tmp_path, match="id", pattern="{id}.mp4"))
    for model in (Precomputed(), Precomputed(tmp_path / "clibs")):
        assert list(model.review(cases("a"), 1)) == [], "its problems say it"
        with pytest.raises(UserError):
            model.load("cpu")


def test_a_locked_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", locked)
    assert f"can't be read: Permission denied\n     given: {tmp_path}" in wrong(Precomputed(tmp_path))


def test_files_are_answered_where_they_lie(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b-1.mp4")
    model = Precomputed(tmp_path)
    a, b = cases("a", "b")
    assert ask(model, a) == MediaFile(tmp_path / "a.mp4", in_place=True)
    assert ask(model, b, 1) == MediaFile(tmp_path / "b-1.mp4", in_place=True)
    missing = ask(model, b, 0)
    assert isinstance(missing, FileNotFoundError)
    assert "`b`" in str(missing) and "`a b-0`" in str(missing)


def test_texts_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Grüße\n", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    model = Precomputed(tmp_path)
    a, b = cases("a", "b")
    assert ask(model, a) == "Grüße\n"
    assert isinstance(ask(model, b), UnicodeDecodeError)


def test_several_candidates_are_no_answer(tmp_path: Path) -> None:
    model = Precomputed(touch(tmp_path, "a.mp4", "a.webm"))
    answer = ask(model, cases("a")[0])
    assert isinstance(answer, ValueError) and "a.mp4, a.webm" in str(answer)
    problems, _ = said(model, cases("a"))
    assert "a.mp4, a.webm" in str(problems[0])


def test_a_name_that_no_record_can_hold_fails_alone(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"caf\xe9/a.mp4"))
    assert isinstance(ask(Precomputed(tmp_path), cases("a")[0]), UnicodeEncodeError)


def test_auto_takes_the_id_before_the_prompt_for_each_case(tmp_path: Path) -> None:
    model = Precomputed(touch(tmp_path, "a.mp4", "a a-0.mp4", "a b-0.mp4"))
    a, b = cases("a", "b")
    assert ask(model, a).path.name == "a.mp4"
    assert ask(model, b).path.name == "a b-0.mp4"
    problems, notes = said(model, [a, b])
    assert not problems
    assert "2 of 2 outputs found" in notes
    assert "1 by id, 1 by VBench's" in notes
    assert "1 of 3 outputs match no case: a a-0.mp4" in notes
    assert ask(Precomputed(tmp_path, match="vbench"), a).path.name == "a a-0.mp4"
    assert isinstance(ask(Precomputed(tmp_path, match="id"), b), FileNotFoundError)


def test_a_case_made_of_a_file_whose_name_can_be_no_id_is_that_file(tmp_path: Path) -> None:
    quoted = touch(tmp_path, 'a "quoted" name.mp4', "b.mp4") / 'a "quoted" name.mp4'
    case = Case(id="a_quoted_name-0a1b2c3d", inputs={"video": str(quoted)})
    assert ask(Precomputed(tmp_path), case).path == quoted
    assert isinstance(ask(Precomputed(tmp_path), case, 1), FileNotFoundError)
    assert isinstance(ask(Precomputed(tmp_path, match="id"), case), FileNotFoundError)
    assert "1 of 1 outputs found" in (notes := said(Precomputed(tmp_path), [case])[1]) and "own input" in notes


def test_missing_and_left_over_are_counted_and_the_first_few_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"c{i:03d}.mp4" for i in range(100)), "C-150.mp4")
    problems, notes = said(Precomputed(tmp_path), cases(*(f"c{i:03d}" for i in range(50, 200))))
    assert not problems
    assert "50 of 150 outputs found" in notes
    assert "100 of 150 outputs not found: c100, c101, c102, c103, c104, and 95 more" in notes
    assert "51 of 101 outputs match no case: C-150.mp4, c000.mp4, c001.mp4, c002.mp4, c003.mp4, and 46 more" in notes
    _, notes = said(Precomputed(tmp_path), cases("c000", "c150"))
    assert "c150 (is it `C-150.mp4`?)" in notes


def test_nothing_that_matches_is_refused_with_a_way_on(tmp_path: Path) -> None:
    touch(tmp_path, *(f"out/{i}_clip{i}_final.mp4" for i in range(9)))
    (problem,), notes = said(Precomputed(tmp_path), cases("clip0", "clip1"))
    assert notes == ""
    assert "none of its 9 outputs is that of a case: out/0_clip0_final.mp4" in str(problem)
    assert "`clip0` or `a clip0-0`" in str(problem)
    assert "model.pattern=" in str(problem)
    (problem,), _ = said(Precomputed(tmp_path), cases("clip0-final"))
    assert "did you mean `out/0_clip0_final.mp4`?" in str(problem)


def test_further_samples_are_pointed_out(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a {id}-{sample}.mp4" for id in ("x", "y") for sample in range(5)))
    assert "samples=5 scores them all" in said(Precomputed(tmp_path), cases("x", "y"))[1]
    assert "samples=" not in said(Precomputed(tmp_path), cases("x", "y"), samples=5)[1]
    touch(tmp_path / "of", "c.mp4", "c-1.mp4", "c-2.mp4")
    assert "samples=" not in said(Precomputed(tmp_path / "of"), cases("c", "c-1", "c-2"))[1], "these are other cases"


def test_a_second_name_is_ambiguous_unless_it_is_another_case(tmp_path: Path) -> None:
    model = Precomputed(touch(tmp_path, "a.mp4", "a-0.mp4"))
    (problem,), _ = said(model, cases("a"))
    assert "a.mp4, a-0.mp4" in str(problem)
    problems, notes = said(model, cases("a", "a-0"))
    assert not problems
    assert "2 of 2" in notes
    assert ask(model, cases("a")[0]).path.name == "a.mp4"


def test_many_ambiguities_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, *(f"c{i}.{suffix}" for i in range(9) for suffix in ("mp4", "mov")))
    problems, _ = said(Precomputed(tmp_path), cases(*(f"c{i}" for i in range(9))))
    assert len(problems) == 6
    assert "4 more cases" in str(problems[-1])


def test_a_file_of_several_cases_is_told_and_scored(tmp_path: Path) -> None:
    twice = [Case(id="one", prompt="the same"), Case(id="two", prompt="the same")]
    problems, notes = said(Precomputed(touch(tmp_path, "the same-0.mp4")), twice)
    assert not problems
    assert "the same-0.mp4 is the output of several cases: one, two" in notes


def test_a_pattern_without_sample_is_refused_for_several(tmp_path: Path) -> None:
    model = Precomputed(touch(tmp_path, "a.mp4"), pattern="{id}.mp4")
    assert not said(model, cases("a"))[0]
    assert "{sample}" in str(said(model, cases("a"), samples=2)[0])


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/000.png", "a/001.png", "a.txt", "cover.jpg")
    notes = said(Precomputed(tmp_path, kind="video"), cases("a"))[1]
    assert "folders of numbered PNGs taken as clips: 1" in notes
    assert "files of other kinds than video, passed over: 1" in notes


def test_rows_of_texts(tmp_path: Path) -> None:
    file = lines(
        tmp_path / "answers.jsonl",
        {"id": "a", "text": "first\nline"},
        "",
        {"case_id": "a", "sample": 1, "text": "zweite Größe"},
        {"id": 7, "text": ""},
    )
    model = Precomputed(file)
    a, seven, b = cases("a", "7", "b")
    assert (model.output, wrong(model)) == ("text", "")
    assert [ask(model, a), ask(model, a, 1), ask(model, seven)] == ["first\nline", "zweite Größe", ""]
    assert isinstance(ask(model, b), FileNotFoundError)
    notes = said(model, [a, b])[1]
    assert "1 of 2 outputs found" in notes and "by the id in its row" in notes
    assert "1 of 2 outputs not found: b" in notes
    assert "2 of 3 outputs match no case: line 3, line 4" in notes


def test_rows_of_files_are_relative_to_the_list(tmp_path: Path) -> None:
    touch(tmp_path, "lists/clips/a.mp4", "far/b.mp4", "lists/c/000.png")
    file = lines(
        tmp_path / "lists" / "clips.jsonl",
        {"id": "a", "file": "clips/a.mp4"},
        {"id": "b", "video": str(tmp_path / "far/b.mp4")},
        {"id": "c", "frames": "c"},
        {"id": "d", "path": "clips/d.mp4"},
    )
    model = Precomputed(file)
    a, b, c, d = cases("a", "b", "c", "d")
    assert model.output == "video"
    assert [ask(model, case).path for case in (a, b, c)] == [
        tmp_path / "lists/clips/a.mp4", tmp_path / "far/b.mp4", tmp_path / "lists/c"]  # fmt: skip
    notes = said(model, [a, b, c, d])[1]
    assert "3 of 4 outputs found" in notes
    assert "1 of 4 outputs not found: d" in notes
    assert "match no case" not in notes


def test_the_predictions_of_a_run_are_a_list(tmp_path: Path) -> None:
    record = {"record": "prediction/1", "sample": 0, "status": "ok", "text": None}
    file = lines(
        tmp_path / "run" / "predictions" / "wan" / "predictions.jsonl",
        {**record, "case_id": "a", "files": {"video": "predictions/wan/a.mp4", "frames": "predictions/wan/a/frames"}},
        {**record, "case_id": "b", "files": {"video": str(tmp_path / "b.mp4")}},
        {**record, "case_id": "c", "status": "failed", "files": {}},
    )
    model = Precomputed(file)
    a, b, c = cases("a", "b", "c")
    assert ask(model, a).path == tmp_path / "run/predictions/wan/a/frames"
    assert ask(model, b).path == tmp_path / "b.mp4"
    assert isinstance(ask(model, c), FileNotFoundError)


def test_all_bad_rows_are_told_with_their_lines(tmp_path: Path) -> None:
    file = lines(
        tmp_path / "rows.jsonl",
        {"id": "a", "text": "x"},
        "{",
        [1],
        {"text": "x"},
        {"id": "b", "answer": "x"},
        {"id": "c", "sample": -1, "text": "x"},
        {"id": "a", "text": "y"},
        {"id": "d", "file": "d.mp4"},
    )
    text = wrong(Precomputed(file))
    for n, what in {
        2: "no JSON",
        3: "no JSON object",
        4: "names no case",
        5: "id, answer",
        6: "-1",
        7: "second",
    }.items():
        assert f"line {n}: " in text and what in text, (n, text)
    assert "1 of kind text and 1 of kind video" in text
    many = lines(tmp_path / "many.jsonl", *(["{"] * 30))
    assert "20 more such rows" in wrong(Precomputed(many))
    assert "of kind text" in wrong(Precomputed(lines(tmp_path / "t.jsonl", {"id": "a", "text": "x"}), kind="video"))
    for settings in ({"match": "vbench"}, {"pattern": "{id}"}):
        assert "names its case" in wrong(Precomputed(lines(tmp_path / "t.jsonl", {"id": "a", "text": "x"}), **settings))


def test_each_folder_is_read_once_however_many_cases_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{folder}/c{folder}{i:02d}.mp4" for folder in range(10) for i in range(50)))
    read: list[str] = []
    scandir = os.scandir

    def noted(path: str) -> Any:
        read.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    model = Precomputed(tmp_path)
    assert wrong(model) == "" and model.output == "video"
    wanted = cases(*(f"c{folder}{i:02d}" for folder in range(10) for i in range(60)))
    assert "500 of 600 outputs found" in said(model, wanted)[1]
    assert all(isinstance(ask(model, case), MediaFile) for case in wanted[:50])
    assert sorted(read) == [str(tmp_path), *(str(tmp_path / str(folder)) for folder in range(10))]


def test_a_file_that_comes_late_is_found_by_the_same_command_however_often_it_was_missed(lab: Any) -> None:
    (lab.folder / "outs").mkdir()
    for i in range(11):
        (lab.folder / "outs" / f"c{i:02d}.txt").write_text("words")
    words = ("model=precomputed", "model.path=outs", "debug=true", "name=late")
    for _ in range(5):
        said = lab(*words)
        assert said.code == 1 and "--redo-failed" not in said.out
    (lab.folder / "outs" / "c11.txt").write_text("at last")
    assert lab(*words).code == 0
    assert len(lab.runs("late")) == 1
