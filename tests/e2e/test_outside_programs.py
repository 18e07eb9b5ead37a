"""Outside programs in whole runs: a lab's script, an evaluator, what they do badly, and how they end with their worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, until

from benchmark.process import process_start

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "outside_script"
PYTHON = sys.executable


def option(bench: Bench, name: str, settings: dict[str, Any], head: str = "") -> None:
    """Write an option into the folder `conf`, as YAML, of which JSON is a part."""
    path = bench.folder / "conf" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}\n{json.dumps(settings)}\n")


def model(bench: Bench, script: str, **settings: Any) -> None:
    """Make a model of a script, which finds the picture's move as its second word."""
    (bench.folder / "generate.py").write_text(script)
    command = [PYTHON, "generate.py", *settings.pop("words", ["{output}", "{fields.move}"])]
    option(bench, "model/script", {"_target_": "benchmark.model.command.Command", "command": command, **settings})


def metric(bench: Bench, name: str, script: str, **settings: Any) -> None:
    (bench.folder / f"{name}.sh").write_text(script)
    target = {
        "_target_": "benchmark.metrics.outside.command.Command",
        "command": f"bash {name}.sh {{output}} {{scores}}",
    }
    option(bench, f"metrics/{name}", {**target, **settings}, f"# @package metrics.{name}")


def run(bench: Bench, *words: str, **environment: str) -> tuple[int, str]:
    return bench.run("--config-dir", "conf", *words, studio=False, TMPDIR=str(temporary(bench)), **environment)


def temporary(bench: Bench) -> Path:
    path = bench.folder / "tmp"
    path.mkdir(exist_ok=True)
    return path


def errors(bench: Bench, kind: str = "predictions") -> dict[str, str]:
    """Return the first line of each failed record's error, by the case's move."""
    failed = [record for record in bench.records(kind) if record["status"] == "failed"]
    return {record["case_id"].partition("-")[2]: record["error"].splitlines()[0] for record in failed}


@pytest.mark.slow
def test_a_script_and_a_shell_script_as_a_stranger_uses_them(bench: Bench) -> None:
    shutil.copytree(EXAMPLE, bench.folder, dirs_exist_ok=True)
    assert len((EXAMPLE / "conf/model/my_script.yaml").read_text().splitlines()) <= 10
    (bench.folder / "hostile.txt").write_text(
        'it\'s "two" $(touch hacked) `touch hacked`\n字 {seed}; --out\n\n--help\n'
    )
    script = 'printf \'{"bytes": %s}\' "$(wc -c < "$1")" > "$2"'
    metric(bench, "size", script, measures={"bytes": {"direction": "lower", "low": 0, "unit": "B"}})
    path = os.pathsep.join([str(Path(PYTHON).parent), os.environ["PATH"]])

    code, output = run(
        bench, "model=my_script", "dataset=prompt_file", "dataset.path=hostile.txt", "metrics=[size]", PATH=path
    )

    assert code == 0, output
    assert "size/bytes ↓ B" in output
    predictions = bench.records("predictions")
    sizes = {record["case_id"]: record["value"] for record in bench.records("scores")}
    assert sizes == {r["case_id"]: (bench.latest / r["files"]["video"]).stat().st_size for r in predictions}
    assert len(sizes) == 3
    log = (bench.latest / "logs/infer/w0.log").read_text()
    assert "[generate.py] painting '--help'" in log
    assert not list(bench.folder.rglob("hacked"))
    assert list(temporary(bench).iterdir()) == []


BAD = """
import shutil, sys, time
import av, numpy as np
out, move = sys.argv[1:3]
print("asked for", move, file=sys.stderr)
if move == "pan_left": open(out, "w").write("I am no video")
elif move == "pan_right": pass
elif move == "zoom_in": sys.exit("out of memory")
elif move == "zoom_out": time.sleep(600)
else:
    with av.open(out, "w") as video:
        stream = video.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        video.mux(stream.encode())
    if move == "tilt_up":
        data = bytearray(open(out, "rb").read())
        data[200:-1200] = bytes(len(data) - 1400)
        open(out, "wb").write(data)
"""
SCORE = """
case "$1" in
  *roll*) echo "out of luck" >&2; exit 4;;
  *static*) echo '{"luck": null}' > "$2";;
  *) echo '{"luck": 0.5}' > "$2";;
esac
"""


@pytest.mark.slow
def test_whatever_a_program_does_badly_is_a_failed_record_and_the_rest_is_done(bench: Bench) -> None:
    model(bench, BAD, timeout_min=0.1)
    metric(bench, "luck", SCORE, measures={"luck": {"direction": "higher"}})

    code, output = run(bench, "model=script", "dataset.pictures=[coffee]", "metrics=[luck]")

    assert code == 1, output
    found = errors(bench)
    assert "coffee-tilt_up-0.mp4 is damaged" in found.pop("tilt_up"), "only found when it is decoded"
    assert found == {
        "pan_left": "ValueError: generate.py left no readable video",
        "pan_right": "FileNotFoundError: generate.py ended without an error but left no video",
        "zoom_in": "ChildProcessError: generate.py ended with exit code 1: out of memory",
        "zoom_out": "TimeoutError: generate.py was not done after timeout_min=0.1",
    }
    assert errors(bench, "scores") == {
        "roll": "ChildProcessError: luck.sh ended with exit code 4: out of luck",
        "static": "ValueError: the evaluator gave no luck",
    }
    assert bench.summary()["predictions"] == {"expected": 8, "ok": 3, "failed": 5, "missing": 0}
    assert bench.summary()["metrics"]["luck/luck"]["overall"]["mean"] == 0.5
    record = next(r for r in bench.records("predictions") if r["case_id"] == "coffee-zoom_in")
    assert "\n  asked for zoom_in\n" in record["error"]
    assert list(temporary(bench).iterdir()) == []


