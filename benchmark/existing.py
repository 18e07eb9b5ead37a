"""Planning mode=eval and mode=viz: model, dataset, prompts and seed are those of the run that is worked on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from benchmark import merge, needs, reuse
from benchmark.cases import CaseTable
from benchmark.components import build_all, plan_metrics, plugin_folders, plugin_problems
from benchmark.config import Config, Frozen, MetricPlan
from benchmark.errors import Problem, UserError
from benchmark.fetch import weight_problems
from benchmark.fitting import fit
from benchmark.invocation import Invocation, Plan
from benchmark.leaks import secret_problems
from benchmark.resources import package_problems, resource_problems
from benchmark.settings import setting_problems
from benchmark.store import Store
from benchmark.weights import applied, environment

KEPT = ("keep_media", "cache_dir", "offline")  # of the run as well, unless given
TAKEN = ("model", "dataset", "prompts", "media", "seed", "samples", "limit")


def plan_on_existing(invocation: Invocation, on: Store | None) -> Plan:
    """Return the plan of one more look at a run that has its predictions. Raises UserError with all problems at once."""
    config = invocation.config
    problems = [*setting_problems(invocation), *resource_problems(config), *secret_problems(config)]
    store, found = (on, []) if on else _named(invocation)
    if store is None:
        raise UserError([*problems, *found])
    old = reuse.newest_config(store)
    kept = {key: getattr(old, key) for key in KEPT if not invocation.gave(key)}
    invocation = replace(invocation, config=msgspec.structs.replace(config, **kept))
    config = invocation.config
    with applied(environment(config.cache_dir, config.offline)):
        return _plan_on(invocation, store, old, problems)


def _plan_on(invocation: Invocation, store: Store, old: Frozen, problems: list[Problem]) -> Plan:
    config = invocation.config
    problems += _contradictions(invocation, store, old)
    table = read_cases(store)
    plugins = list(dict.fromkeys([*old.plugins, *config.plugins]))
    table.samples = old.samples
    metrics, notes, to_bring = old.metrics, list[str](), list[Any]()
    if config.mode == "eval":
        metrics, found, notes, to_bring = _metrics(invocation, store, old, plugins, table)
    else:
        found = plugin_problems(config.plugins)
        wrong = "mode=viz shows the scores that are there, which have other settings"
        found += [
            Problem(f"metrics.{name}", wrong, fix="mode=eval scores with these, or leave them away")
            for name, spec in config.metrics.items()
            if invocation.touched(f"metrics.{name}") and (name not in old.metrics or old.metrics[name].spec != spec)
        ]
    problems += found
    if problems or invocation.partial:
        raise UserError(problems)
    frozen = msgspec.structs.replace(
        old,
        mode=config.mode,
        metrics=metrics,
        compute=config.compute,
        plugins=plugins,
        plugin_folders=old.plugin_folders | plugin_folders(plugins),
        debug=config.debug,
        keep_media=config.keep_media,
        cache_dir=config.cache_dir,
        offline=config.offline,
        cwd=str(Path.cwd()),
    )
    frozen = reuse.next_passes(store, frozen, config.redo)
    why = f"mode={config.mode} works on an existing run"
    root = Path(config.output_root)
    notes = [*notes, *_notes(old, frozen), *(one.note for one in to_bring)]
    return Plan(frozen, table, root, store, why, invocation.overrides, notes, to_bring=to_bring, dry_run=config.dry_run)


def _named(invocation: Invocation) -> tuple[Store | None, list[Problem]]:
    config = invocation.config
    if config.reuse is None:
        fix = "leave reuse away (the latest run), or give reuse=<timestamp>"
        return None, [Problem("reuse", f"mode={config.mode} needs a run to work on", "null", "latest", fix)]
    if invocation.partial and not config.name:
        return None, []
    return reuse.named_run(Path(config.output_root), invocation.name, config.reuse)


def read_cases(store: Store) -> CaseTable:
    """Return the cases of a run."""
    table = CaseTable()
    for case in store.cases():
        table.add(case)
    return table


def _metrics(
    invocation: Invocation, store: Store, old: Frozen, plugins: list[str], table: CaseTable
) -> tuple[dict[str, MetricPlan], list[Problem], list[str], list[Any]]:
    """Return the metrics to score: those given by hand, else those of the run; problems, notes, and weights to download.

    Beside those given by hand, what the run has scored in full stays in its summary; what it has not is left to others.
    """
    config = invocation.config
    touched = {name: spec for name, spec in config.metrics.items() if invocation.touched(f"metrics.{name}")}
    chosen = invocation.chose("metrics") or not old.metrics
    given = config.metrics if chosen else touched
    by_hand = bool(chosen or touched)
    kept = {name: plan for name, plan in old.metrics.items() if name not in given and _stays(store, old, name, by_hand)}
    specs = {name: plan.spec for name, plan in kept.items()} | given
    taken: Config = msgspec.structs.replace(
        config, model=old.model, prompts=old.prompts, metrics=specs, plugins=plugins
    )
    parts, problems = build_all(taken, with_dataset=False)
    parts.model = parts.prompts = None  # they have done their part
    problems += _let_go(store, old, set(given))
    fitted = fit(parts, specs, table, plugins)
    new = {f"metrics.{name}": metric for name, metric in fitted.metrics.items() if name not in kept or not by_hand}
    unloadable, to_bring = weight_problems(invocation, new)
    problems += [*fitted.problems, *needs.changed_inputs(table), *unloadable, *package_problems(config, new)]
    if problems:
        return {}, problems, [], []
    parts.metrics = fitted.metrics
    planned = plan_metrics(msgspec.structs.replace(taken, metrics=fitted.specs), parts)
    return (planned | kept if by_hand else planned), [], fitted.notes, to_bring


def _let_go(store: Store, old: Frozen, given: set[str]) -> list[Problem]:
    """Return a problem if outputs that are to be scored went once they had been (keep_media)."""
    if old.keep_media == "all" or not given:
        return []
    made = merge.predictions(store, old.model_name, old.prediction.fingerprint)
    gone = sum(any(not (store.folder / path).exists() for path in record.files.values()) for record in made.values())
    if not gone:
        return []
    wrong = f"{gone} of {len(made)} outputs are gone (keep_media={old.keep_media}), so that nothing more can be scored"
    fix = "make them again, with all metrics: mode=all reuse=null"
    return [Problem("mode", wrong, "eval", fix=fix)]


def _stays(store: Store, old: Frozen, name: str, by_hand: bool) -> bool:
    alone = msgspec.structs.replace(old, mode="eval", metrics={name: old.metrics[name]})
    return not by_hand or not reuse.missing(store, alone)


def _contradictions(invocation: Invocation, store: Store, old: Frozen) -> list[Problem]:
    """Return a problem for each thing that was given by hand and that the run has otherwise."""
    asked, has = _taken(invocation.config), _taken(old)
    found = {key: pair for key, pair in reuse.differences(has, asked).items() if invocation.gave(key)}
    for group, option in old.choices.items():
        chosen = invocation.choices.get(group)
        if invocation.chose(group) and option and chosen and chosen != option:
            found[group] = (option, chosen)
    return reuse.refusal(store, found, "mode=all reuse=null")


def _taken(config: Config | Frozen) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for key in TAKEN:
        taken |= dict(reuse.flatten(key, msgspec.to_builtins(getattr(config, key))))
    return taken


def _notes(old: Frozen, frozen: Frozen) -> list[str]:
    notes = []
    for name, plan in frozen.metrics.items():
        before = old.metrics.get(name)
        if before and before.identity.fingerprint != plan.identity.fingerprint:
            changed = reuse.changes(reuse.differences(before.identity.keys, plan.identity.keys))
            notes.append(f"metrics.{name} has other settings than last time ({changed}): its scores are computed again")
    return notes
