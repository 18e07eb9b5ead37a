"""Resume: planning an invocation over 1,000,000 recorded cases: time and peak memory.

    python tests/bench/resume.py [CASES]

All but ten cases have a prediction, in the journal of a worker that died; the plan has to find out which ten. The planning
is done by the command line in a process of its own, so the figures hold interpreter, Hydra and imports too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import yaml
from harness import STUDIO, report, scratch, text_run

from benchmark.records import Prediction, sample_seed
from benchmark.store import Store, prediction_digest

LEFT = 10


def record_all_but(store: Store, fingerprint: str, n: int) -> None:
    """Write the journal of a worker that did all but the last cases and died."""
    journal = store.open_journal(role="worker", stage="infer", worker="w0", config="")
    batch = []
    for index in range(n - LEFT):
        case_id, text = f"c{index:03d}", f"hello number {index}"
        sha256 = prediction_digest({}, text)
        batch.append(
            Prediction(
                case_id=case_id, sample=0, status="ok", text=text, sha256=sha256, seed=sample_seed(0, case_id, 0),
                batch_size=1, latency_s=0.1, fingerprint=fingerprint, worker="w0",
            )
        )  # fmt: skip
        if len(batch) == 1000:
            journal.write(*batch)
            batch.clear()
    journal.write(*batch)


def main(n: int = 1_000_000) -> None:
    with scratch() as folder:
        prompts = {"_target_": "benchmark.prompts.plain.Plain", "template": "{prompt}", "negative": ""}
        model = yaml.safe_load((STUDIO / "conf" / "model" / "echo.yaml").read_text())
        store, frozen = text_run(Path(folder), n, model=model, prompts=prompts)
        record_all_but(store, frozen.prediction.fingerprint, n)
        command = [sys.executable, "-m", "benchmark", "--config-dir", str(STUDIO / "conf"), "plugins=[studio]"]
        command += ["model=echo", "dataset=numbers", f"dataset.n={n}", "metrics=[length]", "name=bench"]
        command += [f"output_root={folder}", "mode=infer", "dry_run=true"]
        start = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(STUDIO)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        wall_s = time.perf_counter() - start
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    if f"{LEFT} pending, {n - LEFT} reused" not in done.stdout:
        raise SystemExit(f"the plan is wrong:\n{done.stdout}\n{done.stderr}")
    report("resume, time", wall_s / 15, "target at most 1x of 15 s", f"{wall_s:.1f} s for {n:,} recorded cases")
    report("resume, memory", peak_gb, "target at most 1x of 1 GB", f"{peak_gb:.2f} GiB at the peak")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
