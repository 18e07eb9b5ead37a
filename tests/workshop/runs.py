"""Run folders frozen without Hydra, workers as processes or in this one, and a way to wait without sleeping blindly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmark import merge, worker
from benchmark.build import build
from benchmark.config import CaseSet, Compute, Frozen, Identity, Media, MetricPlan
from benchmark.journal import read_journal
from benchmark.ledger import Pass
from benchmark.metrics import Metric, SetMetric
from benchmark.records import Case, Prediction, Score, digest, encode
from benchmark.store import Store

TESTS = Path(__file__).resolve().parent.parent


def cases(n: int, **do: Mapping[str, Any]) -> list[Case]:
    """Return `n` cases c0, c1, ...; `do` gives fields to some of them: cases(3, c1={"do": "raise"})."""
    return [Case(id=f"c{i}", category="ab"[i % 2], prompt=f"p{i}", fields=dict(do.get(f"c{i}", {}))) for i in range(n)]


def until(true: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Return the first true value; fail when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := true():
            return value
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {timeout_s} s")


def metric_plan(name: str, turn: Pass | None = None, **arguments: Any) -> MetricPlan:
    """Return the plan of a metric of the workshop."""
    spec = {"_target_": f"workshop.parts.{name}", **arguments}
    metric, problems = build(spec, (Metric, SetMetric), "metrics", ["workshop"])
    assert not problems, problems
    scope = "set" if isinstance(metric, SetMetric) else "case"
    keys = {key: value for key, value in spec.items() if key != "notes"}
    return MetricPlan(spec, Identity(keys), scope, turn or Pass(), list(metric.measures))


@dataclass
class Run:
    """A run folder and its frozen config; `frozen` may be replaced, as a further invocation would."""

    store: Store
    frozen: Frozen
    notes: Path
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def freeze(self, **changes: Any) -> None:
        """Write the config of one more invocation."""
        self.frozen = msgspec.structs.replace(self.frozen, **changes)
        for name in (self.frozen.digest, "config"):
            self.store.write(self.store.configs / f"{name}.yaml", self.frozen.to_yaml())

    def compute(self, **changes: Any) -> None:
        self.freeze(compute=msgspec.structs.replace(self.frozen.compute, **changes))

    def retry(self, attempt: int, floor: int = 0, max_attempts: int = 3) -> None:
        """Begin a new attempt of both stages."""
        turn = Pass(attempt, floor, max_attempts)
        plans = {name: msgspec.structs.replace(plan, turn=turn) for name, plan in self.frozen.metrics.items()}
        self.freeze(infer=turn, metrics=plans)

    def start(self, stage: str = "infer", name: str = "w0", parent: int | None = None) -> subprocess.Popen[bytes]:
        """Start a worker as a process of its own."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
            "PYTHONUNBUFFERED": "1",
            "CUDA_VISIBLE_DEVICES": "",
            worker.NAME: name,
            worker.PARENT: str(parent or os.getpid()),
        }
        command = [sys.executable, "-m", "benchmark.worker", str(self.store.folder), stage, self.frozen.digest]
        with self.store.log_file(stage, name).open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._started.append(process)
        return process

    def here(self, stage: str = "infer", name: str = "w0") -> int:
        """Do a stage with one worker in this process; return its exit code."""
        return worker.end_of(worker.Worker(self.store, stage, self.frozen, name))

    def kill(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def log(self, stage: str = "infer", name: str = "w0") -> str:
        return self.store.log_file(stage, name).read_text()

    def noted(self, name: str) -> list[str]:
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []

    def lines(self, kind: type, stage: str = "infer") -> list[Any]:
        """Return all records of a kind in all journals of a stage."""
        journals = self.store.stage_journals(stage)
        return [record for path in journals for record in read_journal(path)[0] if isinstance(record, kind)]

    def made(self) -> dict[str, Prediction]:
        """Return the prediction that counts of each case (of its first sample)."""
        fingerprint = self.frozen.prediction.fingerprint
        found = merge.predictions(self.store, self.frozen.model_name, fingerprint)
        return {case_id: record for (case_id, sample), record in found.items() if not sample}

    def scores(self) -> dict[tuple[str | None, str], Score]:
        """Return the score that counts of each case and metric (of its first sample)."""
        made = merge.predictions(self.store, self.frozen.model_name, self.frozen.prediction.fingerprint)
        found = merge.scores(self.store, self.frozen.model_name, made)
        return {(score.case_id, score.metric): score for score in found if not score.sample}

    def recorded_once(self, expected: Iterable[str], kind: type = Prediction, stage: str = "infer") -> bool:
        """Return whether each expected case has exactly one ok record in all journals together."""
        ids = sorted(record.case_id for record in self.lines(kind, stage) if record.status == "ok")
        return ids == sorted(expected)


def freeze_run(
    folder: Path,
    chosen: Sequence[Case],
    model: str = "Text",
    metrics: Mapping[str, MetricPlan] | None = None,
    samples: int = 1,
    media: Media | None = None,
    compute: Mapping[str, Any] | None = None,
    seed: int = 0,
    **arguments: Any,
) -> Run:
    """Lay out a run of a workshop's model; `arguments` are the model's."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    store = Store(folder / "run")
    store.write(store.cases_file, map(encode, chosen))
    frozen = Frozen(
        name="test",
        model_name="model",
        mode="all",
        model={"_target_": f"workshop.parts.{model}", "notes": str(notes), **arguments},
        dataset={},
        prompts={"_target_": "benchmark.prompts.plain.Plain"},
        metrics=dict(metrics or {}),
        media=media or Media(),
        compute=Compute(**{"lease_s": 30.0, **(compute or {})}),
        seed=seed,
        samples=samples,
        limit=None,
        plugins=["workshop"],
        plugin_folders={},
        cases=CaseSet(len(chosen), digest([case.id for case in chosen])),
        prediction=Identity({"model": model, "seed": seed}),
        infer=Pass(),
    )
    run = Run(store, frozen, notes)
    run.freeze()
    return run
