"""Outside programs as models: real scripts, called per batch or kept running, that do well and badly."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from workshop.runs import until

from benchmark.build import build
from benchmark.media import MediaFile, probe, read_image, write_png
from benchmark.model import Model, Request
from benchmark.model.command import Command
from benchmark.process import process_start
from benchmark.records import Case

PICTURE = """
import sys
from PIL import Image
Image.new("RGB", (32, 16), (int(sys.argv[2]) % 256, 7, 0)).save(sys.argv[1], format="PNG")
"""


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, which must be empty when a test is through with its outputs."""
    import tempfile

    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    return folder


def model(script: str, *words: str, **arguments: Any) -> Command:
    """Return a loaded model of a Python script; it must have no problems and satisfy the protocol."""
    Path("script.py").write_text(script)
    command = ["{python}", "script.py", *words]
    made, problems = build(
        {"_target_": "benchmark.model.command.Command", "command": command, **arguments}, (Model,), "model", []
    )
    assert not problems, problems
    assert list(made.problems()) == []
    made.load("cpu")
    return made


def request(case_id: str = "a", sample: int = 0, prompt: str = "p", **case: Any) -> Request:
    return Request(Case(id=case_id, prompt=prompt, **case), sample, prompt, "no text", 40 + sample)


def words(outputs: list[Any]) -> list[str]:
    return [f"{type(one).__name__}: {one}".splitlines()[0] for one in outputs]


# One call for each batch


def test_a_script_with_one_prompt_a_call_makes_a_picture(scratch: Path) -> None:
    made = model(PICTURE, "{output}", "{seed}", output="image")
    [output] = made.generate([request(sample=3)])
    assert isinstance(output, MediaFile) and not output.in_place
    assert output.path.name == "a-3.png"
    assert read_image(output.path).shape == (16, 32, 3)
    assert read_image(output.path)[0, 0].tolist() == [43, 7, 0]
    assert len(list(scratch.iterdir())) == 1
    del output
    assert list(scratch.iterdir()) == [], "the folder goes with the last output in it"


def test_a_folder_of_frames_is_an_output() -> None:
    script = """
import os, sys
from PIL import Image
os.mkdir(sys.argv[1])
for i in range(3): Image.new("RGB", (8, 8)).save(f"{sys.argv[1]}/{i}.png")
"""
    [output] = model(script, "{output}", suffix="").generate([request()])
    assert probe(output.path).frames == 3


def test_a_batch_is_told_in_a_file_and_each_case_is_answered() -> None:
    script = """
import json, sys
assert sys.argv[2] == "30", sys.argv
asked = json.load(open(sys.argv[1]))
for one in asked:
    if one["case_id"] == "lazy": continue
    with open(one["output"], "w", encoding="utf-8") as file: json.dump(one, file, ensure_ascii=False)
"""
    made = model(script, "{requests}", "{options.steps}", output="text", batch_size=3, options={"steps": 30})
    cases = [request("a", 1, 'say "x"\n字', fields={"n": 1}, category="c"), request("lazy"), request("b")]
    first, second, third = made.generate(cases)
    told = json.loads(first)
    assert Path(told.pop("output")).name == "a-1.txt"
    assert told == {
        "case_id": "a", "sample": 1, "category": "c", "prompt": 'say "x"\n字', "negative_prompt": "no text", "seed": 41,
        "inputs": {}, "fields": {"n": 1}, "options": {"steps": 30},
    }  # fmt: skip
    assert isinstance(second, FileNotFoundError)
    assert str(second).splitlines() == [
        "script.py ended without an error but left no text",
        "  expected: lazy-0.txt; there: a-1.txt, b-0.txt",
    ]
    assert json.loads(third)["case_id"] == "b"


