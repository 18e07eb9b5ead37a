"""Outside evaluators as metrics: real programs in Python and bash, their own result files, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.build import build
from benchmark.clip import Clip
from benchmark.guard import guarded
from benchmark.metrics import Item, Measure, Measured, Metric
from benchmark.metrics.outside.command import Command
from benchmark.records import Case, Prediction

X = {"x": {"direction": "higher", "low": 0, "high": 1}}


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import tempfile

    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    return folder


def metric(command: Any, measures: Any = X, **arguments: Any) -> Command:
    """Return a loaded metric that has no problems and satisfies the protocol."""
    spec = {
        "_target_": "benchmark.metrics.outside.command.Command",
        "command": command,
        "measures": measures,
        **arguments,
    }
    made, problems = build(spec, (Metric,), "metrics.command", [])
    assert not problems, problems
    assert list(made.problems()) == []
    made.load("cpu")
    return made


def python(script: str, *words: str) -> list[str]:
    Path("evaluate.py").write_text(script)
    return ["{python}", "evaluate.py", *words]


def item(case_id: str = "a", sample: int = 0, text: str | None = None, content: str = "", **case: Any) -> Item:
    made = Prediction(case_id=case_id, sample=sample, status="ok", fingerprint="f", seed=40 + sample, text=text)
    files = {}
    if text is None:
        files = {"video": Path(f"predictions/{case_id}_{sample}.mp4")}
        files["video"].parent.mkdir(exist_ok=True)
        files["video"].write_text(content)
    return Item(Case(id=case_id, **case), made, Clip(files, text))


def said(outcome: Any) -> str:
    assert isinstance(outcome, Exception), outcome
    return str(outcome).splitlines()[0]


def test_an_evaluator_is_told_all_cases_and_says_their_scores(scratch: Path) -> None:
    script = """
import json, sys
told = json.load(open(sys.argv[1]))
scores = [{"case_id": one["case_id"], "sample": one["sample"], "x": 0.25 * i, "y": {"value": 1, "details": {"told": one}}}
          for i, one in enumerate(told)]
json.dump(scores, open(sys.argv[2], "w"))
"""
    made = metric(python(script, "{cases}", "{scores}"), {**X, "y": {"direction": "neither"}}, per="run")
    assert (made.batch_size, made.decodes) == (None, False)
    items = [
        item("a", prompt="p", category="c", fields={"n": 1}, inputs={"image": "/i.png"}),
        item("b", 1, text="hällo"),
    ]
    first, second = made.score(items)
    assert (first["x"], second["x"]) == (0.0, 0.25)
    assert isinstance(first["y"], Measured)
    video = str(Path("predictions/a_0.mp4").absolute())
    assert first["y"].details["told"] == {
        "case_id": "a", "sample": 0, "category": "c", "prompt": "p", "fields": {"n": 1}, "inputs": {"image": "/i.png"},
        "outputs": {"video": video}, "text": None, "seed": 40,
    }  # fmt: skip
    assert second["y"].details["told"]["text"] == "hällo"
    del first, second
    assert list(scratch.iterdir()) == []


def test_a_shell_script_is_an_evaluator() -> None:
    Path("bytes.sh").write_text('printf \'{"x": %s}\' "$(wc -c < "$1")" > "$2"\n')
    made = metric("bash bytes.sh {output} {scores}", {"x": {"direction": "lower"}})
    assert made.score([item(content="12345")]) == [{"x": 5.0}]
    assert made.score([item(text="é")]) == [{"x": 2.0}]


def test_vbench_reads_a_folder_of_files_named_by_prompt_and_writes_a_file_named_by_time() -> None:
    script = """
import json, os, sys
rows = [{"video_path": os.path.join(sys.argv[1], name), "video_results": float(open(os.path.join(sys.argv[1], name)).read())}
        for name in sorted(os.listdir(sys.argv[1]))]
