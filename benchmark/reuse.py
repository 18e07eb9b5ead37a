"""Which run an invocation goes on with, and what differs where it may not.

A run is identified by everything that determines its predictions (the fingerprint) and by its cases. Records of another
identity are never mixed in: the user is told each differing key with both values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmark.config import Frozen, Identity, read_frozen
from benchmark.errors import Problem, UserError, some
from benchmark.journal import Watcher
from benchmark.ledger import Ledger, Pass
from benchmark.merge import predictions, set_digest
from benchmark.model import Identified
from benchmark.store import Store

ABSENT = "(absent)"
NEWEST_LOOKED_AT = 50
UNLIMITED = 1_000_000  # attempts, when redo=[failed] asks for one more whatever happened before


def flatten(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their dotted keys."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value


def identity_of(where: str, spec: Mapping[str, Any], component: Any) -> dict[str, Any]:
    """Return what identifies a component: its arguments that change results, its version, and what it says itself."""
    execution_only = getattr(component, "execution_only", ())
    keys = {key: value for key, value in flatten(where, spec) if key.split(".")[-1] not in execution_only}
    keys[f"{where}.version"] = component.version
    if isinstance(component, Identified):
        keys |= dict(flatten(f"{where}.identity", component.identity()))
    return keys


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return each key whose value differs, with the old and the new one."""
    both = {key: (old.get(key, ABSENT), new.get(key, ABSENT)) for key in [*old, *new]}
    return {key: pair for key, pair in both.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class Wanted:
    """What an invocation would freeze if it started afresh: compared with what runs have."""

    name: str
    model_name: str
    prediction: Identity
    cases_n: int
    cases_digest: str
    samples: int
    dataset: Mapping[str, Any]
    scores: Mapping[str, str]  # metrics option -> fingerprint
    measures: Mapping[str, tuple[str, ...]]
    set_options: frozenset[str]
    stages: tuple[str, ...]


def runs_of(output_root: Path, name: str) -> list[Store]:
    """Return the runs of a name, newest first."""
    folders = (path for path in (output_root / name).glob("*") if not path.is_symlink())
    stores = (Store(path) for path in sorted(folders, key=lambda path: _age(path.name), reverse=True))
    return [store for store in stores if store.is_run]


def _age(stamp: str) -> tuple[str, int]:
    day, _, rest = stamp.partition("_")
    time, _, n = rest.partition("_")
    return f"{day}_{time}", int(n) if n.isdigit() else 1


def newest_config(store: Store) -> Frozen:
    return read_frozen(store.configs / "config.yaml")


def mismatch(frozen: Frozen, wanted: Wanted) -> dict[str, tuple[Any, Any]]:
    """Return what keeps the run from being continued: each differing key with the run's value and the new one."""
    found = differences(frozen.prediction.keys, wanted.prediction.keys)
    if frozen.samples != wanted.samples:
        found["samples"] = (frozen.samples, wanted.samples)
    if frozen.cases.digest != wanted.cases_digest:
        of_dataset = differences(dict(flatten("dataset", frozen.dataset)), dict(flatten("dataset", wanted.dataset)))
        found |= of_dataset or {"cases": (f"{frozen.cases.n} cases", f"{wanted.cases_n} cases, not the same")}
    return found


def refusal(store: Store, found: Mapping[str, tuple[Any, Any]]) -> list[Problem]:
    """Return a problem per differing key, each with how to go on."""
    return [
        Problem(
            key,
            f"differs from the run to go on with ({store.folder})",
            str(new),
            f"{old} (what its records were made with)",
            f"give {key}={old} to go on with that run, or reuse=null to start afresh",
        )
        for key, (old, new) in found.items()
    ]


def choose(output_root: Path, wanted: Wanted, redo: bool) -> tuple[Store | None, str]:
    """Return the newest run of the same identity that lacks something this invocation wants, and why (or why none).

    A complete run is left alone, unless something is to be redone in it.
    """
    note = "no run of this name yet"
    for store in runs_of(output_root, wanted.name)[:NEWEST_LOOKED_AT]:
        try:
            frozen = newest_config(store)
        except UserError as error:
            note = f"{store.folder.name} is left alone: {error.problems[0].wrong}"
            continue
        found = mismatch(frozen, wanted)
        if found:
            changed = some((f"{key}: {old} -> {new}" for key, (old, new) in found.items()), 3)
            note = f"the newest run {store.folder.name} has other settings ({changed})"
            continue
        lacking = missing(store, wanted)
        if redo or lacking:
            return store, lacking or "to redo a part of it"
        return None, f"the newest such run, {store.folder.name}, is complete"
    return None, note


def missing(store: Store, wanted: Wanted) -> str:
    """Return in words what the run lacks of what is wanted, or "" when nothing is."""
    fingerprint = wanted.prediction.fingerprint
    expected = wanted.cases_n * wanted.samples
    ledger = Ledger(store, "infer", wanted.model_name, [fingerprint])
    ok = sum(state.ok >= 0 for state in ledger.states.values())
    if "infer" in wanted.stages and ok < expected:
        return f"{ok} of {expected} predictions are there"
    if "eval" in wanted.stages:
        scored, expected_scores = scores_present(store, wanted, ledger)
        if scored < expected_scores:
            return f"all predictions and {scored} of {expected_scores} scores are there"
    return ""


def scores_present(store: Store, wanted: Wanted, made: Ledger) -> tuple[int, int]:
    """Return how many of the wanted scores are there and valid, and how many there should be."""
    ledger = Ledger(store, "eval", wanted.model_name, wanted.scores.values())
    expected = wanted.cases_n * wanted.samples
    total = sum(
        len(names) * (1 if option in wanted.set_options else expected) for option, names in wanted.measures.items()
    )
    names = {f"{option}/{name}" for option, many in wanted.measures.items() for name in many}
    whole = ""
    if wanted.set_options:
        whole = set_digest(predictions(store, wanted.model_name, wanted.prediction.fingerprint))
    present = 0
    for (case_id, sample, metric), state in ledger.states.items():
        if metric not in names or state.ok < 0:
            continue
        prediction = made.states.get((case_id, sample))
        valid_for = whole if case_id is None else prediction.sha256 if prediction else None
        present += state.sha256 == valid_for
    return present, total


def next_passes(store: Store, frozen: Frozen, redo: Iterable[str] = (), max_attempts: int | None = None) -> Frozen:
    """Return the frozen config with the passes that come next in a run that has records already.

    While workers of a stage live, their pass is joined; else a new attempt begins, in which failed cases get another try.
    """
    redo = set(redo)
    watcher = Watcher(store.journals, frozen.compute.lease_s)
    live = {life.stage for life in watcher.living("worker")}
    last = Ledger(store, "infer", frozen.model_name, [frozen.prediction.fingerprint]).last_attempt
    infer = _next(frozen.infer, last, "infer" in live, bool(redo & {"infer", "predictions"}), redo, max_attempts)
    last = Ledger(store, "eval", frozen.model_name, frozen.score_fingerprints.values()).last_attempt
    metrics = {
        name: msgspec.structs.replace(
            plan, turn=_next(plan.turn, last, "eval" in live, name in redo, redo, max_attempts)
        )
        for name, plan in frozen.metrics.items()
    }
    return msgspec.structs.replace(frozen, infer=infer, metrics=metrics)


def _next(turn: Pass, last: int, joined: bool, from_scratch: bool, redo: set[str], max_attempts: int | None) -> Pass:
    attempt = max(last, 0) if joined and not redo else last + 1
    limit = UNLIMITED if "failed" in redo else max_attempts or turn.max_attempts
    return Pass(attempt, attempt if from_scratch else turn.floor, limit)