def test_a_single_file_may_have_any_name(tmp_path: Path) -> None:
    script = PICTURE.replace("sys.argv[1]", 'sys.argv[1] + "/result_0001.png"')
    [output] = model(script, "{outputs}", "{seed}", output="image").generate([request()])
    assert output.path.name == "result_0001.png"
    [output] = model(script + script.replace("0001", "0002"), "{outputs}", "{seed}", output="image").generate(
        [request()]
    )
    assert "expected: a-0.png; there: result_0001.png, result_0002.png" in str(output)


def test_what_a_program_prints_is_its_text_if_it_says_nowhere_else() -> None:
    script = "import sys; print('thinking', file=sys.stderr); print(sys.argv[1].upper())"
    assert model(script, "{prompt}", output="text").generate([request(prompt="ähm\nja")]) == ["ÄHM\nJA"]
    script = "import sys; print('log'); open(sys.argv[2], 'w').write('kept\\n')"
    assert model(script, "{prompt}", "{output}", output="text").generate([request()]) == ["kept"]


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("import sys; sys.exit('out of paint')", "ChildProcessError", "script.py ended with exit code 1: out of paint"),
        ("import time; time.sleep(600)", "TimeoutError", "script.py was not done after timeout_min=0.02"),
        ("import os; os.kill(os.getpid(), 9)", "ChildProcessError", "script.py was killed by SIGKILL: start"),
    ],
)
def test_a_call_that_fails_raises_with_its_last_words(script: str, kind: str, said: str, scratch: Path) -> None:
    made = model(f"print('start', flush=True); {script}", "{output}", timeout_min=0.02)
    with pytest.raises(OSError) as raised:
        made.generate([request()])
    assert type(raised.value).__name__ == kind
    head, *last = str(raised.value).splitlines()
    assert head == said
    assert "  start" in last
    del raised
    assert list(scratch.iterdir()) == []


def test_an_output_that_is_no_media_fails_its_request_alone() -> None:
    script = """
import json, sys
print("did my best")
for i, one in enumerate(json.load(open(sys.argv[1]))):
    open(one["output"], "w").write("no video")
"""
    outputs = model(script, "{requests}", batch_size=2).generate([request("a"), request("b")])
    assert [type(one) for one in outputs] == [ValueError, ValueError]
    assert str(outputs[0]).startswith("script.py left no readable video\n  a-0.mp4 is not a readable video")
    assert str(outputs[0]).endswith("did my best")


def test_the_files_of_others_are_copied_and_stay(tmp_path: Path) -> None:
    write_png(tmp_path / "theirs.png", __import__("numpy").full((4, 4, 3), 9, "uint8"))
    script = "import os, sys; os.symlink(os.path.abspath('theirs.png'), sys.argv[1])"
    [output] = model(script, "{output}", output="image").generate([request()])
    assert not output.path.is_symlink()
    assert read_image(output.path)[0, 0, 0] == 9
    output.path.unlink()
    assert (tmp_path / "theirs.png").exists()


# One process that stays

ANSWERING = """
import json, os, signal, sys, time
from PIL import Image
with open("starts", "a") as file: file.write(f"{os.getpid()}\\n")
print("loading ...")
if os.path.exists("broken"): sys.exit("no weights")
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    do = asked["prompt"]
    print("progress 50 %\\rworking on", asked["case_id"], flush=True)
    if do == "die": print("oh no", file=sys.stderr, flush=True); os._exit(3)
    if do == "hang": time.sleep(600)
    answer = {"error": "no such thing"} if do == "refuse" else {"case_id": asked["case_id"], "output": asked["output"]}
    if do == "theirs": answer["output"] = "theirs.png"
    if do == "other": answer["case_id"] = "z"
    if do == "empty": answer = {"text": "no picture"}
    if do == "nowhere": answer = {"output": "/nope/x.mp4"}
    if do == "odd": answer = {"foo": 1}
    if do == "list": print("[1, 2]")
    if do == "path": answer = {"error": "can't write " + asked["output"]}
    if do == "fall": sys.exit("can't read " + "x" * 100 + asked["output"])
    if do not in ("theirs", "missing"): Image.new("RGB", (8, 8), (asked["seed"], 0, 0)).save(asked["output"])
    print(json.dumps(answer), flush=True)
    if do == "twice": print(json.dumps(answer), flush=True)
    if do == "leave": sys.exit(0)
    if do == "close": sys.stdin.close(); break
"""


