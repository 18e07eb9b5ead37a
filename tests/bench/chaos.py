"""Chaos: 200 cases, 4 workers, 50 SIGKILLs at random moments of driver and workers.

    python tests/bench/chaos.py [KILLS] [SEED]

The same command is typed again after each death of the driver. At the end the records must equal an undisturbed run's apart
from timings, no recorded case may have been made again, and nothing may be torn. Prints how much work the kills cost.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import STUDIO, report, scratch

CASES, WORKERS, SLEEP_S = 200, 4, 0.15
UNSTABLE = ("latency_s", "worker", "attempt", "peak_memory_gb")


def command(root: Path, trace: Path) -> list[str]:
    return [
        sys.executable, "-m", "benchmark", "--config-dir", str(STUDIO / "conf"), "plugins=[studio]", "model=echo",
        "dataset=numbers", f"dataset.n={CASES}", "metrics=[length]", "metrics.length.sleep_s=0.05", "name=chaos",
        f"model.sleep_s={SLEEP_S}", f"model.trace={trace}", f"compute.workers={WORKERS}", f"output_root={root}",
        "compute.max_case_deaths=0", "compute.max_restarts=1000", "compute.lease_s=5",
    ]  # fmt: skip


def workers(root: Path) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"benchmark.worker" in words and any(word.startswith(str(root).encode()) for word in words):
            found.append(int(path.parent.name))
    return found


def start(root: Path, trace: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(STUDIO)}
    with (root / "driver.log").open("ab") as log:
        return subprocess.Popen(command(root, trace), env=environment, stdout=log, stderr=log, start_new_session=True)


def killed_run(root: Path, trace: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    """Run to the end through `kills` SIGKILLs; return how many hit the driver, and how many a worker."""
    hit = {"driver": 0, "worker": 0}
    process = start(root, trace)
    while sum(hit.values()) < kills:
        time.sleep(chance.uniform(0.05, 0.6))
        if process.poll() is not None:
            if process.returncode == 0:
                raise SystemExit(f"the run was over after {hit}: give it more cases")
            process = start(root, trace)
            continue
        victims = workers(root)
        if chance.random() < 0.25 or not victims:
            if not list(root.glob("chaos/2*/cases.jsonl")):
                continue  # killed before the run exists there is nothing to lose
            process.send_signal(signal.SIGKILL)
            process.wait()
            hit["driver"] += 1
            process = start(root, trace)
        else:
            try:
                os.kill(chance.choice(victims), signal.SIGKILL)
            except ProcessLookupError:
                continue
            hit["worker"] += 1
    if process.wait(timeout=300) != 0:
        raise SystemExit((root / "driver.log").read_text()[-3000:])
    return hit["driver"], hit["worker"]


def records(root: Path) -> dict[str, list[dict]]:
    runs = [path.parent for path in root.glob("chaos/2*/cases.jsonl")]
    if len(runs) != 1:
        raise SystemExit(f"{len(runs)} runs instead of one: {runs}")
    found = {}
    for name, pattern in (("predictions", "predictions/*/predictions.jsonl"), ("scores", "results/*/scores.jsonl")):
        lines = next(runs[0].glob(pattern)).read_text().splitlines()
        found[name] = [{k: v for k, v in json.loads(line).items() if k not in UNSTABLE} for line in lines]
    return found


def remade(root: Path) -> int:
    """Return how many units have more than one ok record over all journals."""
    seen: dict[tuple, int] = {}
    for path in root.glob("chaos/2*/.work/journals/*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the torn last line of a killed life
            if record.get("status") == "ok":
                unit = (record["record"], record["case_id"], record["sample"], record.get("metric"))
                seen[unit] = seen.get(unit, 0) + 1
    return sum(n > 1 for n in seen.values())


def main(kills: int = 50, seed: int = 0) -> None:
    with scratch() as folder:
        calm, storm = Path(folder) / "calm", Path(folder) / "storm"
        for root in (calm, storm):
            root.mkdir()
        began = time.perf_counter()
        if start(calm, calm / "trace").wait() != 0:
            raise SystemExit((calm / "driver.log").read_text()[-3000:])
        calm_s = time.perf_counter() - began
        began = time.perf_counter()
        drivers, hit = killed_run(storm, storm / "trace", kills, random.Random(seed))
        storm_s = time.perf_counter() - began
        equal = records(calm) == records(storm)
        twice = remade(storm)
        asked = len((storm / "trace").read_text().split())
    print(f"chaos: {kills} SIGKILLs ({drivers} driver, {hit} workers): records {'equal' if equal else 'DIFFER'}, "
          f"{twice} recorded units made again")  # fmt: skip
    report(
        "chaos, cases asked of the model over cases", asked / CASES, "1 + kills / cases at most", f"{asked} / {CASES}"
    )
    report("chaos, time over the undisturbed run", storm_s / calm_s, "no target", f"{storm_s:.0f} s / {calm_s:.0f} s")
    if not equal or twice:
        raise SystemExit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
