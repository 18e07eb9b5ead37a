"""benchmark.dataset.prompt_file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.dataset import Dataset, Excluding
from benchmark.dataset.prompt_file import PromptFile
from benchmark.errors import Problem, UserError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, content: str | bytes, **arguments: Any) -> dict[str, str]:
    return {case.id: case.prompt for case in PromptFile(write(path, content), **arguments).cases()}


def refused(dataset: PromptFile) -> list[Problem]:
    with pytest.raises(UserError) as caught:
        list(dataset.cases())
    return caught.value.problems


def test_it_satisfies_the_protocols() -> None:
    assert isinstance(PromptFile(), Dataset) and isinstance(PromptFile(), Excluding)


def test_a_prompt_a_line_named_by_its_line(tmp_path: Path) -> None:
    text = 'a cat, "at night"\n\n   \n  two spaces kept \nlast, without line end'
    assert read(tmp_path / "p.txt", text) == {
        "000001": 'a cat, "at night"',
        "000004": "  two spaces kept ",
        "000005": "last, without line end",
    }
    before = read(tmp_path / "p.txt", text)
    assert read(tmp_path / "p.txt", text + "\none more").items() > before.items()


def test_windows_line_ends_a_byte_order_mark_and_separators_of_unicode(tmp_path: Path) -> None:
    text = "\ufeff猫\r\na\u2028b\x0bc\r\n".encode()
    assert read(tmp_path / "p.txt", text) == {"000001": "猫", "000002": "a\u2028b\x0bc"}


def test_json_lines_are_texts_or_objects(tmp_path: Path) -> None:
    text = '\ufeff"a cat"\n{"prompt": "a dog", "id": "dog", "category": "pets", "seconds": 4, "tags": ["x", {"y": null}]}\n'
    cat, dog = PromptFile(write(tmp_path / "p.jsonl", text), category="other", fields={"seconds": 1}).cases()
    assert (cat.id, cat.prompt, cat.category, cat.fields) == ("000001", "a cat", "other", {"seconds": 1})
    assert (dog.id, dog.prompt, dog.category) == ("dog", "a dog", "pets")
    assert dog.fields == {"seconds": 4, "tags": ["x", {"y": None}]}


def test_csv_with_quotes_commas_and_lines_in_its_cells(tmp_path: Path) -> None:
    text = 'prompt,move\r\n"a cat, ""at"" night",\r\n"two\r\nlines",roll\r\n,,\r\n\r\nplain 12" vinyl,zoom\r\n'
    cases = list(PromptFile(write(tmp_path / "p.csv", text.replace(",,", ","))).cases())
    assert [(case.id, case.prompt, case.fields) for case in cases] == [
        ("000002", 'a cat, "at" night', {}),
        ("000003", "two\r\nlines", {"move": "roll"}),
        ("000007", 'plain 12" vinyl', {"move": "zoom"}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_parted_as_its_header_is(tmp_path: Path, delimiter: str) -> None:
    assert read(tmp_path / "p.csv", f"id{delimiter}prompt\nx{delimiter}a cat\n") == {"x": "a cat"}


def test_a_column_of_another_name(tmp_path: Path) -> None:
    columns: dict[str, str | None] = {"prompt": "caption"}
    assert read(tmp_path / "p.csv", "\ufeffcaption,prompt\na cat,unused\n", columns=columns) == {"000002": "a cat"}


@pytest.mark.parametrize("name", ["p.txt", "p.jsonl", "p.csv"])
def test_wrong_encoding_is_one_problem(tmp_path: Path, name: str) -> None:
    lines = {"p.txt": "雨中的东京", "p.jsonl": '{"prompt": "雨中的东京"}', "p.csv": "雨中的东京"}
    content = "prompt\n" * (name == "p.csv") + "\n".join([lines[name]] * 50)
    (problem,) = refused(PromptFile(write(tmp_path / name, content.encode("gb18030"))))
    assert problem.where.startswith(f"{name} line ") and "not UTF-8" in problem.wrong and "iconv" in problem.fix
    assert "50 bad rows of 50" in problem.fix
    (problem,) = refused(PromptFile(write(tmp_path / name, content.encode("utf-16"))))
    assert "UTF-16" in problem.wrong


def test_one_line_in_another_encoding_can_be_left_out(tmp_path: Path) -> None:
    dataset = PromptFile(write(tmp_path / "p.txt", b"good\n\xff\xfe bad\ngood too\n"), skip_bad=True)
    assert [case.prompt for case in dataset.cases()] == ["good", "good too"]
    assert dataset.excluded.count == 1 and dataset.excluded.listed[0].where == "p.txt line 2"


def test_several_files_have_their_name_in_the_ids(tmp_path: Path) -> None:
    for n in (10, 9):
        write(tmp_path / f"part{n}.txt", f"from {n}\n")
    expected = [("part9-000001", "from 9"), ("part10-000001", "from 10")]
    for path in (tmp_path, tmp_path / "part*.txt"):
        assert [(case.id, case.prompt) for case in PromptFile(path).cases()] == expected


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "is not given"),
        ("promts.txt", "did you mean `prompts.txt`?"),
        ("no/p.txt", "not even a folder"),
        ("*.csv", "1 .txt"),
    ],
)
def test_a_path_that_leads_nowhere(tmp_path: Path, path: str | None, said: str) -> None:
    write(tmp_path / "prompts.txt", "a cat")
    dataset = PromptFile(tmp_path / path if path else None)
    (problem,) = dataset.problems()
    assert problem.where == "dataset.path"
    assert said in str(problem) or path == "*.csv"
    assert refused(dataset) == [problem]


def test_a_file_that_can_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.txt", "a cat")

    def deny(self: Path, *arguments: Any, **named: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    (problem,) = refused(PromptFile(path))
    assert problem.wrong == "can't be read: Permission denied"


def test_from_the_command_line(lab: Any) -> None:
    write(lab.folder / "prompts.csv", "caption,camera\na cat,roll\na dog,zoom_in\n")
    words = [
        "dataset=prompt_file",
        "dataset.path=prompts.csv",
        "model=echo",
        "metrics=[]",
        "mode=infer",
        "dataset.columns.prompt=caption",
    ]
    said = lab.bare("--config-dir", "conf", "plugins=[lab]", "debug=true", "dataset.columns.move=camera", *words)
    assert said.code == 0, said
    (cases,) = (lab.folder / "outputs").rglob("cases.jsonl")
    assert '"prompt":"a dog","fields":{"move":"zoom_in"}' in cases.read_text()
