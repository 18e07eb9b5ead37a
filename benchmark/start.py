"""From composed configs to runs under way: plan all, then show or freeze and launch all."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config import Frozen, typed, without_mistakes
from benchmark.errors import EXIT_OK, DiskFull, Interrupted, Problem, UserError
from benchmark.invocation import Composed, Invocation, Plan
from benchmark.plan import plan
from benchmark.store import Store, is_disk_full
from benchmark.weights import applied, environment

if TYPE_CHECKING:
    from benchmark.run import Outcome


def start(composed: Sequence[Composed], problems: Sequence[Problem]) -> int:
    """Plan what was composed, and run it unless it is a dry run; return the exit code.

    `problems` are those of the command line. Raises UserError with them and all that planning finds.
    """
    invocations, problems = _invocations(composed, problems)
    if problems:
        raise UserError([*problems, *_more_problems(invocations, problems)])
    if len({invocation.config.compute.launcher for invocation in invocations}) > 1:
        raise UserError(
            Problem("compute.launcher", "a sweep has one launcher for all its runs", fix="one sweep for each")
        )
    if composed[0].multirun:
        return _start_sweep(invocations)
    planned = _plan_with_weights(invocations[0])
    if planned.frozen.debug and planned.frozen.compute.launcher != "local":
        raise UserError(
            Problem("debug", "runs in this process, so compute.launcher must be local", fix="compute=local")
        )
    if invocations[0].config.dry_run:
        return _show([planned], [])
    from benchmark.freeze import freeze

    store = freeze(planned)
    _announce(planned, store)
    return launch([(store, planned.frozen)])


def _start_sweep(invocations: Sequence[Invocation]) -> int:
    from benchmark.sweep import freeze_sweep, plan_sweep

    sweep = plan_sweep(invocations)
    if _bring(list(sweep.runs.values())):
        sweep = plan_sweep(invocations)
    plans = list(sweep.runs.values())
    if invocations[0].config.dry_run:
        return _show(plans, [sweep.place(slug, "<now>") for slug in sweep.runs])
    runs = freeze_sweep(sweep)
    print(f"sweep folder {runs[0][0].folder.parent} ({plans[0].why})")
    for planned, (store, _) in zip(plans, runs, strict=True):
        _announce(planned, store)
    return launch(runs)


def fetch(composed: Sequence[Composed], problems: Sequence[Problem]) -> int:
    """Download the weights that the composed runs would need and that are not there; return the exit code.

    Raises UserError with what is wrong with the command line or a component, or with what could not be had.
    """
    from benchmark.fetch import bring, lacking, needed_by

    invocations, problems = _invocations(composed, problems)
    if problems:
        raise UserError(problems)
    config = invocations[0].config
    with applied(environment(config.cache_dir, offline=False)):
        wanted = list(dict.fromkeys(one for each in invocations for one in lacking(needed_by(each))))
        for one in wanted if config.dry_run else ():
            print(f"{one.where}: {one.weights.name}: {one.weights.path} {one.wrong} ({one.size})")
        if not config.dry_run:
            bring(wanted)
    if not wanted:
        print("all weights that these runs load are there")
    return EXIT_OK


def _plan_with_weights(invocation: Invocation) -> Plan:
    """Return the plan, made again once what was missing is there: only then is it known what identifies the weights."""
    planned = plan(invocation)
    return plan(invocation) if _bring([planned]) else planned


def _bring(plans: Sequence[Plan]) -> bool:
    """Download what is missing, where the user allows it: once, here, not in each worker. Return whether anything came."""
    from benchmark.fetch import bring

    frozen, wanted = plans[0].frozen, list(dict.fromkeys(one for planned in plans for one in planned.to_bring))
    if not wanted or any(planned.dry_run for planned in plans):
        return False
    with applied(environment(frozen.cache_dir, frozen.offline)):
        bring(wanted)
    return True


def _show(plans: Sequence[Plan], folders: Sequence[Path]) -> int:
    from benchmark.dry_run import print_plans

    print_plans(plans, folders)
    return EXIT_OK


def _invocations(composed: Sequence[Composed], problems: Sequence[Problem]) -> tuple[list[Invocation], list[Problem]]:
    """Return the typed invocations, what is mistyped left at its default, and the problems with these added."""
    invocations: list[Invocation] = []
    found: list[Problem] = []
    for plain, choices, overrides, _, flags in composed:
        config, mistakes = typed(plain)
        found += mistakes
        config = config or without_mistakes(plain, mistakes)
        if config:
            model, dataset, prompts = (str(choices.get(group) or "") for group in ("model", "dataset", "prompts"))
            partial = bool(problems or mistakes)
            invocations.append(Invocation(config, model, dataset, overrides, prompts, partial, flags))
    return invocations, list(dict.fromkeys([*problems, *found]))


def _more_problems(invocations: Sequence[Invocation], problems: Sequence[Problem]) -> list[Problem]:
    """Return what planning finds besides; nothing of the places where something is wrong already."""
    blamed = {problem.where for problem in problems}
    found: list[Problem] = []
    for invocation in invocations:
        try:
            plan(invocation)
        except UserError as error:
            found += [problem for problem in error.problems if problem.where not in blamed]
    return found


def _announce(planned: Plan, store: Store) -> None:
    if planned.store:
        print(f"going on with {store.folder}: {planned.why}")
    else:
        print(f"run folder {store.folder}" + ("" if planned.why == "reuse=null" else f" ({planned.why})"))
    for note in planned.notes:
        print(f"note: {note}")
    sys.stdout.flush()


def launch(runs: Sequence[tuple[Store, Frozen]]) -> int:
    """Hand the runs to the launcher that their compute names, report, and return the worst exit code."""
    name = runs[0][1].compute.launcher
    try:
        launcher = importlib.import_module(f"launchers.{name}")
    except ImportError as error:
        fix = "install what it needs, or choose another; the run goes on when the command is repeated"
        raise UserError(Problem("compute.launcher", f"{name} can't be used: {error}", fix=fix)) from error
    try:
        outcomes: list[Outcome] = launcher.launch(runs)
    except (Interrupted, DiskFull, OSError) as error:
        if isinstance(error, OSError):
            if not is_disk_full(error):
                raise
            error = DiskFull(f"no space left: {error.filename or runs[0][0].folder}")
        folders = {store.folder for store, _ in runs}
        folder = folders.pop() if len(folders) == 1 else runs[0][0].folder.parent
        kept = f"\n{error}: all that was recorded is kept. Go on with:\n  python -m benchmark resume {folder}"
        print(kept, file=sys.stderr)
        return error.exit_code
    for outcome in outcomes:
        finish(outcome, by_category=len(outcomes) == 1)
    return max((outcome.exit_code for outcome in outcomes), default=EXIT_OK)


def finish(outcome: Outcome, by_category: bool) -> None:
    """Print what came of a run, what it lacks, and where things are; of a sweep's runs the overall values are enough."""
    store, frozen = outcome.store, outcome.frozen
    show = "viz" in frozen.stages
    if show:
        from benchmark.report.terminal import print_summary

        print()
        print_summary(outcome.summary, title=f"{frozen.name} {store.folder.name}", by_category=by_category)
        print()
    if unreadable := sum(ledger.unreadable for ledger in store.ledgers.values()):
        print(
            f"note: {unreadable} lines of the journals can't be read (a damaged file?); what they recorded counts as not done"
        )
    for words in outcome.worker_ends:
        print(f"worker {words}")
    if outcome.dropped:
        print(f"note: {outcome.dropped} outputs were removed once scored (keep_media={frozen.keep_media})")
    print(f"predictions  {store.merged('infer', frozen.model_name)}")
    if show:
        print(f"scores       {store.merged('eval', frozen.model_name)}")
    print(f"summary      {store.summary_file(frozen.model_name)}")
    if outcome.lacking:
        lacking = "; ".join(outcome.lacking)
        again = " --redo-failed" if outcome.gave_up else ""
        why = f" (some failed max_attempts={frozen.infer.max_attempts} times)" if again else ""
        print(f"incomplete: {lacking} missing{why}. Go on with:\n  python -m benchmark resume {store.folder}{again}")
