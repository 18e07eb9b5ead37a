"""Scoring: 64 real clips with all basic metrics, against the same metrics one after another with a decode each.

    python tests/bench/scoring.py [CLIPS]

The floor of what is possible, decoding alone, is printed beside it. All in one process, single worker.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from harness import frozen_run, report, scratch

from benchmark import merge
from benchmark.clip import Clip
from benchmark.config import Frozen
from benchmark.metrics import Item
from benchmark.metrics.basic import Basic
from benchmark.store import Store
from benchmark.worker import Worker


def clips(root: Path, n: int) -> tuple[Store, Frozen]:
    """Make the default run's clips."""
    plain = {
        "model": {"_target_": "benchmark.model.ken_burns.KenBurns"},
        "dataset": {"_target_": "benchmark.dataset.pictures.Pictures"},
        "prompts": {"_target_": "benchmark.prompts.plain.Plain"},
        "metrics": {"basic": {"_target_": "benchmark.metrics.basic.Basic"}},
        "media": {}, "compute": {}, "limit": n, "output_root": str(root), "name": "bench", "reuse": None,
    }  # fmt: skip
    store, frozen = frozen_run(plain, "ken_burns", "pictures")
    do(store, frozen, "infer")
    return store, frozen


def do(store: Store, frozen: Frozen, stage: str) -> float:
    start = time.perf_counter()
    worker = Worker(store, stage, frozen, "w0")
    worker.run()
    worker.journal.end("done")
    return time.perf_counter() - start


def one_by_one_s(store: Store, frozen: Frozen) -> tuple[float, float]:
    """Return the seconds of scoring measure by measure with a decode each, and of decoding every clip once."""
    made = merge.predictions(store, frozen.model_name)
    cases = {case.id: case for case in store.cases()}

    def item(key: tuple) -> Item:
        files = {role: store.folder / path for role, path in made[key].files.items()}
        return Item(cases[key[0]], made[key], Clip(files))

    start = time.perf_counter()
    for measure in Basic().measures:
        metric = Basic(names=[measure.name])
        metric.load("cpu")
        for key in made:
            metric.score([item(key)])
    spent = time.perf_counter() - start
    start = time.perf_counter()
    for key in made:
        _ = item(key).clip.frames
    return spent, time.perf_counter() - start


def main(n: int = 64) -> None:
    with scratch() as folder:
        store, frozen = clips(Path(folder), n)
        ours = do(store, frozen, "eval")
        separate, decoding = one_by_one_s(store, frozen)
    report(
        "scoring, one pass over one after another",
        separate / ours,
        "higher is better",
        f"{separate:.1f} s / {ours:.1f} s",
    )
    report(
        "scoring, our pass over decoding alone", ours / decoding, "the floor is 1", f"{ours:.1f} s / {decoding:.1f} s"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
