"""Work folders: what a killed process has left is removed by the next one, and messages don't tell their names."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmark.process import process_start
from benchmark.programs.folder import OWNED, WorkFolder, bare, named_plainly

ROOT = Path(__file__).resolve().parents[2]
MAKE = """
import sys
from benchmark.programs.folder import WorkFolder
folder = WorkFolder()
(folder.path / "big").write_text("x")
print(folder.path, flush=True)
sys.stdin.read()
"""


def maker(below: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that has a work folder until its stdin is closed."""
    environment = {**os.environ, "TMPDIR": str(below)}
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE],
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=30)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_folders_of_the_killed_are_removed_and_no_others(tmp_path: Path) -> None:
    dead, left = maker(tmp_path)
    owner = OWNED.fullmatch(left.name)
    assert owner and owner["pid"] == str(dead.pid) and owner["start"] == process_start(dead.pid)
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    boot, namespace = owner["kernel"].split("-")
    other_boot = f"{int(boot, 16) ^ 1:08x}"
    names = [
        left.name.replace(boot, other_boot, 1),
        left.name.replace(f"-{namespace}-", f"-{int(namespace) + 1}-", 1),
        "genbench-lts6kc8b",
        "genbench-results",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    living, held = maker(tmp_path)
    assert not left.exists()
    last, mine = maker(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([held.name, mine.name, *names])
    end(last)
    end(living)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_pid_that_another_process_got_is_not_its_owner(tmp_path: Path) -> None:
    living, held = maker(tmp_path)
    former = tmp_path / held.name.replace(f"-{process_start(living.pid)}-", "-1-")
    former.mkdir()
    last, _ = maker(tmp_path)
    assert held.exists() and not former.exists()
    end(last)
    end(living)


@pytest.mark.parametrize("inside", [False, True])
def test_first_lines_have_relative_names(inside: bool) -> None:
    outer = WorkFolder()
    folder = WorkFolder(inside=outer if inside else None)
    path = folder.path
    assert (
        named_plainly(f"no a.json in {path}; there: b\nsee {path}")
        == f"no a.json in its work folder; there: b\nsee {path}"
    )
    assert named_plainly(f"can't read '{path}/outputs/a.mp4': --out={path}/x") == "can't read 'outputs/a.mp4': --out=x"
    assert named_plainly(f"File {path}/") == "File its work folder/"
    assert "genbench-" not in named_plainly(f"cut {str(path)[:-5]}")
    mine = "/home/me/genbench-results/a.mp4 and /data/genbench-deadbeef/b"
    assert named_plainly(mine) == mine


def test_a_temporary_folder_may_have_spaces_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "my own (tmp)"
    below.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(below))
    assert named_plainly(f"lost {WorkFolder().path}/a b.mp4") == "lost a b.mp4"


def test_an_exception_keeps_its_kind_and_its_number() -> None:
    path = WorkFolder().path
    full = bare(OSError(28, "No space left on device", f"{path}/x"))
    assert isinstance(full, OSError) and full.errno == 28 and not re.search("genbench", str(full))

    class Odd(ValueError):
        def __init__(self, one: str, two: str) -> None:
            super().__init__(one + two)

    assert str(bare(Odd("a", "b"))) == "ab"
