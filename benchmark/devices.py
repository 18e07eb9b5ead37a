"""Which worker gets which GPUs, found out without importing torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from benchmark.config import Compute


@dataclass(frozen=True)
class Place:
    """A worker to start: its name, and the GPUs it sees (None: whatever the machine shows, () none)."""

    worker: str
    devices: tuple[str, ...] | None = None

    def environment(self, workers: int) -> dict[str, str]:
        """Return the environment variables that give the worker its GPUs and its share of the cores."""
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        variables = {
            name: threads
            for name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
            if name not in os.environ and workers > 1
        }
        if self.devices is not None:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(self.devices)
        return variables


def visible_gpus() -> list[str]:
    """Return the GPUs this process may use: what CUDA_VISIBLE_DEVICES says, else what nvidia-smi lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


def places(compute: Compute, pending: int) -> list[Place]:
    """Return the workers of a stage whose settings are `compute`: no more than there are units pending.

    `auto` means `workers_per_gpu` workers for each group of `gpus_per_worker` GPUs, or one worker where there is no GPU.
    """
    given = compute.devices
    gpus = visible_gpus() if given is None else [str(device) for device in given]
    size = compute.gpus_per_worker
    groups = [tuple(gpus[i : i + size]) for i in range(0, len(gpus) - size + 1, size)] if size else []
    groups *= compute.workers_per_gpu
    workers = max(1, len(groups)) if compute.workers == "auto" else compute.workers
    workers = min(workers, max(1, pending))
    if not groups:
        none: tuple[str, ...] | None = () if given == [] or size == 0 else None
        return [Place(f"w{index}", none) for index in range(workers)]
    return [Place(f"w{index}", groups[index % len(groups)]) for index in range(workers)]
