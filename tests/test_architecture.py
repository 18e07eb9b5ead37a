"""Imports point forward only, what must start fast imports nothing heavy, and workers need only the light dependencies."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "benchmark"
# From what depends on nothing to what depends on all; a name stands for all modules below it.
ORDER = [
    "errors", "names", "records", "media", "framing", "clip", "weights", "process", "programs",
    "model", "prompts", "dataset", "metrics",
    "build", "journal", "store", "claims", "merge", "ledger", "config",
    "report.statistics", "report.timing",
    "cases", "needs", "invocation", "reuse", "components", "fitting", "fetch",
    "leaks", "resources", "settings", "existing", "plan",
    "devices", "freeze", "sweep",
    "progress", "display",
    "guard", "outputs", "infer", "scoring", "evaluate", "drain", "worker",
    "report", "retention", "run",
    "dry_run", "start", "commands",
    "quoting", "mistakes", "cli", "__main__",
]  # fmt: skip
HEAVY = ("torch", "cv2", "numpy", "scipy", "rich", "PIL", "av", "skimage", "sklearn")
HYDRA = ("hydra", "omegaconf", "antlr4")
LIGHT_MODULES = (
    "cli",
    "plan",
    "store",
    "claims",
    "sweep",
    "start",
    "reuse",
    "freeze",
    "commands",
    "dry_run",
    "report.summary",
)
SEE_HYDRA = {"cli", "config", "mistakes", "quoting"}


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    found.pop("")
    return found


def rank(module: str) -> int:
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in ORDER:
            return ORDER.index(".".join(parts[:n]))
    raise AssertionError(f"benchmark.{module} has no place in ORDER: give it one")


def imported(path: Path) -> set[str]:
    """All modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_forward_only(module: str) -> None:
    for name in imported(modules()[module]):
        if name.startswith("benchmark.") and (target := name.removeprefix("benchmark.")) in modules():
            assert rank(target) <= rank(module), f"benchmark.{module} imports {name}, which comes later in ORDER"
        if name.split(".")[0] == "launchers":
            assert module == "start", f"benchmark.{module} imports {name}"


@pytest.mark.parametrize("module", sorted(modules()))
def test_only_the_command_line_sees_hydra(module: str) -> None:
    seen = {name.split(".")[0] for name in imported(modules()[module])} & set(HYDRA)
    assert not seen or module in SEE_HYDRA


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def test_what_starts_fast_imports_nothing_heavy() -> None:
    imports = "\n".join(f"import benchmark.{module}" for module in LIGHT_MODULES)
    done = python(f"{imports}\nimport sys\nprint(*[m for m in {(*HEAVY, *HYDRA)!r} if m in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_worker_needs_only_the_light_dependencies() -> None:
    code = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {("rich", "scipy", "cv2", "skimage", "sklearn", "torch", "submitit", *HYDRA)!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
import benchmark.worker, benchmark.evaluate, benchmark.infer, benchmark.media
from benchmark.build import build
from benchmark.model import Model
built, problems = build({{"_target_": "benchmark.model.ken_burns.KenBurns"}}, (Model,), "model", [])
assert built and not problems, problems
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_a_dry_run_imports_nothing_heavy() -> None:
    code = f"""
import sys
from benchmark.cli import main
assert main(["dry_run=true"]) == 0
print("HEAVY", *[m for m in {HEAVY!r} if m in sys.modules])
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno and node.end_lineno - node.lineno < 50, f"{path.name}: {node.name}"