def starts() -> list[int]:
    return [int(line) for line in Path("starts").read_text().split()]


def talking(**arguments: Any) -> Command:
    return model(ANSWERING, **{"output": "image", "protocol": "lines", "timeout_min": 0.5, **arguments})


def test_a_process_that_stays_loads_once(scratch: Path) -> None:
    made = talking()
    outputs = [made.generate([request(case_id)])[0] for case_id in "abc"]
    assert [read_image(output.path)[0, 0, 0] for output in outputs] == [40, 40, 40]
    assert len(starts()) == 1
    assert process_start(starts()[0])
    del made, outputs
    until(lambda: not process_start(starts()[0]))
    until(lambda: list(scratch.iterdir()) == [])


def test_it_fails_what_it_refuses_and_goes_on() -> None:
    made = talking()
    said = words([made.generate([request("a", prompt=do)])[0] for do in ("refuse", "missing", "empty", "p")])
    assert said == [
        "RuntimeError: script.py: no such thing",
        "FileNotFoundError: script.py answered 'outputs/a-0.png', but there is no such file",
        'ValueError: script.py gave no "output": {"text": "no picture"}; allowed: {"output": path} or {"error": "..."}',
        said[-1],
    ]
    assert said[-1].startswith("HeldFile")
    assert len(starts()) == 1


def test_an_answer_that_is_no_file_is_named() -> None:
    [said] = talking().generate([request(prompt="nowhere")])
    assert isinstance(said, FileNotFoundError)
    head, *below = str(said).splitlines()
    assert head == "script.py answered '/nope/x.mp4', but there is no such file"
    assert below[0] == "  looked for: /nope/x.mp4"


def test_json_that_answers_nothing_is_a_wrong_answer_and_other_json_a_log_line() -> None:
    made = talking(timeout_min=0.2)
    with pytest.raises(ValueError) as raised:
        made.generate([request(prompt="odd")])
    allowed = 'allowed: {"output": path} or {"error": "..."}'
    assert str(raised.value).splitlines()[0] == f'script.py gave no "output": {{"foo": 1}}; {allowed}'
    assert isinstance(made.generate([request(prompt="list")])[0], MediaFile)
    assert len(starts()) == 2, "its right answer, if one comes after the wrong one, is not taken for another case"


@pytest.mark.parametrize("said", ["{}", "[]", "[1]", '[{"text": "a"}, {"foo": 1}]', '{"foo": 1}'])
def test_a_wrong_answer_to_a_batch_is_not_waited_for(said: str) -> None:
    script = f"print('{{\"n\": 1}}'); print('{{\"ready\": true}}', flush=True); input(); print('{said}', flush=True); input()"
    made = model(script, output="text", protocol="lines", batch_size=2, timeout_min=0.2)
    with pytest.raises(ValueError, match=r'gave no "text"|gave answers to something else'):
        made.generate([request("a"), request("b")])


def test_no_first_line_tells_a_work_folder(scratch: Path) -> None:
    made = talking()
    [said] = made.generate([request(prompt="path")])
    assert str(said) == "script.py: can't write outputs/a-0.png"
    with pytest.raises(ChildProcessError) as raised:
        made.generate([request(prompt="fall")])
    assert str(scratch) not in str(raised.value).splitlines()[0]
    assert str(scratch) in str(raised.value), "below, it is told as it was"
    script = "import sys; sys.exit('no room in ' + sys.argv[1])"
    with pytest.raises(ChildProcessError, match=r"exit code 1: no room in outputs\n"):
        model(script, "{outputs}").generate([request()])


