"""What a run needs of the machine: a place to write, disk space, interpreters and a launcher. Nothing here leaves a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.config import Config, Frozen
from benchmark.errors import Problem, closest, some
from benchmark.invocation import Plan
from benchmark.ledger import Ledger
from benchmark.model import Requiring, Sized
from benchmark.store import Store

LIGHT = (
    "import sys; assert sys.version_info >= (3, 10), 'Python 3.10 or newer is needed'; "
    "import msgspec, yaml, numpy, PIL, av"
)


def resource_problems(config: Config) -> list[Problem]:
    """Return what is wrong with the launcher, the output root and the workers' interpreters."""
    return [*_launcher(config.compute.launcher), *_output_root(config.output_root), *_interpreters(config)]


def launchers() -> list[str]:
    """Return the names that compute.launcher may have."""
    return launchers_with("launch")


def launchers_with(function: str) -> list[str]:
    """Return the launchers that define a function, found without importing them."""
    spec = find_spec("launchers")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    files = (path for folder in folders for path in folder.glob("*.py"))
    return sorted(path.stem for path in files if f"\ndef {function}(" in path.read_text())


def _launcher(name: str) -> list[Problem]:
    there = launchers()
    if name in there:
        return []
    return [Problem("compute.launcher", "no such launcher", name, some(there), closest(name, there))]


def _output_root(given: str) -> list[Problem]:
    where = _existing(Path(given))
    if where.is_dir() and os.access(where, os.W_OK | os.X_OK) and not _refuses_files(where):
        return []
    wrong = f"{where} can't be written" if where.is_dir() else f"{where} is no folder"
    return [Problem("output_root", wrong, given, fix="choose a folder of yours: output_root=...")]


def _refuses_files(folder: Path) -> bool:
    """Try with a file that never gets a name: root passes every check of permissions, but /proc and /sys take no files."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except OSError:
        return os.statvfs(folder).f_blocks == 0  # no storage behind it; a file system without O_TMPFILE has some
    return False


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _interpreters(config: Config) -> list[Problem]:
    asked = {f"compute.{stage}.python": config.compute.of(stage).python for stage in ("infer", "eval")}
    asked = {where: python for where, python in asked.items() if where.split(".")[1] in config.stages and python}
    if len(set(asked.values())) == 1 and config.compute.python:
        asked = {"compute.python": config.compute.python}
    return [problem for where, python in asked.items() if python for problem in _interpreter(where, python)]


def _interpreter(where: str, python: str) -> list[Problem]:
    path = shutil.which(python)
    if not path:
        return [Problem(where, "no such interpreter", python, fix="give the full path of a Python executable")]
    try:
        tried = subprocess.run([path, "-c", LIGHT], capture_output=True, text=True, check=False)
        lines = ["it does not run", *tried.stderr.strip().splitlines()] if tried.returncode else []
    except OSError as error:
        lines = [str(error)]
    if not lines:
        return []
    fix = f"{python} -m pip install msgspec pyyaml numpy pillow av" if "ModuleNotFound" in lines[-1] else ""
    return [Problem(where, f"can't run a worker: {lines[-1]}", python, "Python 3.10 or newer", fix)]


def package_problems(config: Config, components: Mapping[str, Any]) -> list[Problem]:
    """Return a problem for each component (by config key) whose packages are missing in the interpreter that will run it."""
    problems = []
    for stage in ("infer", "eval"):
        python = config.compute.of(stage).python
        mine = {where: c for where, c in components.items() if (where == "model") == (stage == "infer")}
        wanted = {where: list(c.requires) for where, c in mine.items() if isinstance(c, Requiring)}
        absent = _absent(python, sorted({name for names in wanted.values() for name in names}))
        for where, names in wanted.items():
            if missing := [name for name in names if name in absent]:
                extra = f"'genbench[{'models' if where == 'model' else 'metrics'}]'"
                fix = f"{python} -m pip install {extra}" if python else f"pip install {extra}"
                wrong = f"needs {some(missing)}, not installed {f'in {python}' if python else 'here'}"
                problems.append(Problem(where, wrong, fix=fix))
    return problems


def _absent(python: str | None, names: Sequence[str]) -> set[str]:
    """Return those of the packages that an interpreter lacks; none if it can't tell, which is a problem of its own."""
    if not python:
        return {name for name in names if find_spec(name) is None}
    if not names or not shutil.which(python):
        return set()
    look = "import sys; from importlib.util import find_spec as f; print(*[n for n in sys.argv[1:] if not f(n)])"
    asked = subprocess.run([python, "-c", look, *names], capture_output=True, text=True, check=False)
    return set(asked.stdout.split())


def needed_mb(model: Any, frozen: Frozen, store: Store | None) -> float:
    """Return the disk space that the pending predictions will take, 0 where the model can't tell."""
    if not isinstance(model, Sized) or "infer" not in frozen.stages:
        return 0.0
    done = 0
    if store:
        ledger = Ledger.of(store, "infer", frozen.model_name, [frozen.prediction.fingerprint])
        done = sum(state.ok >= 0 for state in ledger.states.values())
    return model.output_mb() * max(0, frozen.cases.n * frozen.samples - done)


def disk_problems(plans: Sequence[Plan]) -> list[Problem]:
    """Return a problem if what all plans together will write does not fit."""
    root = plans[0].output_root
    where, needed = _existing(root), sum(plan.needed_mb for plan in plans)
    free_mb = shutil.disk_usage(where).free / 1e6
    if needed <= free_mb:
        return []
    wrong = f"too little disk: the outputs will take about {needed:,.0f} MB, {free_mb:,.0f} MB are free in {where}"
    return [Problem("output_root", wrong, str(root), fix="free some, or choose another: output_root=...")]
