"""Weights that are not there: told when a run is planned, brought by `benchmark fetch` or, if a run may, before it starts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.components import build_all
from benchmark.errors import Problem, UserError
from benchmark.invocation import Invocation, key_of
from benchmark.model import Weighted
from benchmark.weights import Weights


@dataclass(frozen=True)
class Lacking:
    """Weights that can't be loaded as they lie: who needs them, and what is wrong."""

    where: str
    weights: Weights
    wrong: str

    @property
    def size(self) -> str:
        size_mb = self.weights.size_mb
        return f"{size_mb:,.{0 if size_mb >= 10 else 1}f} MB" if size_mb else "size unknown"

    @property
    def note(self) -> str:
        return f"{self.where}: {self.weights.name} is downloaded first ({self.size})"

    def problem(self, command: str) -> Problem:
        """Return the problem, cured by `command` on a machine with network."""
        weights = self.weights
        what = weights.repository or weights.path.name
        wrong = f"{weights.name}: {what} {self.wrong}; {self.size}, belongs in {weights.path.parent}"
        if not weights.fetchable:
            return Problem(self.where, wrong, str(weights.path), fix="put it there, or name another")
        fix = f"on a machine with network: {command} (or let the run do it: offline=false)"
        return Problem(self.where, wrong, fix=fix)


def lacking(components: Mapping[str, Any]) -> list[Lacking]:
    """Return the weights that the components (by config key) can't load, each once."""
    found: dict[str, Lacking] = {}
    for where, component in components.items():
        if isinstance(component, Weighted):
            for weights in component.weights():
                name = weights.repository or str(weights.path)
                if name not in found and (wrong := weights.wrong()):
                    found[name] = Lacking(where, weights, wrong)
    return list(found.values())


def needed_by(invocation: Invocation) -> dict[str, Any]:
    """Return the components whose weights a run of this invocation loads, by config key. Raises UserError for a bad one."""
    config = invocation.config
    parts, problems = build_all(config, with_dataset=False, matched=False)
    if problems:
        raise UserError(problems)
    found = {"model": parts.model} if "infer" in config.stages else {}
    scores = "eval" in config.stages
    return found | ({f"metrics.{name}": metric for name, metric in parts.metrics.items()} if scores else {})


def weight_problems(invocation: Invocation, components: Mapping[str, Any]) -> tuple[list[Problem], list[Lacking]]:
    """Return a problem for each of the components' weights that can't be had, and those to download before the run starts."""
    found = lacking(components)
    to_bring = [] if invocation.config.offline else [one for one in found if one.weights.fetchable]
    words = command([*invocation.flags, *invocation.overrides])
    return [one.problem(words) for one in found if one not in to_bring], to_bring


def command(words: Sequence[str]) -> str:
    """Return the command that fetches what a command line of these words needs; of a key given twice the last counts."""
    last = {key_of(word) if "=" in word else word: word for word in words}
    told = [word for key, word in last.items() if key not in ("dry_run", "debug", "reuse")]
    return shlex.join(["python", "-m", "benchmark", "fetch", *told])


def bring(wanted: Sequence[Lacking]) -> None:
    """Download all that is lacking, one after the other. Raises UserError with what could not be had, after trying all."""
    problems = []
    for n, one in enumerate(wanted, 1):
        what = one.weights.repository or one.weights.path.name
        if not one.weights.fetchable:
            problems.append(one.problem(""))
            continue
        print(f"[{n}/{len(wanted)}] {one.weights.name}: {what} ({one.size})", flush=True)
        try:
            print(f"  -> {one.weights.fetch()}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever a server or a library does, the others can still be had
            source = one.weights.repository or one.weights.url
            said = str(error).strip().splitlines() or [type(error).__name__]
            fix = "try again where there is network"
            fix += "; HF_ENDPOINT chooses another hub" if one.weights.repository else ""
            problems.append(Problem(one.where, f"{what} can't be downloaded: {said[0]}", source, fix=fix))
    if problems:
        raise UserError(problems)
