"""What dry_run=true prints: the plan in full, with nothing written anywhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.devices import places
from benchmark.errors import some
from benchmark.invocation import Plan
from benchmark.resources import launchers_with
from benchmark.store import Store


def print_plans(plans: Sequence[Plan], folders: Sequence[Path] = ()) -> None:
    """Print each plan: cases by category, what is reused and why, workers and what would be started or submitted.

    `folders` are the run folders of a sweep; a single run's folder follows from its plan.
    """
    if len(plans) > 1:
        print(f"sweep of {len(plans)} runs ({plans[0].why})\n")
    places_of = folders or [_folder(plan) for plan in plans]
    for plan, folder in zip(plans, places_of, strict=True):
        print("\n".join([*describe(plan, folder), ""]))
    for line in _submitted(plans, places_of):
        print(line)
    print("no problems found; dry run: nothing was written, nothing was started")


def _folder(plan: Plan) -> Path:
    return plan.store.folder if plan.store else plan.output_root / plan.frozen.name / "<now>"


def describe(plan: Plan, folder: Path) -> list[str]:
    """Return the plan as lines of text."""
    frozen = plan.frozen
    per_category = plan.table.per_category()
    listed = some((f"{name or '(none)'} {n}" for name, n in per_category.items()), 24)
    samples = "" if frozen.samples == 1 else f" x {frozen.samples} samples"
    space = f", about {plan.needed_mb:,.0f} MB" if plan.needed_mb else ""
    lines = [
        f"run      {frozen.name}: mode={frozen.mode} ({', '.join(frozen.stages)})",
        f"folder   {folder} ({plan.why})",
        f"cases    {frozen.cases.n}{samples}{space}: {listed}",
        f"metrics  {some(frozen.measures, 24) or 'none'}",
        *(f"note     {note}" for note in plan.notes),
    ]
    for stage in frozen.stages:
        if stage != "viz":
            lines += _stage(plan, folder, stage)
    return lines


def _stage(plan: Plan, folder: Path, stage: str) -> list[str]:
    frozen = plan.frozen
    done = _done(plan, stage)
    pending = frozen.cases.n * frozen.samples - done
    if not pending:
        return [f"{stage:<9}nothing pending, {done} reused"]
    compute = frozen.compute.of(stage)
    workers = places(compute, pending)
    on = some((f"{w.worker} on GPU {','.join(w.devices)}" if w.devices else w.worker for w in workers), 8)
    n = f"{len(workers)} worker{'s' * (len(workers) > 1)}"
    command = f"{compute.python or sys.executable} -m benchmark.worker {folder} {stage} {frozen.digest}"
    return [f"{stage:<9}{pending} pending, {done} reused; {n}: {on}", f"{'':<9}{command}"]


def _done(plan: Plan, stage: str) -> int:
    if plan.store is None:
        return 0
    from benchmark.progress import Progress

    return Progress(plan.store, plan.frozen, stage).look().done


def _submitted(plans: Sequence[Plan], folders: Sequence[Path]) -> list[str]:
    """Return the scripts that the launcher would submit, where it submits any."""
    name = plans[0].frozen.compute.launcher
    if name not in launchers_with("scripts"):
        return []
    scripts = importlib.import_module(f"launchers.{name}").scripts
    runs = [(Store(folder), plan.frozen) for plan, folder in zip(plans, folders, strict=True)]
    return [line for script in scripts(runs) for line in (*script.splitlines(), "")]
