"""What dry_run=true prints: the plan in full, with nothing written anywhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmark.devices import places
from benchmark.errors import some
from benchmark.plan import Plan


def print_plans(plans: Sequence[Plan]) -> None:
    """Print each plan: cases by category, what is reused and why, workers and the commands that start them."""
    for index, plan in enumerate(plans):
        if index:
            print()
        print("\n".join(describe(plan)))
    print("\ndry run: nothing was written, nothing was started")


def describe(plan: Plan) -> list[str]:
    """Return the plan as lines of text."""
    frozen = plan.frozen
    expected = frozen.cases.n * frozen.samples
    per_category = plan.table.per_category()
    listed = some((f"{name or '(none)'} {n}" for name, n in per_category.items()), 24)
    lines = [
        f"run      {frozen.name}: {frozen.mode} ({', '.join(frozen.stages)})",
        f"cases    {frozen.cases.n} x {frozen.samples} sample{'s' * (frozen.samples > 1)}: {listed}",
        f"metrics  {some(frozen.measures, 24) or 'none'}",
        f"folder   {plan.store.folder if plan.store else f'{plan.output_root / frozen.name}/<now>'} ({plan.why})",
    ]
    lines += [f"note     {note}" for note in plan.notes]
    done = _done(plan)
    for stage in frozen.stages:
        if stage == "viz":
            continue
        pending = expected - done.get(stage, 0)
        compute = frozen.compute.of(stage)
        workers = places(compute, pending)
        on = some((f"{w.worker} on GPU {','.join(w.devices)}" if w.devices else w.worker for w in workers), 8)
        lines.append(f"{stage:<9}{pending} pending, {done.get(stage, 0)} reused; {len(workers)} workers: {on}")
        lines.append(
            f"         {compute.python or sys.executable} -m benchmark.worker <folder> {stage} {frozen.digest}"
        )
    return lines


def _done(plan: Plan) -> dict[str, int]:
    if plan.store is None:
        return {}
    from benchmark.progress import Progress

    found: dict[str, int] = {}
    for stage in ("infer", "eval"):
        if stage in plan.frozen.stages:
            found[stage] = Progress(plan.store, plan.frozen, stage).look().done
    return found
