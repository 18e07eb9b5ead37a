"""One worker process: `python -m benchmark.worker RUN_FOLDER STAGE CONFIG_DIGEST`.

Runs with the light dependencies alone (msgspec, pyyaml, numpy, pillow, av), so a stage can use an interpreter that has
neither Hydra nor this package installed. It reads the frozen config and nothing else, drains the stage's pending cases, and
leaves when nothing is left, when it is told to (SIGTERM: it ends its batch first), or when its parent is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark import merge
from benchmark.build import build
from benchmark.claims import Claims, chunk_size
from benchmark.config import Frozen, read_frozen
from benchmark.drain import Drain
from benchmark.errors import DiskFull, UserError
from benchmark.evaluate import Context, Evaluation, SetEvaluation
from benchmark.infer import Inference
from benchmark.journal import Journal, Watcher
from benchmark.ledger import Ledger
from benchmark.metrics import Metric, SetMetric
from benchmark.model import Model
from benchmark.prompts import Prompts
from benchmark.records import digest
from benchmark.store import Store, is_disk_full

EXIT_DONE, EXIT_FAILED, EXIT_DISK_FULL, EXIT_TIMED_OUT, EXIT_ORPHANED = 0, 3, 74, 75, 76
PARENT = "GENBENCH_PARENT"  # the process id of whoever started this worker and restarts it
NAME = "GENBENCH_WORKER"
WATCH_S = 0.5


def component(spec: Mapping[str, Any], protocols: tuple[type, ...], where: str, frozen: Frozen) -> Any:
    """Build a component of the frozen config; what fails here was fine when the run was planned."""
    built, problems = build(spec, protocols, where, frozen.plugins)
    if problems:
        raise UserError(problems)
    return built


class Worker:
    """One life of a worker: its journal, its watchers, and the passes of its stage."""

    def __init__(self, store: Store, stage: str, frozen: Frozen, name: str) -> None:
        self.store, self.stage, self.frozen, self.name = store, stage, frozen, name
        self.stop = threading.Event()
        self.compute = frozen.compute
        self.device = "cuda" if os.environ.get("CUDA_VISIBLE_DEVICES") else "cpu"
        self._drain: Drain | None = None
        self._leaving = threading.Lock()
        self.journal: Journal = store.open_journal(role="worker", stage=stage, worker=name, config=frozen.digest)
        self.watcher = Watcher(store.journals, self.compute.lease_s)

    def run(self) -> None:
        """Do the stage. Raises DiskFull, or whatever building and loading the components raises."""
        self.journal.keep_alive(self.compute.lease_s)
        passes = self._infer() if self.stage == "infer" else self._eval()
        for work, attempt, key in passes:
            n = 1 if isinstance(work, SetEvaluation) else len(self.store.cases())
            size = chunk_size(n, work.batch)
            folder = self.store.claims(self.stage, digest([key, size]))
            claims = Claims(folder, n, size, self.journal, self.watcher)
            self._drain = Drain(work, claims, self.journal, attempt, self.stop)
            self._drain.run(self.compute.max_case_deaths)
            if self.stop.is_set():
                return

    def _ledger(self, fingerprints: list[str]) -> tuple[Ledger, list[str]]:
        ledger = Ledger(self.store, self.stage, self.frozen.model_name, fingerprints)
        journals = [path.name for path in self.store.stage_journals(self.stage)]
        others = [name for name in journals if name != self.journal.name and ledger.in_flight.get(name)]
        return ledger, [name for name in others if self.watcher.death(name)]

    def _infer(self) -> Any:
        frozen = self.frozen
        ledger, dead = self._ledger([frozen.prediction.fingerprint])
        cases, turn = self.store.cases(), frozen.infer
        keys = ((case.id, sample) for case in cases for sample in range(frozen.samples))
        if not any(turn.wants(ledger.states.get(key)) for key in keys):
            return
        model = component(frozen.model, (Model,), "model", frozen)
        prompts = component(frozen.prompts, (Prompts,), "prompts", frozen)
        self._load("the model", model)
        work = Inference(self.store, frozen, model, prompts, ledger, self.name, self.journal.name[:-6], dead)
        yield (
            work,
            turn.attempt,
            [frozen.cases.digest, frozen.prediction.fingerprint, turn.attempt, turn.floor],
        )

    def _eval(self) -> Any:
        frozen = self.frozen
        made = merge.predictions(self.store, frozen.model_name, frozen.prediction.fingerprint)
        ledger, dead = self._ledger(list(frozen.score_fingerprints.values()))
        context = Context(self.store, frozen, ledger, made, self.name, dead)
        turns = {
            name: [plan.identity.fingerprint, plan.turn.attempt, plan.turn.floor]
            for name, plan in frozen.metrics.items()
        }
        key = [frozen.cases.digest, turns, merge.set_digest(made)]
        attempt = max((plan.turn.attempt for plan in frozen.metrics.values()), default=0)
        metrics = {
            name: component(plan.spec, (Metric, SetMetric), f"metrics.{name}", frozen)
            for name, plan in frozen.metrics.items()
        }
        model = component(frozen.model, (Model,), "model", frozen)
        single = {name: metric for name, metric in metrics.items() if frozen.metrics[name].scope == "case"}
        evaluation = Evaluation(context, single, model.output)
        lacking = {option for unit in made for option in evaluation.lacking(*unit)}
        if lacking:
            for name in sorted(lacking):
                self._load(f"metrics.{name}", single[name])
            yield evaluation, attempt, ["case", *key]
        whole = {name: metric for name, metric in metrics.items() if frozen.metrics[name].scope == "set"}
        set_evaluation = SetEvaluation(context, whole)
        if made and set_evaluation.lacking():
            for name in set_evaluation.lacking():
                self._load(f"metrics.{name}", whole[name])
            yield set_evaluation, attempt, ["set", *key]

    def _load(self, what: str, loaded: Any) -> None:
        start = time.perf_counter()
        loaded.load(self.device)
        print(f"loaded {what} on {self.device} in {time.perf_counter() - start:.1f} s", flush=True)

    def watch(self) -> None:
        """Watch the parent and the clock of the batch at work, from a thread; both can only end the process."""

        def look() -> None:
            parent = int(os.environ.get(PARENT, os.getppid()))
            while not self.stop.wait(WATCH_S):
                self._look_after(parent)
            while True:  # leaving after SIGTERM may still take a batch: the clock and the parent count on
                time.sleep(WATCH_S)
                self._look_after(parent)

        threading.Thread(target=look, name="watch", daemon=True).start()

    def _look_after(self, parent: int) -> None:
        if os.getppid() != parent:
            self._leave_now("parent gone", EXIT_ORPHANED, give_back=True)
        limit_min = self.compute.case_timeout_min
        if not (self._drain and limit_min):
            return
        at_work = self._drain.at_work
        if at_work and time.monotonic() - at_work[0] > limit_min * 60:
            units = at_work[1]
            if len(units) == 1:  # of several it is not known which one hangs: each is tried alone by the next life
                self._drain.fail(units[0], f"TimeoutError: not done after case_timeout_min={limit_min:g}")
            self._leave_now("timed out", EXIT_TIMED_OUT, give_back=False)

    def _leave_now(self, reason: str, code: int, give_back: bool) -> None:
        with self._leaving:
            print(f"leaving: {reason}", file=sys.stderr, flush=True)
            with contextlib.suppress(DiskFull):
                if give_back and self._drain:
                    self._drain.give_back()
                self.journal.end(reason)
            os._exit(code)


def main(argv: list[str]) -> int:
    """Run one worker life; return its exit code."""
    folder, stage, config = argv
    store = Store(Path(folder))
    try:
        frozen = read_frozen(store.configs / f"{config}.yaml")
        worker = Worker(store, stage, frozen, os.environ.get(NAME, f"w{os.getpid()}"))
    except (DiskFull, OSError) as error:
        print(f"can't start: {error}", file=sys.stderr)
        return EXIT_DISK_FULL if is_disk_full(error) else EXIT_FAILED
    signal.signal(signal.SIGTERM, lambda *_: worker.stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal: the driver decides
    worker.watch()
    return end_of(worker)


def end_of(worker: Worker) -> int:
    """Run the worker and return how it ended, as an exit code; its journal is closed."""
    try:
        worker.run()
        worker.journal.end("told to stop" if worker.stop.is_set() else "done")
    except DiskFull as error:
        print(f"no space left: {error}", file=sys.stderr, flush=True)
        return EXIT_DISK_FULL
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        worker.journal.end("failed")
        return EXIT_FAILED
    except Exception:  # noqa: BLE001 - the log is where a worker's traceback belongs
        traceback.print_exc()
        sys.stderr.flush()
        with contextlib.suppress(DiskFull):
            worker.journal.end("failed")
        return EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # a stuck thread of a library must not keep the process
