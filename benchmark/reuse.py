"""Which run an invocation goes on with, and what differs where it may not.

A run is identified by everything that determines its predictions and scores, and by its cases. Records of another identity
are never mixed in: the user is told each differing key with both values.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmark.config import Frozen, read_frozen
from benchmark.errors import Problem, UserError, closest, some
from benchmark.journal import Watcher
from benchmark.ledger import UNLIMITED, Ledger, Pass
from benchmark.merge import predictions, set_digest
from benchmark.records import digest
from benchmark.store import Store

ABSENT = "(absent)"
CONTENT = "(content)"
NEWEST_LOOKED_AT = 50

Differences = dict[str, tuple[Any, Any]]


def flatten(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their dotted keys."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Differences:
    """Return each key whose value differs (as fingerprints see it: 1 is not 1.0), with the old and the new one."""
    both = {key: (old.get(key, ABSENT), new.get(key, ABSENT)) for key in [*old, *new]}
    return {key: pair for key, pair in both.items() if digest(pair[0]) != digest(pair[1])}


def runs_of(output_root: Path, name: str) -> list[Store]:
    """Return the runs of a name, newest first."""
    return [store for path in newest_first(output_root / name) if (store := Store(path)).is_run]


def newest_first(folder: Path) -> list[Path]:
    """Return what lies in a folder of runs or sweeps, newest first by name, links left out."""
    return sorted((path for path in folder.glob("*") if not path.is_symlink()), key=_age, reverse=True)


def _age(path: Path) -> tuple[str, int]:
    day, _, rest = path.name.partition("_")
    time, _, n = rest.partition("_")
    return f"{day}_{time}", int(n) if n.isdigit() else 1


def newest_config(store: Store) -> Frozen:
    return read_frozen(store.configs / "config.yaml")


def named_run(output_root: Path, name: str, which: str) -> tuple[Store | None, list[Problem]]:
    """Return the run that `reuse=latest`, or `reuse=<timestamp>`, names, or why there is none."""
    runs = runs_of(output_root, name)
    for store in runs:
        if which in ("auto", "latest", store.folder.name):
            return store, []
    if not runs:
        fix = "make one first (mode=all), or check name= and output_root="
        return None, [
            Problem("reuse", f"there is no run in {output_root / name} yet", which.replace("auto", ""), fix=fix)
        ]
    stamps = [store.folder.name for store in runs]
    wrong = f"there is no such run in {output_root / name}"
    return None, [Problem("reuse", wrong, which, some(["latest", *stamps]), closest(which, ["latest", *stamps]))]


def mismatch(old: Frozen, new: Frozen) -> Differences:
    """Return what keeps a run from being continued: each differing key with the run's value and the new one.

    A metrics option that only one of the two has is no difference: it adds scores, or leaves them alone.
    """
    found = differences(old.prediction.keys, new.prediction.keys)
    if old.samples != new.samples:
        found["samples"] = (old.samples, new.samples)
    if old.cases.digest != new.cases.digest:
        selection = differences(
            {"limit": old.limit, **dict(flatten("dataset", old.dataset))},
            {"limit": new.limit, **dict(flatten("dataset", new.dataset))},
        )
        n = old.cases.n, new.cases.n
        words = [f"{count} cases" + (", their content changed" if n[0] == n[1] else "") for count in n]
        found |= selection or {f"dataset {CONTENT}": (f"{n[0]} cases", words[1])}
    if "eval" in new.stages and old.mode != "infer":
        for option in old.metrics.keys() & new.metrics.keys():
            found |= differences(old.metrics[option].identity.keys, new.metrics[option].identity.keys)
    return found


def only_scores(found: Differences) -> bool:
    """Return whether the predictions of a run are as wanted, and just its scores are of other settings."""
    return all(key.startswith("metrics.") for key in found)


def refusal(store: Store, found: Differences, afresh: str = "reuse=null") -> list[Problem]:
    """Return a problem per differing key, each with how to go on; `afresh` is what to give for a new run."""
    return [
        Problem(
            key,
            f"differs from the run to go on with, {store.folder}",
            shown(new),
            f"{shown(old)} (its records were made with it)",
            f"{_back(key, old)}{afresh} to start afresh"
            + (", or mode=eval to score its predictions anew" if key.startswith("metrics.") else ""),
        )
        for key, (old, new) in found.items()
    ]


def _back(key: str, old: Any) -> str:
    if key.endswith((".version", CONTENT)) or ".identity." in key:
        return ""  # nothing that a user can set
    if old == ABSENT:
        return f"~{key} to go on with that run, or "
    return f"{shlex.quote(f'{key}={shown(old)}')} to go on with that run, or "


def shown(value: Any) -> str:
    """Return a value as one would write it on the command line."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(shown, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def changes(found: Differences, most: int = 3) -> str:
    """Return the differing keys in one line."""
    return some((f"{key}: {shown(old)} -> {shown(new)}" for key, (old, new) in found.items()), most)


