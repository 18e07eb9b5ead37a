"""What the benchmarks share: runs laid out without Hydra, and one way to print a ratio."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STUDIO = HERE.parent / "e2e"  # the package `studio`: a text model, a dataset, metrics
for folder in (HERE.parent.parent, STUDIO):
    sys.path.insert(0, str(folder))

from benchmark.config import Frozen, typed  # noqa: E402
from benchmark.freeze import freeze  # noqa: E402
from benchmark.plan import Invocation, plan  # noqa: E402
from benchmark.store import Store  # noqa: E402


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder beside the outputs: /tmp may lie on another, slower or faster, file system."""
    folder = HERE.parent.parent / "outputs"
    folder.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=folder, prefix=".bench-")


def text_run(root: Path, n: int, **settings: Any) -> tuple[Store, Frozen]:
    """Freeze a run of `n` text cases and one metric below `root`; `settings` override the top level of the config."""
    plain: dict[str, Any] = {
        "model": {"_target_": "studio.parts.Echo"},
        "dataset": {"_target_": "studio.parts.Numbers", "n": n},
        "prompts": {"_target_": "benchmark.prompts.plain.Plain"},
        "metrics": {"length": {"_target_": "studio.parts.Length"}},
        "media": {},
        "compute": {},
        "plugins": ["studio"],
        "output_root": str(root),
        "name": "bench",
        "reuse": None,
    }
    return frozen_run(plain | settings)


def frozen_run(plain: dict[str, Any], model: str = "echo", dataset: str = "numbers") -> tuple[Store, Frozen]:
    """Plan and freeze a plain config, as the command line would."""
    config, problems = typed(plain)
    assert config is not None, problems
    planned = plan(Invocation(config, model, dataset))
    return freeze(planned), planned.frozen


def report(name: str, ratio: float, target: str, detail: str) -> None:
    """Print one benchmark's ratio, its target, and what it was made of."""
    print(f"{name}: {ratio:.2f}x ({target}); {detail}", flush=True)
