"""Freezing: making the run folder of a plan, from which workers will read everything."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import yaml

from benchmark.config import Frozen
from benchmark.devices import visible_gpus
from benchmark.errors import Problem, UserError
from benchmark.invocation import Plan
from benchmark.store import Store, is_disk_full, point_latest, reserve

PACKAGES = (
    "genbench",
    "hydra-core",
    "numpy",
    "av",
    "pillow",
    "opencv-python-headless",
    "scikit-image",
    "scipy",
)
MODEL_PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "peft", "pyiqa", "openai-clip")
VARIABLES = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TORCH_HOME", "SLURM_JOB_ID")


def stamp() -> str:
    return time.strftime("%Y%m%d_%H%M%S")


def freeze(plan: Plan, folder: Path | None = None) -> Store:
    """Return the plan's run folder, made now unless the plan goes on with one; raise UserError if it can't be written.

    `folder` is where a new run is to lie, when a sweep decides that; it may exist already.
    """
    try:
        if plan.store:
            store = plan.store
        elif folder:
            folder.mkdir(parents=True, exist_ok=True)
            store = Store(folder)
        else:
            store = Store(reserve(plan.output_root / plan.frozen.name, stamp()))
        _write(store, plan)
        if folder is None:
            point_latest(store.folder)
    except OSError as error:
        where = str(error.filename or plan.output_root)
        fix = "free some space" if is_disk_full(error) else "choose another output_root="
        raise UserError(Problem(where, f"can't be written: {error.strerror}", fix=fix)) from error
    return store


def _write(store: Store, plan: Plan) -> None:
    frozen = plan.frozen
    text = frozen.to_yaml()
    lines = plan.table.by_cost()
    if store.cases_file.exists():
        lines = plan.table.moved(store.cases_file.read_bytes().splitlines()) or []
    if lines:
        store.write(store.cases_file, lines)
    if plan.table.excluded.count:
        store.write(store.excluded_file, (msgspec.json.encode(p) + b"\n" for p in plan.table.excluded.listed))
    store.write(store.configs / f"{frozen.digest}.yaml", text)
    store.write(store.configs / "overrides.yaml", yaml.safe_dump(list(plan.overrides), allow_unicode=True))
    store.write(store.configs / "environment.json", environment())
    if frozen.mode != "viz":  # a look at a run asks nothing of it, so what it is asked for stays
        store.write(store.configs / "config.yaml", text)


def environment() -> bytes:
    """Return what a reader needs to know of this machine, as JSON; no secrets."""
    import json

    known = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "gpus": visible_gpus(),
        "git_commit": _git_commit(),
        "packages": {name: found for name in (*PACKAGES, *MODEL_PACKAGES) if (found := _version(name))},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    return json.dumps(known, indent=2).encode()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git_commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def refreeze(store: Store, frozen: Frozen) -> None:
    """Add one more invocation's config to a run that exists."""
    text = frozen.to_yaml()
    store.write(store.configs / f"{frozen.digest}.yaml", text)
    store.write(store.configs / "config.yaml", text)