def choose(output_root: Path, wanted: Frozen, redo: bool) -> tuple[Store | None, str]:
    """Return the newest run of the same identity that lacks something this invocation wants, and why (or why none).

    A complete run is left alone, unless something is to be redone in it.
    """
    notes = []
    for store in runs_of(output_root, wanted.name)[:NEWEST_LOOKED_AT]:
        try:
            found = mismatch(newest_config(store), wanted)
        except UserError as error:
            notes.append(f"{store.folder.name} is left alone: {error.problems[0].wrong}")
            continue
        if found and only_scores(found) and (lacking := missing(store, msgspec.structs.replace(wanted, mode="infer"))):
            return store, f"{lacking}; its scores are made anew, for {changes(found)}"
        if found:
            hint = "; mode=eval would score its predictions anew" if only_scores(found) else ""
            notes.append(f"the newest run, {store.folder.name}, has other settings: {changes(found)}{hint}")
            continue
        lacking = missing(store, wanted)
        if redo or lacking:
            return store, lacking or "to redo a part of it"
        return None, f"{store.folder.name}, the newest run of these settings, is complete"
    return None, notes[0] if notes else "no run of this name yet"


def missing(store: Store, wanted: Frozen) -> str:
    """Return in words what the run lacks of what is wanted, or "" when nothing is."""
    expected = wanted.cases.n * wanted.samples
    ledger = Ledger.of(store, "infer", wanted.model_name, [wanted.prediction.fingerprint])
    ok = sum(state.ok >= 0 for state in ledger.states.values())
    if "infer" in wanted.stages and ok < expected:
        return f"{ok} of {expected} predictions are there"
    if "eval" in wanted.stages:
        scored, expected_scores = scores_present(store, wanted, ledger)
        if scored < expected_scores:
            return f"all predictions and {scored} of {expected_scores} scores are there"
    return ""


def scores_present(store: Store, wanted: Frozen, made: Ledger) -> tuple[int, int]:
    """Return how many of the wanted scores are there and valid, and how many there should be."""
    ledger = Ledger.of(store, "eval", wanted.model_name, wanted.score_fingerprints.values())
    sets = {option for option, plan in wanted.metrics.items() if plan.scope == "set"}
    expected = wanted.cases.n * wanted.samples
    total = sum(len(plan.measures) * (1 if option in sets else expected) for option, plan in wanted.metrics.items())
    whole = set_digest(predictions(store, wanted.model_name, wanted.prediction.fingerprint)) if sets else ""
    names, present = wanted.measures, 0
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
    last = Ledger.of(store, "infer", frozen.model_name, [frozen.prediction.fingerprint]).last_attempt
    infer = _next(frozen.infer, last, "infer" in live, bool(redo & {"infer", "predictions"}), redo, max_attempts)
    last = Ledger.of(store, "eval", frozen.model_name, frozen.score_fingerprints.values()).last_attempt
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
