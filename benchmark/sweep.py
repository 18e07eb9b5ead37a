"""A sweep: several runs of one --multirun command, in one folder that knows which runs it expects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmark import reuse
from benchmark.config import Frozen
from benchmark.errors import Problem, UserError, some
from benchmark.freeze import freeze, stamp
from benchmark.invocation import Invocation, Plan
from benchmark.plan import plan
from benchmark.records import digest
from benchmark.resources import disk_problems
from benchmark.store import Store, point_latest, reserve

MOST_SLUG = 60


class SweepFile(msgspec.Struct, frozen=True, tag_field="record", tag="sweep/1"):
    """The runs that a sweep expects: slug -> the overrides that make it differ from the others."""

    runs: dict[str, list[str]]


@dataclass
class SweepPlan:
    """The plans of a sweep's runs by slug, where they lie, and the sweep folder they go on in (None: a new one)."""

    runs: dict[str, Plan]
    expected: SweepFile
    parent: Path
    folder: Path | None = None

    def place(self, slug: str, now: str) -> Path:
        """Return where a run lies or will lie; `now` stands for the timestamp of a new sweep."""
        return (self.folder or self.parent / now) / slug


def slugs(invocations: Sequence[Invocation]) -> dict[str, list[str]]:
    """Return a short, path-safe name per run, the same when the sweep is repeated, with what makes it differ."""
    common = set.intersection(*(set(invocation.overrides) for invocation in invocations))
    named: dict[str, list[str]] = {}
    for invocation in invocations:
        own = sorted(override for override in invocation.overrides if override not in common)
        text = re.sub(r"[^\w=.,-]+", "-", ",".join(own), flags=re.ASCII)[:MOST_SLUG].strip("-.,")
        slug = f"{text or 'run'}-{digest(own, 6)}"
        if slug in named:
            raise UserError(Problem("--multirun", "the same run is asked for twice", some(invocation.overrides)))
        named[slug] = own
    return named


def plan_sweep(invocations: Sequence[Invocation]) -> SweepPlan:
    """Return the plans of all runs. Raises UserError with the mistakes of all runs, each once."""
    first = invocations[0].config
    named = slugs(invocations)
    names = {invocation.name for invocation in invocations}
    parent = Path(first.output_root) / (names.pop() if len(names) == 1 else "sweep")
    candidates, problems = _candidates(parent, named, first.reuse, first.mode)
    on = [Store(candidates[0] / slug) for slug in named] if first.mode in ("eval", "viz") and candidates else None
    plans, found = plan_each(invocations, on)
    if problems or found:
        raise UserError([*problems, *found])
    sweep = SweepPlan(dict(zip(named, plans, strict=True)), SweepFile(named), parent)
    if on:
        sweep.folder = candidates[0]
    elif first.reuse is not None:
        _go_on(sweep, candidates, forced=first.reuse != "auto", redo=first.redo)
    if problems := disk_problems(plans):
        raise UserError(problems)
    return sweep


def plan_each(invocations: Sequence[Invocation], on: Sequence[Store] | None = None) -> tuple[list[Plan], list[Problem]]:
    """Return the plans of all runs of a sweep, or the problems of all, each once."""
    plans: list[Plan] = []
    problems: list[Problem] = []
    for index, invocation in enumerate(invocations):
        try:
            plans.append(plan(invocation, within_sweep=True, on=on[index] if on else None))
        except UserError as error:
            problems += error.problems
    return plans, list(dict.fromkeys(problems))


def _candidates(
    parent: Path, named: Mapping[str, list[str]], which: str | None, mode: str
) -> tuple[list[Path], list[Problem]]:
    """Return the sweeps of the same runs, newest first, that `reuse` allows, or why there must be one and is none."""
    found = [
        folder
        for folder in reuse.newest_first(parent)
        if (there := read_sweep(folder)) is not None and there.runs.keys() == named.keys()
    ]
    if which not in (None, "auto", "latest"):
        found = [folder for folder in found if folder.name == which]
    if found or (mode in ("all", "infer") and which in (None, "auto")):
        return found, []
    fix = "make it first (mode=all), or check name= and output_root="
    return [], [Problem("reuse", f"{parent} has no such sweep of these {len(named)} runs", str(which), fix=fix)]


def read_sweep(folder: Path) -> SweepFile | None:
    """Return what a sweep folder expects, or None if the folder is no sweep."""
    try:
        return msgspec.json.decode((folder / "sweep.json").read_bytes(), type=SweepFile)
    except (OSError, msgspec.DecodeError):
        return None


def _go_on(sweep: SweepPlan, candidates: Sequence[Path], forced: bool, redo: Sequence[str]) -> None:
    """Let the runs go on in the newest sweep of the same identities, unless that one is complete (and not `forced`)."""
    why = "no sweep of these runs yet"
    for folder in candidates:
        stores = {slug: Store(folder / slug) for slug in sweep.runs}
        there = {slug: store for slug, store in stores.items() if store.is_run}  # fewer: it died while being laid out
        configs = {slug: reuse.newest_config(store) for slug, store in there.items()}
        found = {slug: reuse.mismatch(configs[slug], sweep.runs[slug].frozen) for slug in there}
        problems = [p for slug, store in there.items() for p in reuse.refusal(store, found[slug])]
        if problems and forced:
            raise UserError(problems)
        if problems:
            changed = next(reuse.changes(differing) for differing in found.values() if differing)
            why = f"the newest sweep, {folder.name}, has other settings: {changed}"
            break
        lacking = [slug for slug in stores if slug not in there or reuse.missing(there[slug], sweep.runs[slug].frozen)]
        if lacking or redo or forced:
            sweep.folder = folder
            _attach(sweep, there, lacking, redo)
            return
        why = f"the newest sweep of these settings, {folder.name}, is complete"
        break
    for planned in sweep.runs.values():
        planned.why = why


def _attach(sweep: SweepPlan, there: Mapping[str, Store], lacking: Sequence[str], redo: Sequence[str]) -> None:
    for slug, planned in sweep.runs.items():
        planned.why = f"the sweep goes on: {len(lacking)} of its {len(sweep.runs)} runs lack something"
        if slug in there:
            planned.store = there[slug]
            planned.frozen = reuse.next_passes(there[slug], planned.frozen, redo)


def freeze_sweep(sweep: SweepPlan) -> list[tuple[Store, Frozen]]:
    """Make the sweep folder and all its run folders; return the runs."""
    folder = sweep.folder
    if folder is None:
        try:
            folder = reserve(sweep.parent, stamp())
            Store(folder).write(folder / "sweep.json", msgspec.json.encode(sweep.expected))
        except OSError as error:
            raise UserError(Problem("output_root", f"can't be written: {error}")) from error
    runs = [(freeze(planned, folder / slug), planned.frozen) for slug, planned in sweep.runs.items()]
    point_latest(folder)
    return runs
