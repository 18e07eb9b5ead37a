"""A stranger's view of genbench: commands in an empty folder, nothing but their output and files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
UNSTABLE = ("latency_s", "worker", "peak_memory_gb", "attempt")


def until(true: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Return the first true value; fail when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := true():
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {timeout_s} s")


class Bench:
    """genbench in a folder of its own, with the studio's components at hand."""

    studio = (
        "--config-dir",
        str(HERE / "conf"),
        "plugins=[studio]",
        "model=echo",
        "dataset=numbers",
        "metrics=[length]",
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trace = folder / "trace.txt"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, studio: bool = True, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmark", *(self.studio if studio else ()), *arguments]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(HERE), "COLUMNS": "160", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str, studio: bool = True, timeout_s: float = 120, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, studio=studio, **environment)
        output, _ = process.communicate(timeout=timeout_s)
        return process.returncode, output

    def command(self, *words: str) -> tuple[int, str]:
        return self.run(*words, studio=False)

    def kill_all(self, process: subprocess.Popen[str]) -> None:
        """SIGKILL the driver and its workers at the same moment, as an out-of-memory killer or a reboot does."""
        workers = self.workers()
        process.send_signal(signal.SIGKILL)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        process.wait()

    def workers(self) -> list[int]:
        """Return the process ids of the workers that work below this folder."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"benchmark.worker" in words and any(word.startswith(str(self.folder).encode()) for word in words):
                found.append(int(path.parent.name))
        return found

    @property
    def runs(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("outputs/*/2*/cases.jsonl"))

    @property
    def latest(self) -> Path:
        return next(iter(self.folder.glob("outputs/*/latest"))).resolve()

    def records(self, kind: str, run: Path | None = None) -> list[dict[str, Any]]:
        """Return the merged records of a run without what may differ from try to try."""
        pattern = "predictions/*/predictions.jsonl" if kind == "predictions" else "results/*/scores.jsonl"
        file = next((run or self.latest).glob(pattern))
        records = [json.loads(line) for line in file.read_text().splitlines()]
        return [{key: value for key, value in record.items() if key not in UNSTABLE} for record in records]

    def summary(self, run: Path | None = None) -> dict[str, Any]:
        return json.loads(next((run or self.latest).glob("results/*/summary.json")).read_text())

    def asked(self) -> list[str]:
        """Return the cases that the model was asked for, in order, over all lives."""
        return self.trace.read_text().split() if self.trace.exists() else []

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()
