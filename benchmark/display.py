"""What a waiting user sees of a stage: a live table on a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from benchmark.progress import Progress, Snapshot, duration

LINE_EVERY_S = 5.0
LOOK_EVERY_S = 0.25


class Display:
    """Shows a stage's progress until it is left. `update` may be called as often as one likes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._next_look = 0.0
        self._next_line = time.monotonic() + LINE_EVERY_S
        self._notice = ""
        self._live: Any = None
        self.snapshot = progress.look()

    def __enter__(self) -> Display:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(self._table(self.snapshot), refresh_per_second=4, transient=True)
            self._live.__enter__()
        else:
            print(self.snapshot.line(), flush=True)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.snapshot = self._progress.look()
        if self._live:
            self._live.__exit__(kind, error, trace)
        print(self.snapshot.line(), flush=True)

    def notice(self, text: str) -> None:
        """Show a sentence at once, and keep it in view."""
        self._notice = text
        if self._live:
            self._live.update(self._table(self.snapshot), refresh=True)
        else:
            print(text, flush=True)

    def update(self) -> None:
        """Look at the journals if it is time to; a look may take a tenth of the time at most."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self.snapshot = self._progress.look()
        took_s = time.monotonic() - now
        self._next_look = now + max(LOOK_EVERY_S, 10 * took_s)
        if self._live:
            self._live.update(self._table(self.snapshot))
        elif now >= self._next_line:
            self._next_line = now + LINE_EVERY_S
            print(self.snapshot.line(), flush=True)

    def _table(self, snapshot: Snapshot) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = ProgressBar(total=max(snapshot.expected, 1), completed=snapshot.done + snapshot.failed, width=40)
        table = Table(box=None, show_header=False, padding=(0, 2))
        for worker in snapshot.workers[:32]:
            table.add_row(worker.worker, Text(worker.state, overflow="ellipsis"), duration(worker.since_s))
        if len(snapshot.workers) > 32:
            table.add_row(f"and {len(snapshot.workers) - 32} more workers", "", "")
        parts: list[Any] = [Text(snapshot.line()), bar, table]
        if self._notice:
            parts.append(Text(self._notice, style="yellow"))
        return Group(*parts)
