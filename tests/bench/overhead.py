"""Overhead: draining 10,000 text cases, against a plain loop that appends the same lines.

    python tests/bench/overhead.py [CASES]

Two floors. The plain loop is the script that one would write without genbench: for each case it renders the prompt, asks the
model (or the metric), makes the record and appends its line with an os.write; nothing in it survives a second worker or a
crash. The bare append writes the finished records of the journals again and asks nobody: no loop that works reaches it.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from harness import report, scratch, text_run
from studio.parts import Echo, Length

from benchmark import drain, merge
from benchmark.clip import Clip
from benchmark.config import Frozen
from benchmark.journal import read_journal
from benchmark.metrics import Item
from benchmark.model import Request
from benchmark.prompts.plain import Plain
from benchmark.records import Line, Prediction, Score, encode, sample_seed
from benchmark.store import Store, prediction_digest
from benchmark.worker import Worker


def drained_s(store: Store, frozen: Frozen, stage: str) -> float:
    """Do a stage in this process; return the seconds its drain loop took."""
    spent = []
    run = drain.Drain.run

    def timed(self: drain.Drain, *arguments: int) -> None:
        start = time.perf_counter()
        run(self, *arguments)
        spent.append(time.perf_counter() - start)

    drain.Drain.run = timed  # type: ignore[method-assign]
    try:
        worker = Worker(store, stage, frozen, "w0")
        worker.run()
        worker.journal.end("done")
    finally:
        drain.Drain.run = run  # type: ignore[method-assign]
    return sum(spent)


def plain_loop_s(store: Store, frozen: Frozen, stage: str, path: Path) -> float:
    """Make and append the records of a stage as a plain script would; return its seconds."""
    model, prompts, metric, seed = Echo(), Plain(), Length(), frozen.seed
    made = merge.predictions(store, frozen.model_name) if stage == "eval" else {}
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    start = time.perf_counter()
    for case in store.cases():
        if stage == "infer":
            text, negative = prompts.render(case)
            request = Request(case, 0, text, negative, sample_seed(seed, case.id, 0))
            began = time.perf_counter()
            (answer,) = model.generate([request])
            record: Line = Prediction(
                case_id=case.id, sample=0, status="ok", text=answer, sha256=prediction_digest({}, answer), seed=request.seed,
                batch_size=1, latency_s=round(time.perf_counter() - began, 6), fingerprint="", worker="plain",
            )  # fmt: skip
        else:
            prediction = made[case.id, 0]
            (values,) = metric.score([Item(case, prediction, Clip({}, prediction.text))])
            record = Score(
                case_id=case.id, sample=0, category=case.category, metric="length/length", status="ok",
                value=float(values["length"]), prediction_sha256=prediction.sha256, fingerprint="", worker="plain",
            )  # fmt: skip
        os.write(fd, encode(record))
    spent = time.perf_counter() - start
    os.close(fd)
    return spent


def bare_append_s(store: Store, stage: str, path: Path) -> float:
    """Append the finished lines of a stage's journals to a file, one by one; return its seconds."""
    records = [record for journal in store.stage_journals(stage) for record in read_journal(journal)[0]]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    start = time.perf_counter()
    for record in records:
        os.write(fd, encode(record))
    spent = time.perf_counter() - start
    os.close(fd)
    return spent


def main(n: int = 10_000, rounds: int = 5) -> None:
    spent: dict[str, list[float]] = {"ours": [], "plain": [], "bare": []}
    for _ in range(rounds):
        with scratch() as folder, contextlib.redirect_stdout(io.StringIO()):
            store, frozen = text_run(Path(folder), n)
            ours = {stage: drained_s(store, frozen, stage) for stage in ("infer", "eval")}
            spent["ours"].append(sum(ours.values()))
            for name, floor in (
                ("plain", partial(plain_loop_s, store, frozen)),
                ("bare", partial(bare_append_s, store)),
            ):
                spent[name].append(sum(floor(stage, Path(folder) / f"{name}-{stage}") for stage in ours))
    ours_s, plain_s, bare_s = (statistics.median(spent[name]) for name in ("ours", "plain", "bare"))
    detail = f"{ours_s:.3f} s / {{:.3f}} s, infer and eval of {n:,} cases, median of {rounds} rounds"
    report("overhead over a plain loop", ours_s / plain_s, "target at most 3x", detail.format(plain_s))
    report("overhead over bare appending", ours_s / bare_s, "for comparison", detail.format(bare_s))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
