"""What is said of a command before anything runs, and what a program inherits."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from benchmark.errors import Problem
from benchmark.programs import Program
from benchmark.programs.placeholders import Vocabulary

ALL = Vocabulary(("requests", "python"), ("prompt", "output"))


def wrong(command: str | list[str], **other: object) -> list[Problem]:
    return list(Program("model", command, **other).problems(ALL))  # type: ignore[arg-type]


def test_one_text_is_split_as_a_shell_would_and_nothing_else_of_a_shell_applies() -> None:
    program = Program("model", "sh 'my script.sh' --p={prompt} ${HOME} *")
    assert program.words == ["sh", "my script.sh", "--p={prompt}", "${HOME}", "*"]
    assert Program("model", ["x", 3, 0.5]).words == ["x", "3", "0.5"]
    assert Program("model", "~/bin/x --a=~/y").words == [f"{Path.home()}/bin/x", "--a=~/y"]
    words, _ = Program("model", ["echo", "{prompt}"]).filled({"prompt": "a 'b' \"c\"\n$(touch d) `e` *"})
    assert words == ["echo", "a 'b' \"c\"\n$(touch d) `e` *"]


@pytest.mark.parametrize("interpreter", ["bash", "{python}", "/usr/bin/env"])
def test_the_log_is_headed_by_the_script(interpreter: str) -> None:
    name = Program("model", [interpreter, "lab/generate.py", "--x"]).name
    assert name == ("env" if interpreter.endswith("env") else "generate.py")
    assert Program("model", ["{python}", "-c", "print()"]).name == "python"


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [(p.where, p.wrong) for p in wrong([])] == [("model.command", "is empty")]
    [problem] = wrong("no-such-program-here x")
    assert (problem.wrong, problem.given) == ("there is no such program", "no-such-program-here")
    [problem] = wrong("{python} missing.py --p={prompt}")
    assert (problem.wrong, problem.given) == ("there is no such script", "missing.py")
    assert str(tmp_path) in problem.fix
    [problem] = wrong("sh -c 'echo")
    assert "can't be split into words" in problem.wrong
    [problem] = wrong("sh -c true", cwd="nowhere")
    assert problem.where == "model.cwd"
    [problem] = wrong("sh -c true", environment={"A": "{promt}"})
    assert (problem.where, problem.fix) == ("model.environment.A", "did you mean `prompt`?")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "missing.py").touch()
    assert wrong("{python} missing.py --p={prompt}", cwd="lab") == []


def test_a_program_is_found_on_its_own_path_and_must_be_executable(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    assert [p.wrong for p in wrong("./tool", cwd=str(tmp_path))] == ["there is no such program"]
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert wrong("./tool", cwd=str(tmp_path)) == []
    assert [p.wrong for p in wrong("tool")] == ["there is no such program"]
    assert wrong("tool", environment={"PATH": str(tmp_path)}) == []


@pytest.mark.parametrize(
    "command",
    [
        ["bash", "-c", "generate --prompt {prompt}"],
        ["bash", "-euc", "generate --prompt '{prompt}'"],
        ["env", "A=1", "/bin/sh", "-e", "-c", "x {prompt}"],
        ["{python}", "-c", "print('{prompt}')"],
    ],
)
def test_a_placeholder_inside_code_is_refused_since_a_prompt_would_be_executed(command: list[str]) -> None:
    [problem] = wrong(command)
    assert "would be executed" in problem.wrong
    assert "_ {prompt}" in problem.fix


def test_values_as_arguments_of_code_are_fine() -> None:
    assert wrong(["bash", "-c", 'echo "$1" > "$2"', "_", "{prompt}", "{output}"]) == []
    assert wrong(["env", "-c", "{prompt}"]) == [], "no interpreter"


def test_the_content_of_named_files_identifies_a_program(tmp_path: Path) -> None:
    script, settings, tool = tmp_path / "run.py", tmp_path / "a.yaml", tmp_path / "tool"
    for path in (script, settings, tool):
        path.write_text(f"#!/bin/sh\n# {path.name}\n")
    tool.chmod(0o755)
    program = Program("model", ["./tool", "run.py", "--config=a.yaml", "--p={prompt}", "other.py"], cwd=str(tmp_path))
    assert set(program.identity()) == {"./tool", "run.py", "a.yaml"}
    assert program.identity()["run.py"] == hashlib.sha256(script.read_bytes()).hexdigest()
    before = program.identity()
    settings.write_text("changed")
    assert {name for name, digest in program.identity().items() if digest != before[name]} == {"a.yaml"}
    assert Program("model", [sys.executable, "-V"]).identity() == {}, "an interpreter differs from machine to machine"


def test_a_program_does_not_inherit_what_is_there_for_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/runs/x/.work/code", "/home/me/lib"]))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    monkeypatch.setenv("GENBENCH_PARENT", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    _, environment = Program("model", "sh -c true", {"B": "{seed}", "N": 4}).filled({"seed": "7"})
    assert environment["PYTHONPATH"] == "/home/me/lib"
    assert (environment["B"], environment["N"], environment["CUDA_VISIBLE_DEVICES"]) == ("7", "4", "3")
    assert not {"VIRTUAL_ENV", "PYTHONHOME", "GENBENCH_PARENT"} & set(environment)

    monkeypatch.setenv("PYTHONPATH", "/runs/x/.work/code")
    monkeypatch.setenv("VIRTUAL_ENV", str(Path(sys.executable).parent.parent))
    _, environment = Program("model", ["{python}", "x.py"]).filled({})
    assert "PYTHONPATH" not in environment
    assert environment["PYTHONHOME"] == "/elsewhere", "it is the same interpreter"
    assert environment["VIRTUAL_ENV"]