def test_the_program_may_answer_with_a_file_elsewhere_which_is_copied(tmp_path: Path) -> None:
    write_png(tmp_path / "theirs.png", __import__("numpy").full((4, 4, 3), 9, "uint8"))
    [output] = talking().generate([request(prompt="theirs")])
    assert read_image(output.path)[0, 0, 0] == 9
    assert (tmp_path / "theirs.png").exists()
    assert output.path != tmp_path / "theirs.png"


def test_if_it_dies_the_case_at_hand_fails_and_it_is_started_again() -> None:
    made = talking()
    with pytest.raises(ChildProcessError) as raised:
        made.generate([request(prompt="die")])
    assert str(raised.value).splitlines()[0] == "script.py ended with exit code 3: oh no"
    assert isinstance(made.generate([request()])[0], MediaFile)
    assert len(starts()) == 2
    os.kill(starts()[1], signal.SIGKILL)
    until(lambda: not process_start(starts()[1]))
    with pytest.raises(ChildProcessError, match=r"script\.py was killed by SIGKILL"):
        made.generate([request()])
    assert isinstance(made.generate([request()])[0], MediaFile)
    assert len(starts()) == 3


def test_one_that_hangs_is_ended_and_started_again() -> None:
    made = talking(timeout_min=0.03)
    with pytest.raises(TimeoutError, match=r"script\.py was not done after timeout_min=0\.03"):
        made.generate([request(prompt="hang")])
    assert not process_start(starts()[0])
    assert isinstance(made.generate([request()])[0], MediaFile)


def test_an_answer_to_another_case_is_not_taken() -> None:
    made = talking()
    with pytest.raises(ValueError, match="gave answers to something else"):
        made.generate([request(prompt="other")])
    assert isinstance(made.generate([request()])[0], MediaFile)
    assert len(starts()) == 2, "whoever answers to another case is not talked to any longer"


def test_an_answer_too_many_is_never_taken_for_another_case() -> None:
    made = talking()
    made.generate([request("a", prompt="twice")])
    conversation = made._conversation
    assert conversation
    until(lambda: not conversation._answers.empty())
    with pytest.raises(ValueError, match="more answers than it was asked for"):
        made.generate([request("b")])
    assert made.generate([request("b")])[0].path.name == "b-0.png"


@pytest.mark.parametrize("do", ["leave", "close"])
def test_one_that_leaves_in_order_is_told_and_started_again(do: str) -> None:
    made = talking()
    assert isinstance(made.generate([request(prompt=do)])[0], MediaFile)
    until(lambda: not process_start(starts()[0]))
    with pytest.raises(ChildProcessError, match=r"script\.py ended with exit code 0"):
        made.generate([request()])
    assert isinstance(made.generate([request()])[0], MediaFile)


def test_one_that_can_not_load_is_told_at_once_and_not_tried_for_ever() -> None:
    Path("broken").touch()
    with pytest.raises(ChildProcessError, match=r"script\.py ended with exit code 1: no weights"):
        talking()
    Path("broken").unlink()
    made = talking()
    Path("broken").touch()
    with pytest.raises(ChildProcessError):
        made.generate([request(prompt="die")])
    for _ in range(5):
        with pytest.raises(ChildProcessError, match="no weights"):
            made.generate([request()])
    assert len(starts()) == 2 + 3, "given up after three vain starts"


def test_one_that_is_never_ready_is_ended() -> None:
    with pytest.raises(TimeoutError, match=r"did not say .*ready.* within load_timeout_min=0\.02"):
        model("import time; time.sleep(600)", protocol="lines", load_timeout_min=0.02)
    with pytest.raises(ChildProcessError, match=r'said {"text": "hi"} before {"ready": true}'):
        model('print(\'{"text": "hi"}\', flush=True); input()', protocol="lines")


