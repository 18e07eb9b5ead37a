"""Result files of other evaluators: real formats, hand-worked numbers, and everything that can be wrong with a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.metrics import Measure, Measured
from benchmark.metrics.outside.declared import checked
from benchmark.metrics.outside.result_files import ResultFiles, find, matches, read, state
from benchmark.metrics.outside.result_rows import Names, listed, mapped, number, unknown_rows

NAMES = Names(
    [
        ("cat", 0, [Path("/tmp/x/outputs/a cat-0.mp4"), Path("/run/predictions/m/c/cat.mp4")]),
        ("dog.v2", 0, [Path("/tmp/x/outputs/a dog, running-0.mp4"), Path("/run/predictions/m/c/dog.v2.mp4")]),
    ]
)


def plain(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: str(v) if isinstance(v, Exception) else v for name, v in one.items()} for one in outcomes]


def mapping(**arguments: Any) -> ResultFiles:
    return msgspec.convert({"file": "x.json", **arguments}, ResultFiles)


def test_vbench_has_rows_of_its_own_for_each_dimension() -> None:
    document = {
        "motion_smoothness": [0.97, [
            {"video_path": "./outputs/a dog, running-0.mp4", "video_results": 0.96},
            {"video_path": "./outputs/a cat-0.mp4", "video_results": 0.98},
        ]],
        "imaging_quality": [0.625, [
            {"video_path": "./outputs/a cat-0.mp4", "video_results": 62.5},
            {"video_path": "./outputs/another-0.mp4", "video_results": 1.0},
        ]],
    }  # fmt: skip
    how = mapping(
        key="video_path",
        values={
            "motion_smoothness": {"rows": "motion_smoothness[1]", "value": "video_results"},
            "imaging_quality": {"rows": "imaging_quality[1]", "value": "video_results", "scale": 0.01},
            "color": {"rows": "color[1]", "value": "video_results"},
        },
    )
    found = plain(mapped([document], how, ["motion_smoothness", "imaging_quality", "color"], NAMES))
    no_rows = "the evaluator gave no rows: color[1] finds nothing"
    assert found == [
        {"motion_smoothness": 0.98, "imaging_quality": pytest.approx(0.625), "color": no_rows},
        {"motion_smoothness": 0.96, "imaging_quality": "the evaluator gave no row for it", "color": no_rows},
    ]


def test_worldscore_has_a_file_for_each_case_and_metrics_by_aspect() -> None:
    document = {
        "camera_control": {"camera_error": {"score": [3.5, 0.2], "score_normalized": 0.81}},
        "3d_consistency": {"reprojection_error": {"score": 0.4, "score_normalized": None}},
    }
    how = mapping(
        values={
            "camera_control": "camera_control.camera_error.score_normalized",
            "camera_error_deg": "camera_control.camera_error.score[0]",
            "camera_errors": "camera_control.camera_error.score",
            "consistency": '"3d_consistency".reprojection_error.score_normalized',
        }
    )
    wanted = ["camera_control", "camera_error_deg", "camera_errors", "consistency", "style"]
    [found] = plain(mapped([document], how, wanted, Names([("cat", 0, [])])))
    assert found == {
        "camera_control": 0.81,
        "camera_error_deg": 3.5,
        "camera_errors": "camera_errors is no number but [3.5, 0.2]; a JMESPath such as avg(...) makes one",
        "consistency": "the evaluator gave no consistency",
        "style": "the evaluator gave no style",
    }


def test_tables_are_read_as_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffname,clip+,fid\n"cat",0.25,\ndog.v2.mp4,nan,1e3\n', encoding="utf-8")
    (tmp_path / "a.tsv").write_text("name\tclip+\tfid\ncat\t0.25\t\n")
    (tmp_path / "a.jsonl").write_text('{"name": "cat", "clip+": 0.25, "fid": null}\n\n')
    how = mapping(key="name", values={"fid": "fid"})
    found = plain(mapped([read(tmp_path / "a.csv")], how, ["clip+", "fid"], NAMES))
    assert found == [
        {"clip+": 0.25, "fid": "the evaluator gave no fid"},
        {"clip+": "clip+ is nan, no finite number", "fid": 1000.0},
    ]
    for name in ("a.tsv", "a.jsonl"):
        assert plain(mapped([read(tmp_path / name)], how, ["clip+", "fid"], NAMES))[0] == found[0]


def test_a_case_is_found_by_its_id_and_its_output_by_name_stem_and_path() -> None:
    for key in (
        "cat",
        "cat/0",
        "a cat-0.mp4",
        "a cat-0",
        "/elsewhere/a cat-0.png",
        "cat.mp4",
        "/run/predictions/m/c/cat.mp4",
    ):
        assert NAMES.find(key) == 0, key
    for key in ("dog.v2", "dog.v2.mp4", "a dog, running-0"):
        assert NAMES.find(key) == 1, key
    for key in ("cat.v2", "ca", "", "a cat-1.mp4", "cat/1", 7):
        assert NAMES.find(key) is None, key
    assert Names([("17", 0, [])]).find(17.0) == 0


def test_samples_are_told_apart_by_file_name_or_number_and_never_guessed() -> None:
    two = Names(
        [("cat", sample, [Path(f"/tmp/outputs/cat-{sample}.mp4"), Path(f"/run/cat/{sample}.mp4")]) for sample in (0, 1)]
    )
    assert (two.find("cat-1.mp4"), two.find("cat/1")) == (1, 1)
    with pytest.raises(ValueError, match=r"cat names several outputs: set results\.sample"):
        two.find("cat")
    rows = [{"id": "cat", "n": "1", "x": 0.1}, {"id": "cat", "n": 0, "x": 0.0}]
    assert mapped([rows], mapping(key="id", sample="n"), ["x"], two) == [{"x": 0.0}, {"x": 0.1}]


def test_two_rows_for_one_output_are_no_value() -> None:
    rows = [{"case_id": "cat", "x": 1}, {"case_id": "cat", "x": 2}, {"x": 3}]
    found = plain(mapped([rows], mapping(key="case_id"), ["x"], NAMES))
    assert found == [
        {"x": "the evaluator gave 2 rows for this case: which one counts?"},
        {"x": "the evaluator gave no row for it"},
    ]


def test_several_files_add_their_rows() -> None:
    documents = [[{"case_id": "cat", "x": 1}], {"case_id": "dog.v2", "x": 2}]
    assert mapped(documents, mapping(key="case_id"), ["x"], NAMES) == [{"x": 1.0}, {"x": 2.0}]


@pytest.mark.parametrize(
    "given", [None, "", "long", float("nan"), float("-inf"), [], [1.0], {"a": 1}, "inf", "5", True]
)
def test_what_is_no_finite_number_is_no_value(given: object) -> None:
    with pytest.raises(ValueError, match="x"):
        number(given, "x")


def test_only_in_tables_is_a_number_in_text_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("case_id,x\ncat,5\ndog.v2,true\n")
    (tmp_path / "a.json").write_text('[{"case_id": "cat", "x": "5"}, {"case_id": "dog.v2", "x": true}]')
    how = mapping(rows="[?x]", key="case_id")
    found = plain(mapped([read(tmp_path / "a.csv")], how, ["x"], NAMES))
    assert found == [{"x": 5.0}, {"x": "x is no number: 'true'"}]
    wrong = [{"x": 'x is no number but "5"'}, {"x": "x is no number but true"}]
    assert plain(mapped([read(tmp_path / "a.json")], how, ["x"], NAMES)) == wrong
    assert plain(listed(read(tmp_path / "a.json"), ["x"], NAMES)) == wrong


def test_two_rows_in_our_own_format_are_no_value() -> None:
    rows = [{"case_id": "cat", "x": 1}, {"case_id": "dog.v2", "x": 1}, {"case_id": "cat", "sample": 0, "x": 1}]
    twice = "the evaluator gave 2 rows for this case: which one counts?"
    assert plain(listed(rows, ["x", "y"], NAMES))[0] == {"x": twice, "y": twice}
    assert listed(rows, ["x"], NAMES)[1] == {"x": 1.0}
    assert plain(listed([{"x": 1}, {"x": 2}], ["x"], Names([("cat", 0, [])]))) == [{"x": twice}]


def test_names_of_no_case_are_gathered() -> None:
    names = Names([("cat", 0, [])])
    rows = [{"case_id": name, "sample": n, "x": 1} for name, n in (("cow", 0), ("cat", 0), ("cat", 1), ("cow", 0))]
    listed(rows, ["x"], names)
    assert list(names.unknown) == ["cow", "cat/1"]
    assert unknown_rows(names.unknown) == "what it says of 2 unknown cases is ignored, the first of them: 'cow'"
    names = Names([("cat", 0, [])])
    mapped([rows[:2]], mapping(key="case_id"), ["x", "y"], names)
    assert unknown_rows(names.unknown) == "what it says of an unknown case is ignored: 'cow'"


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (-5.0, 0, 1, "x is -5.0, outside the declared range 0..1"),
        (1.5, None, 1, "x is 1.5, outside the declared range ..1"),
        (-0.5, 0, None, "x is -0.5, outside the declared range 0.."),
        (1.00001, 0, 1, "x is 1.00001, outside the declared range 0..1"),
        (1.0000001, 0, 1, 1.0000001),
        (0, 0, 1, 0),
        (-1e9, None, None, -1e9),
    ],
)
def test_a_value_lies_in_the_declared_range(value: float, low: Any, high: Any, said: object) -> None:
    measures = [Measure("x", "higher", low, high), Measure("y", "higher", low, high)]
    found = plain([checked({"x": value, "y": RuntimeError("dark")}, measures)])
    assert found == [{"x": said, "y": "dark"}]
    assert isinstance(checked({"x": Measured(value), "y": 0.0}, measures)["x"], Exception) == isinstance(said, str)


def test_scores_in_our_own_format() -> None:
    document = [
        {"case_id": "cat", "x": 0.5, "y": {"value": 2, "details": {"frames": [0, 4]}}},
        {"case_id": "dog.v2", "sample": 0, "x": {"error": "too dark"}, "y": {"value": None}},
        {"case_id": "another", "x": 1},
        {"case_id": "cat", "sample": 1, "x": 1},
    ]
    found = listed(document, ["x", "y"], NAMES)
    assert found[0] == {"x": 0.5, "y": Measured(2.0, {"frames": [0, 4]})}
    assert plain(found[1:]) == [{"x": "too dark", "y": "the evaluator gave no y"}]
    assert isinstance(found[1]["x"], RuntimeError)
    assert plain(listed([], ["x"], Names([("cat", 0, [])]))) == [{"x": "the evaluator gave no x for it"}]
    assert listed({"x": 1}, ["x"], Names([("cat", 0, [])])) == [{"x": 1.0}]


@pytest.mark.parametrize("document", [{"x": 1}, [{"x": 1}], {"cat": {"x": 1}}, "x", [3], None])
def test_scores_that_say_not_whose_they_are_are_refused(document: object) -> None:
    with pytest.raises(ValueError, match="scores are a list of"):
        listed(document, ["x"], NAMES)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    for content in (b"", b"{", b"\xff\xfe", b"[1] [2]"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"scores\.json can't be read"):
            read(path)
    path.write_text('[{"x": NaN}]')
    assert json.dumps(read(path)) == '[{"x": NaN}]'


def test_only_files_of_this_call_are_read(tmp_path: Path) -> None:
    for name in ("1_eval.json", "2_eval.json", "[odd].json"):
        (tmp_path / name).write_text("1")
    pattern = str(tmp_path / "*_eval.json")
    assert [path.name for path in matches(pattern)] == ["1_eval.json", "2_eval.json"]
    assert [path.name for path in matches(str(tmp_path / "[odd].json"))] == ["[odd].json"]
    before = {path: state(path) for path in matches(pattern)}
    with pytest.raises(FileNotFoundError, match=r"did not write .*1_eval\.json: it is of an earlier call"):
        find(pattern, before)
    (tmp_path / "2_eval.json").write_text("23")
    assert [path.name for path in find(pattern, before)] == ["2_eval.json"]
    with pytest.raises(FileNotFoundError, match=r"left no no\.json in .*; there: 1_eval\.json"):
        find(str(tmp_path / "no.json"), before)


def test_expressions_are_checked_when_a_run_is_planned() -> None:
    how = mapping(
        rows="a[", key="x.y", sample="}", values={"m": "a..b", "n": {"value": "ok", "rows": "?"}, "other": "x"}
    )
    found = [(problem.where, problem.wrong.partition(":")[0]) for problem in how.problems("r", ["m", "n", "clip+"])]
    assert found == [
        ("r.values", "no such measure"),
        ("r.rows", "is no JMESPath"),
        ("r.sample", "is no JMESPath"),
        ("r.values.m", "is no JMESPath"),
        ("r.values.n.rows", "is no JMESPath"),
    ]
