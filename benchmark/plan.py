"""The plan: everything that can go wrong for a user goes wrong here, before anything is written and before any GPU.

All mistakes are collected and shown together. Planning leaves no trace; `freeze` makes the run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmark import cases, needs, reuse
from benchmark.cases import CaseTable
from benchmark.components import FILTERS, Components, build_all, identity_of, plan_metrics, plugin_folders
from benchmark.config import CaseSet, Config, Frozen, Identity
from benchmark.errors import Problem, UserError, some
from benchmark.existing import plan_on_existing
from benchmark.fetch import weight_problems
from benchmark.fitting import Fitted, fit
from benchmark.invocation import Invocation, Plan
from benchmark.leaks import secret_problems
from benchmark.ledger import UNLIMITED, Pass
from benchmark.resources import disk_problems, needed_mb, package_problems, resource_problems
from benchmark.settings import setting_problems
from benchmark.store import Store
from benchmark.weights import applied, environment

__all__ = ["Invocation", "Plan", "plan"]


def plan(invocation: Invocation, within_sweep: bool = False, on: Store | None = None) -> Plan:
    """Return the plan of one run. Raises UserError with all problems at once.

    `within_sweep` leaves it to the sweep which run to go on with; `on` is the run that mode=eval or viz works on.
    """
    config = invocation.config
    if config.mode in ("eval", "viz"):
        return plan_on_existing(invocation, on)
    with applied(environment(config.cache_dir, config.offline)):
        return _plan_afresh(invocation, within_sweep)


def _plan_afresh(invocation: Invocation, within_sweep: bool) -> Plan:
    config = invocation.config
    scores = "eval" in config.stages
    parts, problems = build_all(config, matched=scores)
    table, found = _cases(config, parts)
    fitted = fit(parts, config.metrics, table, config.plugins, scores)
    loaded = {"model": parts.model} | ({f"metrics.{name}": m for name, m in fitted.metrics.items()} if scores else {})
    unloadable, to_bring = weight_problems(invocation, loaded)
    problems += [*found, *fitted.problems]
    problems += [problem for problem in unloadable if not _said(problem, problems)]
    problems += [*setting_problems(invocation), *resource_problems(config), *secret_problems(config)]
    problems += package_problems(config, loaded)
    named, found = (None, []) if within_sweep else _named_run(invocation)
    problems += found
    if problems or invocation.partial:
        raise UserError(problems)
    frozen = _freeze(invocation, parts, table, fitted)
    store, why = (None, "a new sweep") if within_sweep else _run_to_go_on_with(config, frozen, named)
    if store:
        frozen = reuse.next_passes(store, frozen, config.redo)
    mb = needed_mb(parts.model, frozen, store)
    notes = [*_exclusions(table), *fitted.notes, *(one.note for one in to_bring)]
    root, dry = Path(config.output_root), config.dry_run
    planned = Plan(frozen, table, root, store, why, invocation.overrides, notes, mb, to_bring, dry)
    if problems := disk_problems([planned]):
        raise UserError(problems)
    return planned


def _said(problem: Problem, problems: Sequence[Problem]) -> bool:
    """Return whether something else is wrong with the component already, so that missing weights are no wonder."""
    return any(other.where.startswith(f"{problem.where}.") for other in problems)


def _exclusions(table: CaseTable) -> list[str]:
    """Return what is to be said of rows that the dataset left out."""
    if not table.excluded.count:
        return []
    first = some((f"{problem.where}: {problem.wrong}" for problem in table.excluded.listed), 3)
    return [f"{table.excluded.count} rows of the dataset are left out ({first})"]


def _cases(config: Config, parts: Components) -> tuple[CaseTable, list[Problem]]:
    """Return the cases of the run, and what is wrong with them, with the filters, or for the other components."""
    if parts.dataset is None:
        return CaseTable(), []
    problems, filters = [], {}
    for key in FILTERS:
        value = config.dataset.get(key)
        if value is not None and not isinstance(value, list):
            problems.append(Problem(f"dataset.{key}", "expected a list", repr(value), fix=f"dataset.{key}=[{value}]"))
            value = None
        filters[key] = value and [str(item) for item in value]
    table, found = cases.choose(parts.dataset, limit=config.limit, **filters)
    table.samples = config.samples
    return table, problems + found + needs.inspect(table, parts.prompts)


def _named_run(invocation: Invocation) -> tuple[Store | None, list[Problem]]:
    """Return the run that reuse=latest or reuse=<timestamp> names; none for auto and null."""
    config = invocation.config
    if config.reuse in (None, "auto") or (invocation.partial and not config.name):
        return None, []
    return reuse.named_run(Path(config.output_root), invocation.name, config.reuse or "")


def _run_to_go_on_with(config: Config, frozen: Frozen, named: Store | None) -> tuple[Store | None, str]:
    if named is None:
        if config.reuse is None:
            return None, "reuse=null"
        return reuse.choose(Path(config.output_root), frozen, bool(config.redo))
    if found := reuse.mismatch(reuse.newest_config(named), frozen):
        raise UserError(reuse.refusal(named, found))
    return named, f"reuse={config.reuse}; {reuse.missing(named, frozen) or 'it is complete'}"


def _freeze(invocation: Invocation, parts: Components, table: CaseTable, fitted: Fitted) -> Frozen:
    """Return the config that the workers will read."""
    config = invocation.config
    config = msgspec.structs.replace(config, metrics=fitted.specs)
    parts.metrics = fitted.metrics
    keys = identity_of("model", config.model, parts.model)
    keys |= identity_of("prompts", config.prompts, parts.prompts)
    keys |= {"seed": config.seed} | dict(reuse.flatten("media", msgspec.to_builtins(config.media)))
    return Frozen(
        name=invocation.name,
        model_name=invocation.model_name,
        mode=config.mode,
        model=config.model,
        dataset=config.dataset,
        prompts=config.prompts,
        choices=invocation.choices,
        metrics=plan_metrics(config, parts),
        media=config.media,
        compute=config.compute,
        seed=config.seed,
        samples=config.samples,
        limit=config.limit,
        plugins=config.plugins,
        plugin_folders=plugin_folders(config.plugins),
        cases=CaseSet(len(table.ids), table.digest, table.excluded.count),
        prediction=Identity(keys),
        infer=Pass(max_attempts=UNLIMITED if getattr(parts.model, "always_retried", False) else config.max_attempts),
        debug=config.debug,
        keep_media=config.keep_media,
        cache_dir=config.cache_dir,
        offline=config.offline,
        cwd=str(Path.cwd()),
    )
