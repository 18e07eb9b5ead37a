"""A sweep: several runs of one --multirun command, in one folder that knows which runs it expects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmark import reuse
from benchmark.errors import Problem, UserError, some
from benchmark.freeze import freeze, stamp
from benchmark.plan import Invocation, Plan, plan, wanted_of
from benchmark.records import digest
from benchmark.store import Store, point_latest, reserve

MOST_SLUG = 60


class SweepFile(msgspec.Struct, frozen=True, tag_field="record", tag="sweep/1"):
    """The runs that a sweep expects: slug -> the overrides that make it differ from the others."""

    runs: dict[str, list[str]]


def slugs(invocations: Sequence[Invocation]) -> dict[str, list[str]]:
    """Return a short, path-safe name per run, the same when the sweep is repeated, with what makes it differ."""
    common = set.intersection(*(set(invocation.overrides) for invocation in invocations))
    named: dict[str, list[str]] = {}
    for invocation in invocations:
        own = [override for override in invocation.overrides if override not in common]
        text = re.sub(r"[^\w=.,-]+", "-", ",".join(own), flags=re.ASCII).strip("-.")[:MOST_SLUG]
        named[f"{text or 'run'}-{digest(own, 6)}"] = own
    if len(named) < len(invocations):
        repeated = Problem("--multirun", "the same run is asked for twice", some(named), "each value once")
        raise UserError(repeated)
    return named


def sweep_name(invocations: Sequence[Invocation]) -> str:
    names = {invocation.name for invocation in invocations}
    return names.pop() if len(names) == 1 else "sweep"


def plan_sweep(invocations: Sequence[Invocation]) -> tuple[list[Plan], Path | None, dict[str, list[str]]]:
    """Return the runs' plans, the sweep folder they go on in (None: a new one), and the runs by slug.

    Raises UserError with the mistakes of all runs, each once.
    """
    named = slugs(invocations)
    root = Path(invocations[0].config.output_root) / sweep_name(invocations)
    which = invocations[0].config.reuse
    existing = invocations[0].config.mode in ("eval", "viz")
    candidates = _sweeps_of(root, named)
    if which not in (None, "auto", "latest"):
        candidates = [folder for folder in candidates if folder.name == which]
    if (existing or which not in (None, "auto")) and not candidates:
        fix = "repeat the sweep with mode=all first, or check name= and output_root="
        raise UserError(Problem("reuse", f"{root} has no sweep of these {len(named)} runs", str(which), fix=fix))
    on = [Store(candidates[0] / slug) for slug in named] if existing else [None] * len(named)
    plans = _plan_each(invocations, on)
    if existing:
        return plans, candidates[0], named
    for folder in candidates if which is not None else []:
        if _attach(plans, folder, list(named), invocations, forced=which != "auto"):
            return plans, folder, named
    return plans, None, named


def _plan_each(invocations: Sequence[Invocation], on: Sequence[Store | None]) -> list[Plan]:
    plans: list[Plan] = []
    problems: dict[Problem, None] = {}
    for invocation, store in zip(invocations, on, strict=True):
        try:
            plans.append(plan(invocation, within_sweep=True, on=store))
        except UserError as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise UserError(problems)
    return plans


def _sweeps_of(root: Path, named: dict[str, list[str]]) -> list[Path]:
    found = []
    for folder in sorted((path for path in root.glob("*") if not path.is_symlink()), reverse=True):
        expected = read_sweep(folder)
        if expected is not None and set(expected.runs) == set(named):
            found.append(folder)
    return found


def read_sweep(folder: Path) -> SweepFile | None:
    """Return what a sweep folder expects, or None if the folder is no sweep."""
    try:
        return msgspec.json.decode((folder / "sweep.json").read_bytes(), type=SweepFile)
    except (OSError, msgspec.DecodeError):
        return None


def _attach(
    plans: list[Plan], folder: Path, names: Sequence[str], invocations: Sequence[Invocation], forced: bool
) -> bool:
    """Let the plans go on in the sweep folder if its runs are of the same identity and lack something."""
    lacking = False
    stores = [Store(folder / name) for name in names]
    for plan_, store in zip(plans, stores, strict=True):
        if not store.is_run:
            lacking = True  # the sweep died while it was being laid out
            continue
        wanted = wanted_of(plan_.frozen)
        found = reuse.mismatch(reuse.newest_config(store), wanted)
        if found and forced:
            raise UserError(reuse.refusal(store, found))
        if found:
            return False
        lacking = lacking or bool(reuse.missing(store, wanted))
    redo = any(invocation.config.redo for invocation in invocations)
    if not (lacking or redo or forced):
        return False
    for plan_, store, invocation in zip(plans, stores, invocations, strict=True):
        if store.is_run:
            plan_.store = store
            plan_.why = f"the sweep {folder.name} goes on"
            plan_.frozen = reuse.next_passes(store, plan_.frozen, invocation.config.redo)
    return True


def freeze_sweep(plans: Sequence[Plan], folder: Path | None, named: dict[str, list[str]]) -> list[Store]:
    """Make the sweep folder and all its run folders, and return their stores."""
    if folder is None:
        try:
            folder = reserve(plans[0].output_root / _name_of(plans), stamp())
            Store(folder).write(folder / "sweep.json", msgspec.json.encode(SweepFile(named)))
        except OSError as error:
            raise UserError(Problem("output_root", f"can't be written: {error}")) from error
    stores = [freeze(plan_, folder / slug) for plan_, slug in zip(plans, named, strict=True)]
    point_latest(folder)
    return stores


def _name_of(plans: Sequence[Plan]) -> str:
    names = {plan_.frozen.name for plan_ in plans}
    return names.pop() if len(names) == 1 else "sweep"