STAYS = """
import json, os, subprocess, sys, time
from PIL import Image
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
with open("pids", "a") as file: file.write(f"{os.getpid()} {child.pid}\\n")
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    with open("asked", "a") as file: file.write(f"{asked['case_id']}\\n")
    while os.path.exists("hold"): time.sleep(0.01)
    Image.new("RGB", (8, 8), (9, 9, 9)).save(asked["output"])
    print(json.dumps({"output": asked["output"]}), flush=True)
"""


def pids(bench: Bench) -> list[int]:
    path = bench.folder / "pids"
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def lives(pid: int) -> bool:
    return bool(process_start(pid))


def start(bench: Bench) -> Any:
    words = ("--config-dir", "conf", "model=script", "mode=infer", "metrics=[]", "limit=6", "name=x")
    return bench.start(*words, studio=False, TMPDIR=str(temporary(bench)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_stays_ends_with_its_worker_and_starts_with_the_next(bench: Bench) -> None:
    model(bench, STAYS, words=[], output="image", protocol="lines")
    (bench.folder / "hold").touch()
    process = start(bench)
    until(lambda: (bench.folder / "asked").exists())
    first = pids(bench)
    assert len(first) == 2 and all(map(lives, first))
    [worker] = bench.workers()

    os.killpg(worker, signal.SIGKILL)
    until(lambda: not any(map(lives, first)))
    (bench.folder / "hold").unlink()
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0, output
    assert len(pids(bench)) == 4, "it was loaded once by each worker life"
    assert bench.summary()["predictions"]["ok"] == 6
    until(lambda: not any(map(lives, pids(bench))))
    until(lambda: not list(temporary(bench).iterdir()))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_what_a_worker_and_its_supervisor_leave_when_both_are_killed_goes_with_the_next_worker(bench: Bench) -> None:
    model(bench, STAYS, words=[], output="image", protocol="lines")
    (bench.folder / "hold").touch()
    process = start(bench)
    until(lambda: (bench.folder / "asked").exists())
    program, child = pids(bench)
    [worker] = bench.workers()
    [left] = temporary(bench).iterdir()
    supervisor = int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])

    os.killpg(worker, signal.SIGSTOP)  # it does not tidy up
    os.kill(supervisor, signal.SIGKILL)
    os.killpg(worker, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)  # nobody is left who would
    assert left.exists()
    (bench.folder / "hold").unlink()
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0, output
    assert bench.summary()["predictions"]["ok"] == 6
    until(lambda: not list(temporary(bench).iterdir()))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_when_all_of_us_is_killed_no_program_is_left(bench: Bench) -> None:
    script = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
with open("pids", "a") as file: file.write(f"{os.getpid()} {child.pid}\\n")
time.sleep(600)
"""
    model(bench, script)
    process = start(bench)
    until(lambda: len(pids(bench)) == 2)
    bench.kill_all(process)
    assert until(lambda: not any(map(lives, pids(bench))))
    assert until(lambda: not list(temporary(bench).iterdir()))


def test_a_second_interrupt_ends_the_program_at_once(bench: Bench) -> None:
    model(bench, STAYS, words=[], output="image", protocol="lines")
    (bench.folder / "hold").touch()
    process = start(bench)
    until(lambda: (bench.folder / "asked").exists())
    process.send_signal(signal.SIGINT)
    assert process.stdout
    until(lambda: "again to stop now" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    until(lambda: not any(map(lives, pids(bench))))


def test_mistakes_are_told_before_anything_starts(bench: Bench) -> None:
    model(bench, "", words=["{outptu}"], environment={"A": "{sede}"})
    metric(bench, "luck", "", measures={"luck": {"direction": "up"}})
    (bench.folder / "generate.py").unlink()
    code, output = run(bench, "model=script", "metrics=[luck]")
    assert code == 2, output
    assert "there is no such script" in output
    assert "did you mean `output`" in output
    assert "model.environment.A" in output
    assert "metrics.luck.measures.luck.direction: unknown direction" in output
    assert not (bench.folder / "outputs").exists()


def test_a_changed_script_is_another_model(bench: Bench) -> None:
    model(bench, "print('a')", words=["{prompt}"], output="text")
    assert run(bench, "model=script", "mode=infer", "metrics=[]", "limit=2", "name=x")[0] == 0
    (bench.folder / "generate.py").write_text("print('b')")
    code, output = run(bench, "model=script", "mode=infer", "metrics=[]", "limit=2", "name=x", "reuse=latest")
    assert code == 2, output
    assert "model.identity.generate.py" in output


def test_options_can_be_swept(bench: Bench) -> None:
    words = ["{options.steps}"]
    model(bench, "import sys; print(sys.argv[1])", words=words, output="text", options={"steps": 30})
    code, output = run(
        bench, "-m", "model=script", "mode=infer", "metrics=[]", "limit=1", "model.options.steps=10,20", "name=x"
    )
    assert code == 0, output
    files = bench.folder.glob("outputs/x/2*/*/predictions/*/predictions.jsonl")
    assert sorted(json.loads(file.read_text())["text"] for file in files) == ["10", "20"]