mean = sum(row["video_results"] for row in rows) / len(rows)
json.dump({"imaging_quality": [mean / 100, rows]}, open(sys.argv[2] + "/results_2026-01-01_eval_results.json", "w"))
"""
    made = metric(
        python(script, "{outputs}", "{results}"),
        {"imaging_quality": {"direction": "higher", "low": 0, "high": 1}},
        per="run",
        link_as="{prompt}-{sample}{suffix}",
        results={
            "file": "{results}/*_eval_results.json",
            "key": "video_path",
            "values": {"imaging_quality": {"rows": "imaging_quality[1]", "value": "video_results", "scale": 0.01}},
        },
    )
    items = [
        item("b7", prompt="zebra, 1/2", content="62.5"),
        item("b7", 1, prompt="zebra, 1/2", content="25"),
        item("a3", prompt="'ape' $(x)", content="100"),
    ]
    assert made.score(items) == [{"imaging_quality": pytest.approx(value)} for value in (0.625, 0.25, 1.0)]


def test_worldscore_writes_a_file_for_each_case_into_folders_of_its_own() -> None:
    script = """
import json, pathlib, sys
for name, score in (("a", 0.5), ("b", None)):
    folder = pathlib.Path("runs", "static", name); folder.mkdir(parents=True, exist_ok=True)
    aspects = {"camera_control": {"camera_error": {"score": [3, 4], "score_normalized": score}}}
    (folder / "evaluation.json").write_text(json.dumps(aspects))
