"""docs/formats.md names each field of each record and file, with its type, and nothing that does not exist."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from benchmark.config import Frozen
from benchmark.freeze import environment
from benchmark.records import Case, Key, Line
from benchmark.report.summary import Summary
from benchmark.sweep import SweepFile

GUIDE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}
UNITS = {"_s": "s", "_gb": "GiB", "_min": "min"}
INTERNAL = re.compile(r"\.work/(?!journals/)")


class Row(msgspec.Struct, frozen=True):
    """A line of a table of the guide: one field."""

    field: str
    type: str
    unit: str
    null: str


def sections() -> dict[str, str]:
    """Return the text below each heading, of any level."""
    _, *parts = re.split(r"^##+ (.+)$", GUIDE, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(heading: str) -> list[Row]:
    found = re.findall(r"^\| `(\w+)` \| (.+?) \| ?(.*?) ?\| (.+?) \|", sections()[heading], re.MULTILINE)
    return [Row(*cells) for cells in found]


def is_record(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind))


def reachable(kind: Any) -> Iterator[type]:
    """Yield all structs that a type is made of, itself first."""
    if is_record(kind):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from reachable(hint)
    for argument in get_args(kind):
        yield from reachable(argument)


STRUCTS = {kind.__name__: kind for root in (Line, Summary, Frozen, SweepFile) for kind in reachable(root)}


def said(hint: Any) -> str:
    """Return a type as the guide says it; null has a column of its own."""
    arguments = [argument for argument in get_args(hint) if argument is not type(None)]
    origin = get_origin(hint)
    if origin is Annotated:
        return said(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin in (Union, UnionType):
        return " or ".join(said(argument) for argument in arguments)
    if origin in (list, tuple):
        return f"list of {said(arguments[0])}"
    if origin is dict:
        return f"map of {said(arguments[1])}"
    return WORDS.get(hint) or hint.__name__


def test_there_is_a_section_for_each_struct_and_for_no_other() -> None:
    with_fields = [heading for heading in sections() if rows(heading)]
    assert set(with_fields) == {*STRUCTS, "Environment"}
    assert len(with_fields) == len(re.findall(r"^\| field \|", GUIDE, re.MULTILINE))


@pytest.mark.parametrize("name", STRUCTS)
def test_each_field_is_named_in_order_with_its_type(name: str) -> None:
    hints = get_type_hints(STRUCTS[name])
    fields = getattr(STRUCTS[name], "__struct_fields__", None) or [f.name for f in dataclasses.fields(STRUCTS[name])]
    assert [(row.field, row.type) for row in rows(name)] == [(field, said(hints[field])) for field in fields]


@pytest.mark.parametrize("name", STRUCTS)
def test_null_is_said_where_the_type_allows_it_and_only_there(name: str) -> None:
    hints = get_type_hints(STRUCTS[name])
    assert {row.field for row in rows(name) if row.null != "no"} == {
        row.field for row in rows(name) if type(None) in get_args(hints[row.field])
    }


@pytest.mark.parametrize("name", STRUCTS)
def test_units_agree_with_the_names(name: str) -> None:
    for row in rows(name):
        for suffix, unit in UNITS.items():
            assert not row.field.endswith(suffix) or row.unit == unit, (
                f"{name}.{row.field} is in {row.unit or 'no unit'}"
            )


@pytest.mark.parametrize("name", [name for name, kind in STRUCTS.items() if getattr(kind, "__struct_config__", None)])
def test_the_version_is_the_one_that_is_written(name: str) -> None:
    tag = STRUCTS[name].__struct_config__.tag
    assert re.findall(r'"record":"(\w+/\d+)"', sections()[name]) == ([tag] if tag else [])


def test_a_case_leaves_out_what_is_at_its_default() -> None:
    written = json.loads(msgspec.json.encode(Case(id="a")))
    assert set(written) == {"record", "id"}
    assert "left out" in sections()["Case"]


def test_a_key_is_a_pair() -> None:
    assert json.loads(msgspec.json.encode(Key("a", 0))) == ["a", 0]
    assert "`[case_id, sample]`" in sections()["Start"]


def test_the_environment_file_has_the_fields_of_its_section() -> None:
    assert [row.field for row in rows("Environment")] == list(json.loads(environment()))


SMALL = ("limit=2", "model.frames=2", "metrics.basic.names=[temporal_flickering]")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run and a sweep of four, to compare the guide with."""
    folder = tmp_path_factory.mktemp("formats")
    for arguments in (
        ("dataset.pictures=[coffee]", *SMALL),
        ("--multirun", "samples=1,2", "media.frames=none,png", "name=several", *SMALL),
    ):
        command = [sys.executable, "-m", "benchmark", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def runs(made: Path) -> list[Path]:
    return [path.parent for path in sorted(made.rglob("cases.jsonl")) if "latest" not in path.parts]


def patterns() -> dict[str, re.Pattern[str]]:
    """Return the paths of the guide as regular expressions: `<case>` may be `<case>/<sample>`, a category may have levels."""
    found = {}
    for path in re.findall(r"^\| `([^`|]+)` \| [^|]+\|$", sections()["The run folder"], re.MULTILINE):
        text = re.escape(path).replace("<category>/", "(.+/)?").replace("<case>", "[^/]+(/[0-9]+)?")
        found[path] = re.compile(re.sub(r"<\w+>", "[^/]+", text))
    return found


def test_every_file_of_a_run_is_in_the_guide_and_the_other_way_round(made: Path) -> None:
    listed = patterns()
    del listed[".work/..."]
    folders = runs(made)
    assert len(folders) == 5
    files = {str(path.relative_to(run)) for run in folders for path in run.rglob("*") if path.is_file()}
    files = {file for file in files if not INTERNAL.match(file)}
    seen = set()
    for file in files:
        fitting = [path for path, pattern in listed.items() if pattern.fullmatch(file)]
        assert fitting, f"{file} is not in the guide"
        seen.add(max(fitting, key=lambda path: (path.count("/"), -path.count("<"))))  # the narrowest of them
    assert set(listed) - seen == {"predictions/<model>/<category>/<case>.png", "excluded.jsonl"}, (
        "no model here makes pictures and no row here is bad, all else is"
    )


def test_the_lines_of_the_files_have_the_fields_of_their_sections(made: Path) -> None:
    kinds = {kind.__struct_config__.tag: name for name, kind in STRUCTS.items() if hasattr(kind, "__struct_config__")}
    seen = set()
    for file in made.rglob("*.jsonl"):
        for line in file.read_text().splitlines():
            name, *fields = json.loads(line).items()
            assert name[0] == "record"
            seen.add(name[1])
            known = [row.field for row in rows(kinds[name[1]])]
            written = [field for field, _ in fields]
            assert written == (known if name[1] != "case/1" else [field for field in known if field in written])
    assert seen >= {"case/1", "prediction/1", "score/1", "life/1", "start/1", "end/1"}


def test_the_sweep_file_names_the_folders_of_its_runs(made: Path) -> None:
    (file,) = [path for path in made.rglob("sweep.json") if "latest" not in path.parts]
    written = json.loads(file.read_text())
    assert written["record"] == "sweep/1"
    assert sorted(written["runs"]) == sorted(path.parent.name for path in file.parent.glob("*/cases.jsonl"))


def test_the_ways_of_reading_work(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _, typed = re.findall(r"```python\n(.*?)```", sections()["Reading"], re.DOTALL)
    monkeypatch.chdir(made)
    scope: dict[str, Any] = {}
    exec(plain, scope)
    scope["lines"].close()
    assert len(scope["values"]) == 2
    assert all(0 <= value <= 1 for value in scope["values"].values())
    exec(typed, scope)
    assert [record.value for record in scope["scores"]] == list(scope["values"].values())


def test_reading_with_pandas_works(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    _, pandas, _ = re.findall(r"```python\n(.*?)```", sections()["Reading"], re.DOTALL)
    monkeypatch.chdir(made)
    scope: dict[str, Any] = {}
    exec(pandas, scope)
    assert scope["means"]["count"].sum() == 2
