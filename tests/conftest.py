"""A user's own package and configs, made in an empty folder, and commands run there in this process."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PARTS = '''
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal
from benchmark.metrics import Measure
from benchmark.records import Case


@dataclass
class Echo:
    style: Literal["plain", "loud"] = "plain"
    tempo: float = 1.0
    more: dict | None = None
    disk_mb: float = 0.0
    batch_size: int = 1
    version: ClassVar[str] = "1"
    output: ClassVar[str] = "text"
    needs: ClassVar[tuple] = ()
    execution_only: ClassVar[tuple] = ("batch_size",)

    def output_mb(self):
        return self.disk_mb

    def load(self, device):
        pass

    def generate(self, requests):
        return [f"{r.prompt} {r.seed} {self.style}" for r in requests]


@dataclass
class Rows:
    root: Path
    version: ClassVar[str] = "1"

    def cases(self):
        for row in json.loads((self.root / "rows.json").read_text()):
            inputs = {role: str(self.root / name) for role, name in row.pop("inputs", {}).items()}
            yield Case(**row, inputs=inputs)


@dataclass
class Length:
    scale: float = 1.0
    reference: bool = False
    batch_size: int = 1
    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple] = ("text",)
    execution_only: ClassVar[tuple] = ("batch_size",)

    @property
    def measures(self):
        return (Measure("length", "neither", needs=("reference",) if self.reference else ()),)

    def load(self, device):
        pass

    def score(self, items):
        return [{"length": self.scale * len(item.prediction.text)} for item in items]


@dataclass
class Loud:
    """Everything but `version`, `render` and a quiet constructor."""

    def __post_init__(self):
        Path("touched").write_text("constructed")


class Fragile:
    version = "1"
    output = "text"
    needs = ()
    batch_size = 1

    def __init__(self, gauge: "OnlyForTypeCheckers" = None):
        raise RuntimeError("no gauge here")

    def load(self, device): ...
    def generate(self, requests): ...
'''
CONF = {
    "model/echo": "_target_: lab.parts.Echo\nstyle: plain\ntempo: 1.0\nmore: null\ndisk_mb: 0.0\nbatch_size: 1\n",
    "dataset/rows": "_target_: lab.parts.Rows\nroot: rows\n",
    "metrics/length": "# @package metrics.length\n_target_: lab.parts.Length\nscale: 1.0\nreference: false\nbatch_size: 1\n",
    "experiment/six": "# @package _global_\nlimit: 6\n",
}


class Said(NamedTuple):
    """What a command ended with and said."""

    code: int
    out: str
    err: str

    def problems(self) -> int:
        """The number of numbered problems, which must agree with the head line."""
        lines = [line for line in self.err.splitlines() if line[:4].strip().rstrip(".").isdigit()]
        numbered = [line for line in self.err.splitlines() if line.lstrip()[:1].isdigit() and ". " in line[:6]]
        assert lines or self.code != 2, self.err
        head = next(line for line in self.err.splitlines() if "nothing was started" in line)
        assert head.startswith(f"{len(numbered)} problem"), self.err
        return len(numbered)


class Lab:
    """A folder with the user's package `lab`, options for it, a dataset of 12 rows in 3 categories, and a picture."""

    options = ("--config-dir", "conf", "plugins=[lab]", "model=echo", "dataset=rows", "metrics=[length]")

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capfd = folder, capfd
        (folder / "lab").mkdir()
        (folder / "lab" / "__init__.py").touch()
        (folder / "lab" / "parts.py").write_text(PARTS)
        (folder / "lab" / "broken.py").write_text("raise RuntimeError('the licence server is away')\n")
        for name, text in CONF.items():
            self.option(name, text)
        self.rows([self.row(i) for i in range(12)])

    @staticmethod
    def row(i: int, **other: Any) -> dict[str, Any]:
        return {"id": f"c{i:02d}", "category": ("red", "green", "物理")[i % 3], "prompt": f"case {i}", **other}

    def rows(self, rows: list[dict[str, Any]], root: str = "rows") -> None:
        (self.folder / root).mkdir(exist_ok=True)
        (self.folder / root / "rows.json").write_text(json.dumps(rows))

    def picture(self, name: str, shade: int, root: str = "rows") -> None:
        from PIL import Image

        Image.new("RGB", (8, 8), (shade, 0, 0)).save(self.folder / root / name)

    def option(self, name: str, text: str) -> None:
        path = self.folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def bare(self, *words: str) -> Said:
        """Run a command in this process."""
        from benchmark.cli import main

        self._capfd.readouterr()
        root = logging.getLogger()  # Hydra leaves a handler on the output of the command before
        for handler in [handler for handler in root.handlers if type(handler) is logging.StreamHandler]:
            root.removeHandler(handler)
        try:
            code = main(words)
        except SystemExit as leaving:
            code = leaving.code
        return Said(code, *self._capfd.readouterr())

    def __call__(self, *words: str) -> Said:
        """Run a command with the lab's components."""
        return self.bare(*self.options, *words)

    def refuse(self, *words: str) -> Said:
        """Run a command that must be refused: exit 2, no traceback, not a trace on the disk."""
        before = self.tree()
        said = self(*words)
        assert said.code == 2, said
        assert "Traceback" not in said.err + said.out
        assert self.tree() == before
        return said

    def run(self, *words: str) -> Said:
        """Do a run in this process, without workers."""
        return self("debug=true", *words)

    def runs(self, name: str = "echo-rows") -> list[str]:
        return sorted(path.name for path in (self.folder / "outputs" / name).glob("2*"))

    def tree(self) -> dict[str, tuple[int, int]]:
        """Everything below the folder but compiled Python, with size and time of change."""
        paths = (path for path in self.folder.rglob("*") if "__pycache__" not in path.parts)
        kept = {str(path): path.lstat() for path in paths}
        return {name: (found.st_size, found.st_mtime_ns) for name, found in kept.items() if "__pycache__" not in name}

    def copy_rows(self, to: str) -> None:
        shutil.copytree(self.folder / "rows", self.folder / to)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    """The user's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Lab(tmp_path, capfd)
    for name in [name for name in sys.modules if name.split(".")[0] == "lab"]:
        del sys.modules[name]


@pytest.fixture
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the timestamp that new runs get."""

    def set_to(stamp: str) -> None:
        import benchmark.freeze
        import benchmark.sweep

        monkeypatch.setattr(benchmark.freeze, "stamp", lambda: stamp)
        monkeypatch.setattr(benchmark.sweep, "stamp", lambda: stamp)

    return set_to