"""
    made = metric(
        python(script),
        {"camera": {"direction": "higher"}},
        per="run",
        results={
            "file": "runs/{category}/{case_id}/evaluation.json",
            "values": {"camera": "camera_control.camera_error.score_normalized"},
        },
    )
    stale = Path("runs/static/c/evaluation.json")
    stale.parent.mkdir(parents=True)
    stale.write_text('{"camera_control": {"camera_error": {"score_normalized": 0.9}}}')
    first, second, third, fourth = made.score([item(name, category="static") for name in "abcd"])
    assert first == {"camera": 0.5}
    assert said(second["camera"]) == "the evaluator gave no camera"
    assert "it is of an earlier call" in said(third["camera"])
    assert "left no evaluation.json" in said(fourth["camera"])


def test_a_table_in_the_programs_own_folder_is_read_there() -> None:
    Path("lab").mkdir()
    Path("lab/evaluate.sh").write_text(
        'mkdir -p out; echo "file,psnr" > out/t.csv; for f in "$1"/*; do echo "$f,31.5"; done >> out/t.csv'
    )
    made = metric(
        "bash evaluate.sh {outputs}",
        {"psnr": {"direction": "higher", "unit": "dB", "needs": ["reference"]}},
        per="chunk",
        chunk_size=2,
        cwd="lab",
        results={"file": "out/t.csv", "key": "file"},
    )
    assert made.measures == (Measure("psnr", "higher", unit="dB", needs=("reference",)),)
    assert made.batch_size == 2
    assert made.score([item("a"), item("b")]) == [{"psnr": 31.5}, {"psnr": 31.5}]


FAILING = """
import json, sys, time
told = json.load(open(sys.argv[1]))
json.dump([{"case_id": one["case_id"], "x": 1} for one in told], open(sys.argv[2], "w"))
if any(one["case_id"] == "bad" for one in told): sys.exit("can't read bad")
"""


def test_a_failed_call_fails_its_items_whatever_it_wrote_and_a_chunk_is_taken_apart() -> None:
    made = metric(python(FAILING, "{cases}", "{scores}"), per="chunk")
    items = [item("a"), item("bad"), item("b")]
    with pytest.raises(ChildProcessError, match=r"evaluate\.py ended with exit code 1: can't read bad"):
        made.score(items)
    first, second, third = guarded(made.score, items, lambda _: None)
    assert (first, third) == ({"x": 1.0}, {"x": 1.0})
    assert "can't read bad" in second.error


def test_a_call_for_the_whole_run_is_not_made_again() -> None:
    script = FAILING.replace("told =", "open('calls', 'a').write('x'); told =", 1)
    made = metric(python(script, "{cases}", "{scores}"), per="run")
    failures = guarded(made.score, [item("a"), item("bad")], lambda _: None)
    assert ["can't read bad" in failure.error for failure in failures] == [True, True]
    assert Path("calls").read_text() == "x"


@pytest.mark.parametrize(
    ("script", "kind", "why"),
    [
        (
            "print('all done')",
            FileNotFoundError,
            "evaluate.py: the evaluator left no scores.json in its work folder; there: cases.json",
        ),
        (
            "import sys; print('all done'); open(sys.argv[1], 'w').write('{')",
            ValueError,
            "evaluate.py: scores.json can't",
        ),
        ("import time; print('all done', flush=True); time.sleep(600)", TimeoutError, "evaluate.py was not done after"),
    ],
)
def test_a_call_without_result_fails_with_the_last_words(script: str, kind: type, why: str) -> None:
    made = metric(python(script, "{scores}"), timeout_min=0.02)
    with pytest.raises(kind) as raised:
        made.score([item()])
    assert str(raised.value).startswith(why)
    assert str(raised.value).endswith("  all done")


def test_values_that_are_missing_or_no_numbers_are_failures_of_that_measure_alone() -> None:
    script = 'import sys; open(sys.argv[1], \'w\').write(\'{"x": NaN, "y": 3, "w": "much"}\')'
    names = {name: {"direction": "neither"} for name in "xyzw"}
    [found] = metric(python(script, "{scores}"), names).score([item()])
    assert found["y"] == 3.0
    assert said(found["x"]) == "x is nan, no finite number"
    assert said(found["z"]) == "the evaluator gave no z for it"
    assert said(found["w"]) == 'w is no number but "much"'


def test_values_outside_their_range_fail_and_unknown_cases_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    rows = [{"case_id": name, "x": value} for name, value in (("a", -5), ("b", 1), ("zebra", 1), ("yak", 1))]
    script = f"import json, sys; json.dump({rows}, open(sys.argv[1], 'w'))"
    first, second = metric(python(script, "{scores}"), per="run").score([item("a"), item("b")])
    assert said(first["x"]) == "x is -5.0, outside the declared range 0..1"
    assert second == {"x": 1.0}
    line = "[evaluate.py] what it says of 2 unknown cases is ignored, the first of them: 'zebra'"
    assert capfd.readouterr().err.splitlines() == [line]


def test_files_of_each_case_with_rows_of_others_are_no_unknown_cases(capfd: pytest.CaptureFixture[str]) -> None:
    script = "open('c.csv', 'w').write('id,x\\na,0.5\\nb,1\\n')"
    results = {"file": "{category}.csv", "key": "id"}
    made = metric(python(script), per="run", results=results)
    assert made.score([item(name, category="c") for name in "ab"]) == [{"x": 0.5}, {"x": 1.0}]
    assert capfd.readouterr().err == ""


def test_links_may_be_cut() -> None:
    script = "import json, os, sys; json.dump({'x': len(os.listdir(sys.argv[1])[0])}, open(sys.argv[2], 'w'))"
    made = metric(
        python(script, "{outputs}", "{scores}"), {"x": {"direction": "neither"}}, link_as="{prompt:.180}-{sample}"
    )
    assert list(made.review([Case(id="a", prompt="p" * 300)], 1)) == []
    assert made.score([item(prompt="p" * 300)]) == [{"x": 182.0}]
    assert problems(link_as="{promt:.9}") == {"link_as": "no such placeholder: {promt}"}
    assert problems(link_as="{prompt:>9}") == {"link_as": "no such placeholder: {prompt:>9}"}
    assert list(problems(command=["{python}", "-V", "{scores}", "{prompt:.9}"])) == ["command"]


def test_two_outputs_under_one_name_are_refused_before_and_during_a_run() -> None:
    made = metric("{python} -V {outputs} {scores}", per="run", link_as="{prompt}{suffix}")
    cases = [Case(id="a", prompt="p"), Case(id="b", prompt="q")]
    assert list(made.review(cases, 1)) == []
    [problem] = made.review(cases, 2)
    assert "gives a (sample 0) and a (sample 1) the same name, p.mp4" in problem.wrong
    [problem] = made.review([Case(id="a", prompt="p" * 300)], 1)
    assert "more than 255 bytes" in problem.wrong
    [outcome, _] = made.score([item("a", prompt="p"), item("b", prompt="p")])
    assert said(outcome) == "link_as={prompt}{suffix} gives two outputs the name p.mp4"
    lacking = metric("{python} -V {outputs} {scores}", link_as="{fields.n}{suffix}")
    [problem] = lacking.review(cases, 1)
    assert "can't name a (sample 0): there is no {fields.n}" in problem.wrong


def test_links_stay_in_their_folder(scratch: Path) -> None:
    script = "import json, os, sys; json.dump({'x': len(os.listdir(sys.argv[1]))}, open(sys.argv[2], 'w'))"
    made = metric(python(script, "{outputs}", "{scores}"), {"x": {"direction": "neither"}}, link_as="{prompt}{suffix}")
    assert made.score([item(prompt="/../../up")]) == [{"x": 1.0}]
    assert not list(scratch.rglob("*up*"))


def problems(**arguments: Any) -> dict[str, str]:
    made = Command(**{"command": ["{python}", "-V", "{scores}"], "measures": X, **arguments})
    return {problem.where.removeprefix("metrics.command."): problem.wrong for problem in made.problems()}


def test_mistakes_are_told_when_a_run_is_planned() -> None:
    from benchmark.metrics.outside.result_files import ResultFiles as Files

    assert problems() == {}
    assert problems(command=[]) == {"command": "is empty"}
    assert problems(measures={}) == {"measures": "names no measure"}
    assert problems(measures={"x": {"direction": "up"}}) == {"measures.x.direction": "unknown direction"}
    assert problems(measures={"x": {"low": 0}}) == {"measures.x.direction": "unknown direction"}
    assert problems(measures={"x": "higher"}) == {"measures.x": "has no settings"}
    assert problems(measures={"a/b": {"direction": "higher"}}) == {"measures.a/b": "can't name a measure"}
    assert problems(measures={"x": {"direction": "higher", "hihg": 1}}) == {"measures.x.hihg": "unknown setting"}
    assert list(problems(measures={"x": {"direction": "higher", "high": "much"}})) == ["measures.x"]
    assert problems(names=["y"]) == {"names": "no such measure"}
    assert problems(names=[]) == {"names": "is empty"}
    assert problems(link_as="{output}") == {"link_as": "no such placeholder: {output}"}
    assert problems(command=["{python}", "-V"]) == {"command": "does not tell the program where scores are to go"}
    assert list(problems(command=["{python}", "-V", "{scores}", "{output}"], per="run")) == ["command"]
    assert problems(results=Files("{nowhere}")) == {"results.file": "no such placeholder: {nowhere}"}
    assert problems(results=Files("x.json"), per="run") == {
        "results.key": "is needed: a result file is of several cases"
    }
    assert problems(results=Files("x/{case_id}.json"), per="run") == {}
    assert problems(results=Files("x.json"), per="case") == {}
    assert list(problems(results=Files("x.json", rows="a["))) == ["results.rows"]


def test_names_choose_measures_and_change_no_score() -> None:
    both = {**X, "y": {"direction": "lower"}}
    made = Command(["true", "{scores}"], both, names=["y"])
    assert [measure.name for measure in made.measures] == ["y"]
    assert "names" in made.execution_only


def test_the_evaluator_is_part_of_the_metric() -> None:
    made = metric(python("pass", "{scores}"))
    assert list(made.identity()) == ["evaluate.py"]
    assert json.dumps(made.identity())
