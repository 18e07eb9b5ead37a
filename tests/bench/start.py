"""What a start costs: user CPU time of `python -m benchmark dry_run=true` over that of a bare Hydra app.

    python tests/bench/start.py [repetitions]

The bare app composes the same conf/ and prints the config. Both are started in turn, and the median of each counts.
Exits 1 if the ratio is above LIMIT.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.6
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
BARE = f"""
import hydra
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("genbench_scratch", lambda: ".")

@hydra.main(version_base="1.3", config_path={str(ROOT / "conf")!r}, config_name="config")
def main(config):
    print(OmegaConf.to_yaml(config))

main()
"""


def cpu_s(command: list[str], folder: str) -> float:
    """Return the user CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main(repetitions: int) -> float:
    """Print the medians and return their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bare.py").write_text(BARE)
        commands = {
            "bare Hydra app": [sys.executable, "bare.py"],
            "genbench dry run": [sys.executable, "-m", "benchmark", "dry_run=true"],
        }
        for command in commands.values():
            cpu_s(command, folder)  # compiles what is not compiled yet
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repetitions):
            for name, command in commands.items():
                times[name].append(cpu_s(command, folder))
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    for name, median in medians.items():
        print(f"{name:<18}{median:.3f} s user CPU (median of {repetitions}, best {min(times[name]):.3f})")
    bare, ours = medians.values()
    print(f"ratio             {ours / bare:.2f} (limit {LIMIT})")
    return ours / bare


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9) > LIMIT)
