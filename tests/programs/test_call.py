"""Calls of real programs: what they get, how they end, and that nothing of them is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workshop.runs import until

from benchmark.process import process_start
from benchmark.programs import Program
from benchmark.programs.call import Capture, call
from benchmark.programs.running import SUPERVISOR

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, *words: str, **other: object) -> Program:
    return Program("model", ["{python}", "-c", code, *words], **other)  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    return not process_start(pid)


def number_in(path: Path) -> int:
    """Return the process id that a program has written, once it is there."""
    return int(until(lambda: path.exists() and path.read_text().strip()))


HOSTILE = """it's "two"
lines; $(touch hacked) `touch hacked` && 字 {seed} \\ * ~ --help"""


def test_a_prompt_arrives_as_it_is(tmp_path: Path) -> None:
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['P'], os.getcwd()]))"
    program = python(code, "{prompt}", "--p={prompt}", environment={"P": "{prompt}"}, cwd=str(tmp_path))
    capture = Capture()
    call(program, {"prompt": HOSTILE}, tmp_path, None, capture)
    assert json.loads(capture.text) == [[HOSTILE, f"--p={HOSTILE}"], HOSTILE, str(tmp_path)]
    capture = Capture()
    call(
        Program("model", ["bash", "-c", 'printf %s "$1"', "_", "{prompt}"]),
        {"prompt": HOSTILE},
        tmp_path,
        None,
        capture,
    )
    assert capture.text == HOSTILE
    assert not list(tmp_path.glob("*hacked*"))


def test_output_goes_to_the_log_as_it_comes(tmp_path: Path) -> None:
    code = """
import sys, time, pathlib
print("first", flush=True)
print("on stderr", file=sys.stderr, flush=True)
while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)
"""
    driver = f"""
from pathlib import Path
from benchmark.programs import Program
from benchmark.programs.call import call
call(Program("model", ["{{python}}", "-c", {code!r}, {str(tmp_path / "go")!r}]), {{}}, Path({str(tmp_path)!r}), None)
"""
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", driver], stderr=file, cwd=ROOT)
    until(lambda: sorted(log.read_text().splitlines()) == ["[python] first", "[python] on stderr"])
    assert process.poll() is None
    (tmp_path / "go").touch()
    assert process.wait(10) == 0


def test_megabytes_on_both_streams_do_not_stop_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = """
import os, threading
def shout(stream):
    for _ in range(64): os.write(stream, (b"x" * 1023 + b"\\n") * 64)
