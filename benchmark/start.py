"""From composed configs to runs under way: plan all, then show or freeze and launch all."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.config import Config, Frozen, typed
from benchmark.errors import EXIT_OK, Interrupted, Problem, UserError
from benchmark.freeze import freeze
from benchmark.plan import Invocation, Plan, plan
from benchmark.run import Outcome
from benchmark.store import Store
from benchmark.sweep import freeze_sweep, plan_sweep

Composed = tuple[dict[str, Any], dict[str, Any], list[str]]


def start(composed: Sequence[Composed], problems: Sequence[Problem], multirun: bool, command: str) -> int:
    """Plan what was composed, and run it unless it is a dry run; return the exit code.

    `problems` are those of the command line. Raises UserError with them and all that planning finds.
    """
    invocations, found = _invocations(composed)
    problems = [*problems, *found]
    try:
        if multirun and not problems:
            plans, folder, named = plan_sweep(invocations)
        else:
            plans = [plan(invocation) for invocation in invocations]
    except UserError as error:
        raise UserError([*problems, *error.problems]) from error
    if problems:
        raise UserError(problems)
    if invocations[0].config.dry_run:
        from benchmark.dry_run import print_plans

        print_plans(plans)
        return EXIT_OK
    stores = freeze_sweep(plans, folder, named) if multirun else [freeze(plans[0])]
    for plan_, store in zip(plans, stores, strict=True):
        _announce(plan_, store)
    return launch([(store, plan_.frozen) for store, plan_ in zip(stores, plans, strict=True)])


def _invocations(composed: Sequence[Composed]) -> tuple[list[Invocation], list[Problem]]:
    invocations, problems = [], []
    for plain, choices, overrides in composed:
        config, found = typed(plain)
        problems += [problem for problem in found if problem not in problems]
        if config is None:
            config = _without_mistakes(plain, found)
        if config:
            names = str(choices.get("model")), str(choices.get("dataset"))
            invocations.append(Invocation(config, *names, overrides))
    return invocations, problems


def _without_mistakes(plain: Mapping[str, Any], problems: Sequence[Problem]) -> Config | None:
    """Return the config with what is wrong left at its default, so that planning can find what else is wrong."""
    wrong = {problem.where for problem in problems}
    pruned = _prune(plain, wrong, "")
    config, _ = typed(pruned)
    return config


def _prune(node: Mapping[str, Any], wrong: set[str], prefix: str) -> dict[str, Any]:
    kept = {}
    for key, value in node.items():
        if f"{prefix}{key}" in wrong:
            continue
        inner = isinstance(value, Mapping) and prefix + key in (
            "media",
            "compute",
            "compute.infer",
            "compute.eval",
        )
        kept[key] = _prune(value, wrong, f"{prefix}{key}.") if inner else value
    return kept


def _announce(plan_: Plan, store: Store) -> None:
    if plan_.store:
        print(f"going on with {store.folder}: {plan_.why}")
    else:
        print(f"run folder {store.folder}" + ("" if plan_.why == "reuse=null" else f" ({plan_.why})"))
    for note in plan_.notes:
        print(f"note: {note}")
    sys.stdout.flush()


def launch(runs: Sequence[tuple[Store, Frozen]]) -> int:
    """Hand the runs to the launcher that their compute names, report, and return the worst exit code."""
    name = runs[0][1].compute.launcher
    try:
        launcher = importlib.import_module(f"launchers.{name}")
    except ModuleNotFoundError as error:
        there = sorted(path.stem for path in _launchers() if hasattr_launch(path))
        raise UserError(Problem("compute.launcher", "no such launcher", name, ", ".join(there))) from error
    try:
        outcomes: list[Outcome] = launcher.launch(runs)
    except Interrupted as error:
        folder = _common_folder(runs)
        print(
            f"\n{error}: all that was recorded is kept. Go on with:\n  python -m benchmark resume {folder}",
            file=sys.stderr,
        )
        return error.exit_code
    for outcome in outcomes:
        finish(outcome, show="viz" in outcome.frozen.stages)
    return max(outcome.exit_code for outcome in outcomes)


def _launchers() -> list[Path]:
    import launchers

    return list(Path(launchers.__file__ or "").parent.glob("*.py"))


def hasattr_launch(path: Path) -> bool:
    return "def launch(" in path.read_text()


def _common_folder(runs: Sequence[tuple[Store, Frozen]]) -> Path:
    folders = {store.folder for store, _ in runs}
    return folders.pop() if len(folders) == 1 else runs[0][0].folder.parent


def finish(outcome: Outcome, show: bool) -> None:
    """Print what came of a run, what it lacks, and where things are."""
    store, frozen = outcome.store, outcome.frozen
    if show:
        from benchmark.report.terminal import print_summary

        print()
        print_summary(outcome.summary, title=f"{frozen.name} {store.folder.name}")
        print()
    for words in outcome.worker_ends:
        print(f"worker {words}")
    print(f"predictions  {store.merged('infer', frozen.model_name)}")
    if show:
        print(f"scores       {store.merged('eval', frozen.model_name)}")
    print(f"summary      {store.summary_file(frozen.model_name)}")
    if outcome.lacking:
        print(
            f"incomplete: {'; '.join(outcome.lacking)} missing. Go on with:\n  python -m benchmark resume {store.folder}"
        )
