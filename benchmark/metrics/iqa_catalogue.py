"""What pyiqa says of its metrics: reference or none, direction, range, options; read without importing pyiqa.

pyiqa imports torch and all its networks, which takes seconds. The file that describes the metrics needs nothing, so the
planner runs that file alone. The source of a class is read for the options that it takes.
"""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.metrics import Measure

PACKAGE = "pyiqa"
OF_SETS = ("fid", "sfid", "fid_dinov2", "inception_score")  # distances of whole sets, not scores of pictures
REFUSED = {
    "fgresq_pair": "gives a quality, a rank and a probability for a pair of pictures, not one number; use fgresq",
}
NEEDS_PACKAGE = {  # beyond what pyiqa itself installs
    **dict.fromkeys(("qalign", "qalign_8bit", "qalign_4bit", "compare2score"), "icecream"),
}


@dataclass(frozen=True)
class Entry:
    """One metric of pyiqa: its class there, whether it compares with a reference, and what its numbers mean."""

    name: str
    kind: str
    full_reference: bool
    lower_better: bool
    range_text: str

    @property
    def measure(self) -> Measure:
        """The metric as a measure; a bound that pyiqa calls rough ("~") is left out."""
        low, high = (_bound(text) for text in (*self.range_text.split(","), "", "")[:2])
        needs = ("reference",) if self.full_reference else ()
        if self.name == "clipscore":
            needs = ("prompt",)
        unit = "dB" if self.kind == "PSNR" else ""
        return Measure(self.name, "lower" if self.lower_better else "higher", low, high, unit, needs)


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return pyiqa's metrics by name, without those of whole sets; nothing if pyiqa is not installed."""
    described = (_folder() or Path("nowhere")) / "default_model_configs.py"
    if not described.is_file():
        return {}
    configs: Mapping[str, Any] = runpy.run_path(str(described))["DEFAULT_CONFIGS"]
    return {
        name: Entry(
            name,
            config["metric_opts"]["type"],
            config.get("metric_mode") == "FR",
            bool(config.get("lower_better")),
            str(config.get("score_range") or ""),
        )
        for name, config in configs.items()
        if name not in OF_SETS and name not in REFUSED
    }


def pyiqa_version() -> str:
    """Return the installed version of pyiqa, or "" if there is none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""


def options_of(entry: Entry) -> tuple[str, ...] | None:
    """Return the options that the metric's class takes, or None if its source does not tell (it takes any)."""
    for source in sorted(((_folder() or Path()) / "archs").glob("*_arch.py")):
        text = source.read_text(encoding="utf-8")
        if f"class {entry.kind}(" not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name == entry.kind:
                return _arguments(node)
    return None


def _arguments(definition: ast.ClassDef) -> tuple[str, ...] | None:
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            given = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
            return None if node.args.kwarg else tuple(given[1:])
    return ()


def _folder() -> Path | None:
    spec = find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def _bound(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", text) else None