threads = [threading.Thread(target=shout, args=(stream,)) for stream in (1, 2)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
os.write(1, b"\\xff\\r 50 %\\r100 %\\n")
"""
    call(python(code), {}, tmp_path, 1)
    shown = capfd.readouterr().err.splitlines()
    assert sum(line == f"[python] {'x' * 1023}" for line in shown) == 2 * 64 * 64
    assert "[python] 100 %" in shown


def test_an_exit_code_fails_with_the_last_words(tmp_path: Path) -> None:
    code = "import sys; print('painting'); sys.exit('no such colour: 字')"
    with pytest.raises(ChildProcessError) as raised:
        call(python(code), {}, tmp_path, None)
    head, *words = str(raised.value).splitlines()
    assert head == "python ended with exit code 1: no such colour: 字"
    assert {word.strip() for word in words} == {"painting", "no such colour: 字"}


def test_a_program_killed_by_a_signal_says_so(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match=r"^bash was killed by SIGSEGV"):
        call(Program("model", ["bash", "-c", "kill -SEGV $$"]), {}, tmp_path, None)


@pytest.mark.parametrize(("command", "why"), [("./nothing", "No such file"), ("./data", "Permission denied")])
def test_a_program_that_can_not_be_started_says_why(tmp_path: Path, command: str, why: str) -> None:
    (tmp_path / "data").write_text("no program")
    with pytest.raises(ChildProcessError, match=f"can't be started: .*{why}"):
        call(Program("model", [command], cwd=str(tmp_path)), {}, tmp_path, None)


@pytest.mark.parametrize("word", ["a\0b", "x" * 200_000])
def test_words_that_no_program_can_be_given(tmp_path: Path, word: str) -> None:
    with pytest.raises(ValueError, match="can't be given"):
        call(Program("model", ["true", "{prompt}"]), {"prompt": word}, tmp_path, None)


def test_after_its_time_a_program_is_ended_with_its_grandchildren(tmp_path: Path) -> None:
    script = """
trap '' TERM
setsid sleep 600 &
echo $! > "$1/away"
(trap '' TERM; sleep 600 & echo $! > "$1/inside"; wait) &
echo waiting for ever
wait; wait
"""
    start = time.monotonic()
    with pytest.raises(TimeoutError) as raised:
        call(Program("model", ["bash", "-c", script, "_", str(tmp_path)]), {}, tmp_path, 0.02)
    assert str(raised.value).splitlines() == ["bash was not done after timeout_min=0.02", "  waiting for ever"]
    assert time.monotonic() - start < 10
    for name in ("away", "inside"):
        assert gone(number_in(tmp_path / name)), name


def test_a_program_may_clean_up_when_its_time_is_over(tmp_path: Path) -> None:
    script = """trap 'echo cleaned up > "$1/note"; exit 0' TERM; touch "$1/on"; while :; do sleep 0.05; done"""
    with pytest.raises(TimeoutError):
        call(Program("model", ["bash", "-c", script, "_", str(tmp_path)]), {}, tmp_path, 0.02)
    assert (tmp_path / "note").read_text() == "cleaned up\n"


def test_what_a_program_leaves_running_is_ended_and_does_not_hold_us_up(tmp_path: Path) -> None:
    script = 'sleep 600 & echo $! > "$1/left"; echo done'
    start = time.monotonic()
    log = call(Program("model", ["bash", "-c", script, "_", str(tmp_path)]), {}, tmp_path, None)
    assert time.monotonic() - start < 10
    assert log.last_line() == "done"
    assert gone(number_in(tmp_path / "left"))


def victim(tmp_path: Path) -> tuple[subprocess.Popen[bytes], int, int]:
    """Return a process that calls a program, the program's process id and that of its child in another session."""
    (tmp_path / "folder").mkdir()
    script = 'echo $$ > "$1/program"; setsid sleep 600 & echo $! > "$1/child"; wait'
    driver = f"""
from pathlib import Path
from threading import Thread
from benchmark.programs import Program
from benchmark.programs.call import call
program = Program("model", ["bash", "-c", {script!r}, "_", {str(tmp_path)!r}])
thread = Thread(target=call, args=(program, {{}}, Path({str(tmp_path / "folder")!r}), None))
thread.start()
"""
    process = subprocess.Popen([sys.executable, "-c", driver], cwd=ROOT, start_new_session=True)
    return process, number_in(tmp_path / "program"), number_in(tmp_path / "child")


def test_the_death_of_the_caller_leaves_no_program_and_no_folder_behind(tmp_path: Path) -> None:
    process, program, child = victim(tmp_path)
    assert not gone(program) and not gone(child)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: gone(program) and gone(child))
    until(lambda: not (tmp_path / "folder").exists())


def supervisor_of(program: int) -> int:
    return int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel of this system does not end children")
def test_the_death_of_the_supervisor_ends_the_program_and_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process, program, child = victim(tmp_path)
    try:
        supervisor = supervisor_of(program)
        assert SUPERVISOR.name in Path(f"/proc/{supervisor}/cmdline").read_text()
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: gone(program))
        process.wait(20)
    finally:
        os.kill(child, signal.SIGKILL)  # of another session: nobody is left who knew of it
    assert "ChildProcessError: bash was lost, since its supervisor was killed" in capfd.readouterr().err


def test_stdin_is_empty_and_interrupts_are_not_ignored(tmp_path: Path) -> None:
    code = "import signal, sys; print(repr(sys.stdin.read()), signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a worker does
    try:
        capture = Capture()
        call(python(code), {}, tmp_path, 1, capture)
    finally:
        signal.signal(signal.SIGINT, before)
    assert capture.text == "'' True"


def test_our_own_files_are_not_inherited(tmp_path: Path) -> None:
    capture = Capture()
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        call(Program("model", ["bash", "-c", "ls /proc/self/fd | wc -l"]), {}, tmp_path, 1, capture)
    assert int(capture.text) <= 4, "stdin, stdout, stderr and the folder that ls reads"


def test_text_on_stdout_is_taken_whole_and_must_be_utf8(tmp_path: Path) -> None:
    capture = Capture()
    call(python("print('ä' * 1_000_000); print()"), {}, tmp_path, 1, capture)
    assert capture.text == "ä" * 1_000_000
    capture = Capture()
    call(python("import os; os.write(1, b'\\xff')"), {}, tmp_path, 1, capture)
    with pytest.raises(UnicodeDecodeError):
        _ = capture.text
