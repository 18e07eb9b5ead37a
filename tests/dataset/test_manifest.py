"""benchmark.dataset.manifest, and the modules by which it reads tables: rows, tables, parquet, inputs."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmark.dataset import Dataset, Excluding
from benchmark.dataset.manifest import Manifest
from benchmark.errors import Problem, UserError
from benchmark.records import Case, decode, encode


def png(shade: int = 120) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 10, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def parquet(path: Path, columns: dict[str, Any], **arguments: Any) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), path, **arguments)
    return path


def cases(path: Path, **arguments: Any) -> list[Case]:
    return list(Manifest(path, **arguments).cases())


def refused(dataset: Manifest) -> list[Problem]:
    with pytest.raises(UserError) as caught:
        list(dataset.cases())
    return caught.value.problems


ROWS = [
    {"id": "a", "category": "red", "prompt": "one", "n": 1},
    {"id": "7", "category": "2", "prompt": "two", "n": 2},
    {"id": "c", "category": "red", "prompt": "three", "n": 3},
]


def as_jsonl(folder: Path) -> Path:
    return jsonl(folder / "m.jsonl", [{**ROWS[0]}, {**ROWS[1], "id": 7, "category": 2}, {**ROWS[2]}])


def as_json(folder: Path) -> Path:
    (folder / "m.json").write_text(json.dumps(ROWS))
    return folder / "m.json"


def as_json_map(folder: Path) -> Path:
    (folder / "m.json").write_text(json.dumps({row["id"]: {k: v for k, v in row.items() if k != "id"} for row in ROWS}))
    return folder / "m.json"


def as_csv(folder: Path) -> Path:
    lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
    (folder / "m.csv").write_text("\n".join(lines))
    return folder / "m.csv"


def as_parquet(folder: Path) -> Path:
    return parquet(folder / "m.parquet", {name: [row[name] for row in ROWS] for name in ROWS[0]})


@pytest.mark.parametrize("write", [as_jsonl, as_json, as_json_map, as_csv, as_parquet])
def test_all_formats_give_the_same_cases(write: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = Manifest(write(tmp_path))
    assert isinstance(dataset, Dataset) and isinstance(dataset, Excluding)
    found = list(dataset.cases())
    n = str if write is as_csv else int  # a table of texts
    expected = [{**row, "fields": {"n": n(row["n"])}} for row in ROWS]
    assert [
        {"id": c.id, "category": c.category, "prompt": c.prompt, "n": int(c.fields["n"]), "fields": c.fields}
        for c in found
    ] == expected
    assert found == list(dataset.cases()) and dataset.excluded.count == 0


def test_the_key_of_a_map_is_the_id_and_its_own_id_may_be_an_input(tmp_path: Path) -> None:
    (tmp_path / "animal").mkdir()
    (tmp_path / "animal" / "1.jpg").write_bytes(b"x")
    (tmp_path / "m.json").write_text('{"1082": {"id": "animal/1.jpg", "edit_type": "add", "prompt": "add a hat"}}')
    (case,) = cases(tmp_path / "m.json", columns={"image": "id", "category": "edit_type"})
    assert (case.id, case.category, case.inputs) == ("1082", "add", {"image": str(tmp_path / "animal" / "1.jpg")})


def test_columns_keep_fields_and_paths(tmp_path: Path) -> None:
    for name in ("in.png", "ref.mp4"):
        (tmp_path / name).write_bytes(b"x")
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    row = {
        "key": 3.0,
        "kind": True,
        "text": "cat",
        "src": "../in.png",
        "gt": str(tmp_path / "ref.mp4"),
        "camera": "roll",
    }
    path = jsonl(elsewhere / "m.jsonl", [{**row, "id": "mine", "extra": None, "seconds": 5, "empty": ""}])
    columns = {"id": "key", "category": None, "prompt": "text", "image": "src", "reference": "gt", "move": "camera"}
    (case,) = cases(path, columns=columns, fields={"seconds": 1, "lens": "wide"})
    assert case.id == "3" and case.prompt == "cat" and case.category == ""
    assert case.inputs == {"image": str(tmp_path / "in.png"), "reference": str(tmp_path / "ref.mp4")}
    assert case.fields == {"kind": True, "id": "mine", "move": "roll", "seconds": 5, "lens": "wide"}
    assert cases(path, columns=columns, keep=["kind"])[0].fields == {"kind": True, "move": "roll"}
    jsonl(path, [{"prompt": "x", "image": "in.png"}])
    assert cases(path, root=tmp_path)[0].inputs == {"image": str(tmp_path / "in.png")}


def test_bad_rows_are_one_list_of_row_field_and_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(png())
    rows = [
        {"id": "ok", "prompt": "fine", "image": "cat.png"},
        "{'id': 'single quotes'}",
        [1, 2],
        {"id": "none", "seconds": 3},
        {"id": "typed", "prompt": ["a", "b"], "category": {"x": 1}, "image": 5},
        {"id": "gone", "prompt": "x", "image": "dog.png"},
        {"id": "web", "prompt": "x", "image": "https://example.org/dog.png"},
        {"id": "b64", "prompt": "x", "image": base64.b64encode(png()).decode()[:90] + "§"},
        {"id": "ok", "prompt": "again"},
        {"id": "a/b", "prompt": "x", "category": "../up"},
        {"id": None, "prompt": "x"},
        {"id": [1], "prompt": "x", "category": True},
        '{"id": "cut", "prom',
    ]
    path = jsonl(tmp_path / "m.jsonl", rows)
    problems = refused(Manifest(path))
    assert [(problem.where.removeprefix("m.jsonl line "), problem.wrong.split(":")[0]) for problem in problems] == [
        ("2", "is no JSON"),
        ("3", "is neither an object nor text"),
        ("4, prompt", "there is neither a prompt nor an input"),
        ("5, category", "must be text or a number"),
        ("5, prompt", "must be text"),
        ("5, image", "must be a path, bytes or base64"),
        ("6, image", "no such file"),
        ("7, image", "is a URL; nothing is downloaded"),
        ("8, image", "is broken base64"),
        ("9, id", "is the id of an earlier row"),
        ("10, id", "holds a slash"),
        ("10, category", "would leave the run folder"),
        ("11, id", "is empty"),
        ("12, id", "must be text or a number"),
        ("13", "is no JSON"),
    ]
    given = {problem.where.partition("line ")[2]: problem.given for problem in problems}
    assert given["2"] == "{'id': 'single quotes'}" and given["4, prompt"] == "id, seconds"
    assert given["5, prompt"] == "['a', 'b']" and given["6, image"] == str(tmp_path / "dog.png")
    assert "the 12 bad rows of 13: dataset.skip_bad=true" in problems[0].fix
    dataset = Manifest(path, skip_bad=True)
    assert [case.id for case in dataset.cases()] == ["ok"]
    assert dataset.excluded.count == 12 and len(dataset.excluded.listed) == 15
    list(dataset.cases())
    assert dataset.excluded.count == 12, "each reading counts anew"


def test_skip_bad_leaves_out_pictures_that_do_not_open(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(png()[:40])
    (tmp_path / "cat.png").write_bytes(png())
    path = jsonl(tmp_path / "m.jsonl", [{"image": "cut.png"}, {"image": "cat.png"}])
    dataset = Manifest(path, skip_bad=True)
    assert [case.id for case in dataset.cases()] == ["000002"]
    assert "is not a picture" in dataset.excluded.listed[0].wrong


def test_no_good_row_is_refused_even_so(tmp_path: Path) -> None:
    (problem, _) = refused(Manifest(jsonl(tmp_path / "m.jsonl", ["{", "}"]), skip_bad=True))
    assert "all 2 rows are bad" in problem.fix


def test_many_bad_rows_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.jsonl", [{"prompt": "x"}, *["?"] * 3000])
    problems = refused(Manifest(path))
    assert len(problems) == 1000 and "the 3000 bad rows of 3001" in problems[0].fix
    dataset = Manifest(path, skip_bad=True)
    assert len(list(dataset.cases())) == 1 and dataset.excluded.count == 3000 and len(dataset.excluded.listed) == 1000


def test_csv_rows_that_are_broken_do_not_take_others_along(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        'id,prompt\na,fine\nb,"not closed\nc,fine too\nd,1,2\ne\nf,"say "hi"\ng,"two\nlines"\nh,"never closed\ni,x\n'
    )
    dataset = Manifest(path, skip_bad=True)
    assert [(case.id, case.prompt) for case in dataset.cases()] == [
        ("a", "fine"), ("c", "fine too"), ("g", "two\nlines"), ("i", "x"),
    ]  # fmt: skip
    assert [problem.where for problem in dataset.excluded.listed] == [f"m.csv line {n}" for n in (3, 5, 6, 7, 10)]
    assert [problem.wrong for problem in dataset.excluded.listed][1] == "has 3 cells, but the header names 2"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.csv", "", "has no header"),
        ("m.csv", "id,caption\na,b\n", "has none of the columns prompt, image"),
        ("m.csv", "id,prompt,id\na,b,c\n", "names a column twice"),
        ("m.json", '{"version": 1, "items": []}', "holds JSON of another form"),
        ("m.json", '[{"id": 1},', "is no JSON"),
        ("m.json", '{"id": 1}\n{"id": 2}\n', "one object a line is JSON lines"),
        ("m.json", "3", "holds JSON of another form"),
        ("m.parquet", "PAR1 and no more", "is no whole Parquet file"),
        ("m.yaml", "x", "is of no kind that can be read here"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_problem(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    for skip_bad in (False, True):
        (problem,) = refused(Manifest(tmp_path / name, skip_bad=skip_bad))
        assert said in str(problem)


@pytest.mark.parametrize("write", [as_jsonl, as_csv, as_parquet])
def test_a_column_that_is_not_there(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    dataset = Manifest(write(tmp_path), columns={"prompt": "promt", "move": "camera"}, keep=["m"])
    problems = {problem.where: problem for problem in refused(dataset) if problem.where.startswith("dataset.")}
    assert set(problems) == {"dataset.columns.prompt", "dataset.columns.move", "dataset.keep"}
    assert problems["dataset.columns.prompt"].fix == "did you mean `prompt`?"
    assert "category" in problems["dataset.columns.move"].allowed


def test_a_part_that_is_misspelt_is_no_field(tmp_path: Path) -> None:
    (problem,) = refused(Manifest(as_csv(tmp_path), columns={"promt": "prompt", "image_2": "n"}))
    assert problem.where == "dataset.columns.promt" and problem.fix == "did you mean `prompt`?"


def test_parquet_with_pictures_as_hugging_face_writes_them(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pictures = pa.array(
        [{"bytes": png(1), "path": "a.png"}, {"bytes": None, "path": "b.png"}, {"bytes": png(1), "path": None}]
    )
    (tmp_path / "b.png").write_bytes(png(2))
    columns = {
        "key": ["x", "y", "z"],
        "instruction": ["one", "two", "three"],
        "input_image": pictures,
        "mask": [png(3), None, None],
        "when": [datetime(2026, 1, 2)] * 3,
        "box": [[0.5, 1.0]] * 3,
        "hash": [b"\x00\x01"] * 3,
        "gap": [1.0, None, float("nan")],
    }
    path = parquet(tmp_path / "m.parquet", columns)
    mapped = {"id": "key", "prompt": "instruction", "image": "input_image"}
    found = cases(path, columns=mapped, unpack_dir=tmp_path / "cache")
    assert [Path(case.inputs["image"]).read_bytes() for case in found] == [png(1), png(2), png(1)]
    assert found[0].inputs["image"] == found[2].inputs["image"]
    assert Path(found[0].inputs["mask"]).read_bytes() == png(3) and "mask" not in found[1].inputs
    assert found[1].fields == {"when": "2026-01-02T00:00:00", "box": [0.5, 1.0], "hash": "AAE="}
    assert [case.fields.get("gap") for case in found] == [1.0, None, None]
    assert all(decode(encode(case).strip()) == case for case in found)
    assert len([file for file in (tmp_path / "cache").rglob("*") if file.is_file()]) == 2
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*")}
    assert cases(path, columns=mapped, unpack_dir=tmp_path / "cache") == found
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*")}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_base64_is_unpacked(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "cache"))
    plain, url = base64.b64encode(png(5)).decode(), "data:image/png;base64," + base64.b64encode(png(6)).decode()
    rows = [{"id": "a", "image": plain, "depth": url}]
    path = tmp_path / f"m{suffix}"
    path.write_text(json.dumps(rows[0]) if suffix == ".jsonl" else f'id,image,depth\na,{plain},"{url}"\n')
    (case,) = cases(path)
    assert Path(case.inputs["image"]).read_bytes() == png(5) and Path(case.inputs["depth"]).read_bytes() == png(6)
    assert Path(case.inputs["image"]).is_relative_to(tmp_path / "cache" / "unpacked") and case.fields == {}


def test_bytes_that_are_no_picture(tmp_path: Path) -> None:
    path = parquet(tmp_path / "m.parquet", {"image": [b"", b"not a picture", png()]})
    problems = refused(Manifest(path, unpack_dir=tmp_path / "cache"))
    assert [(problem.where, problem.wrong) for problem in problems] == [
        ("m.parquet row 1, image", "is empty"),
        ("m.parquet row 2, image", "are bytes of no picture or clip"),
    ]
    assert "PNG" in problems[0].allowed


def test_a_cache_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = parquet(tmp_path / "m.parquet", {"image": [png()]})
    (problem,) = refused(Manifest(path, unpack_dir=tmp_path / "file"))
    assert problem.where == "dataset.unpack_dir" and "can't be written" in problem.wrong


def test_damaged_parquet(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "m.parquet", {"id": [f"c{i}" for i in range(5000)], "prompt": ["x" * 50] * 5000}, compression="none"
    )
    data = path.read_bytes()
    for content in (data[: len(data) // 2], b"\xff" * 3000 + data[3000:]):
        path.write_bytes(content)
        (problem,) = refused(Manifest(path, skip_bad=True))
        assert "is no whole Parquet file" in problem.wrong


def test_without_pyarrow_one_problem_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (problem,) = refused(Manifest(path))
    assert problem.fix == "pip install 'genbench[parquet]'"


def test_shards(tmp_path: Path) -> None:
    for n in (2, 10):
        parquet(tmp_path / f"train-{n}.parquet", {"prompt": [f"a{n}", f"b{n}"]})
    (tmp_path / "README.md").touch()
    expected = ["train-2-000001", "train-2-000002", "train-10-000001", "train-10-000002"]
    for path in (tmp_path, tmp_path / "train-*.parquet"):
        assert [case.id for case in cases(path)] == expected
    as_csv(tmp_path)
    (problem,) = refused(Manifest(tmp_path))
    assert "several kinds: 2 .parquet, 1 .csv" in problem.wrong


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    dataset = Manifest(as_csv(tmp_path), root=tmp_path / "no")
    assert [problem.where for problem in dataset.problems()] == ["dataset.root"] == [p.where for p in refused(dataset)]


def test_from_the_command_line(lab: Any) -> None:
    jsonl(lab.folder / "m.jsonl", [{"id": 1, "caption": "a cat"}, {"id": 1, "caption": "b"}, {"caption": ""}])
    words = ["--config-dir", "conf", "plugins=[lab]", "debug=true", "model=echo", "metrics=[]", "mode=infer"]
    words += ["dataset=manifest", "dataset.path=m.jsonl", "dataset.columns.prompt=caption"]
    said = lab.bare(*words)
    assert said.code == 2 and said.problems() == 2
    assert "m.jsonl line 2, id: is the id of an earlier row" in said.err and "m.jsonl line 3, prompt" in said.err
    said = lab.bare(*words, "dataset.skip_bad=true")
    assert said.code == 0, said
