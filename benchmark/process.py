"""What names a process among all processes of all hosts, and whether it is gone."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path


def process_start(pid: int) -> str:
    """Return when the process started, in clock ticks since boot, or "" when it is gone (or no /proc tells)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may contain anything
    return "" if fields[0] in "ZX" else fields[19]


def is_gone(pid: int, start_time: str) -> bool:
    """Return whether the process of this host that had `pid` and `start_time` is gone for certain; a zombie is."""
    if not start_time or process_start(pid) == start_time:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's, and /proc may be mounted so that it shows only one's own
        return Path(f"/proc/{pid}").exists()
    except OSError:
        return True
    return True  # a zombie, or another process that got the same pid


def this_process() -> dict[str, object]:
    """Return what tells this process from all others, on any host: the fields of a Life that name a process."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return {
        "host": socket.gethostname(),
        "boot_id": _read_text("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": namespace,
        "pid": os.getpid(),
        "start_time": process_start(os.getpid()),
    }


def _read_text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""