def test_a_batch_is_a_list_in_one_line_and_so_is_its_answer() -> None:
    script = """
import json, sys
print('{"ready": true}', flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    answers = [{"text": one["prompt"].upper()} for one in asked if one["prompt"] != "skip"]
    print(json.dumps(answers), flush=True)
"""
    made = model(script, output="text", protocol="lines", batch_size=3)
    assert made.generate([request(prompt=p) for p in ("a", "b\nc", "ü")]) == ["A", "B\nC", "Ü"]
    assert made.generate([request(prompt="d")]) == ["D"]
    with pytest.raises(ValueError, match="gave answers to something else"):
        made.generate([request(prompt="a"), request(prompt="skip")])


def test_large_questions_and_answers_do_not_block() -> None:
    script = """
import json, sys
print('{"ready": true}', flush=True)
for line in sys.stdin:
    sys.stderr.write("x" * 3_000_000 + "\\n")
    print(json.dumps({"text": json.loads(line)["prompt"]}), flush=True)
"""
    made = model(script, output="text", protocol="lines", timeout_min=1)
    prompt = "é\n" * 1_000_000
    assert made.generate([request(prompt=prompt)]) == [prompt]


def test_a_question_that_is_not_read_ends_with_the_time() -> None:
    script = "import time; print('{\"ready\": true}', flush=True); time.sleep(600)"
    made = model(script, output="text", protocol="lines", timeout_min=0.02)
    with pytest.raises(TimeoutError, match="was not done"):
        made.generate([request(prompt="x" * 1_000_000)])


# When a run is planned


def refused(**arguments: Any) -> list[tuple[str, str]]:
    made = Command(**{"command": ["{python}", "-V", "{output}"], **arguments})
    return [(problem.where, problem.wrong) for problem in made.problems()]


def test_mistakes_are_told_when_a_run_is_planned() -> None:
    assert refused(command=[]) == [("model.command", "is empty")]
    assert refused(suffix="mp4") == [("model.suffix", "does not open with a dot")]
    assert refused(suffix="") == []
    assert refused(command=["{python}", "-V"]) == [
        ("model.command", "does not tell the program where the video is to go")
    ]
    assert refused(command=["{python}", "-V"], output="text") == []
    assert refused(batch_size=2, command=["{python}", "-V", "{outputs}", "{seed}"]) == [
        ("model.command", "{seed} is not to be had, since it is of one case and here a call is for several"),
        ("model.command", "does not tell the program which 2 cases to do"),
    ]
    assert refused(batch_size=2, command=["{python}", "-V"], output="text") == [
        ("model.command", "does not tell the program which 2 cases to do"),
    ]
    assert refused(protocol="lines") == [
        ("model.command", "{output} is not to be had, since it is of one case and here a call is for several")
    ]
    assert refused(protocol="lines", command=["{python}", "-V", "{device}"], batch_size=4) == []
    assert [where for where, _ in refused(command=["{python}", "{outptu}"], environment={"A": "{x}"})] == [
        "model.command", "model.environment.A", "model.command",
    ]  # fmt: skip


def test_a_batch_without_a_list_of_requests_is_refused() -> None:
    assert refused(batch_size=2, command=["{python}", "-V", "{outputs}"]) == [
        ("model.command", "does not tell the program which 2 cases to do"),
    ]


def test_placeholders_say_what_cases_must_have() -> None:
    made = Command(
        ["x", "{image}", "{fields.move}", "{prompt}"], needs=["mask"], environment={"R": "{input.reference}"}
    )
    assert made.needs == ["mask", "image", "fields.move", "reference"]


def test_types_are_checked_like_those_of_any_part() -> None:
    spec = {"_target_": "benchmark.model.command.Command", "command": ["x", "--steps", 30, 0.5], "output": "audio"}
    _, problems = build({**spec, "batch_size": 0, "timeout_min": 0}, (Model,), "model", [])
    assert sorted(problem.where for problem in problems) == ["model.batch_size", "model.output", "model.timeout_min"]


def test_the_script_is_part_of_the_model() -> None:
    made = model("print(1)", output="text")
    before = made.identity()
    assert list(before) == ["script.py"]
    Path("script.py").write_text("print(2)")
    assert made.identity() != before
