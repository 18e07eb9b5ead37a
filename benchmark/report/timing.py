"""How long a stage took, read from its journals."""

from __future__ import annotations

from benchmark.journal import read_journal
from benchmark.records import End, Life
from benchmark.store import Store


def stage_seconds(store: Store, stage: str) -> float:
    """Return the wall time in seconds during which at least one worker of the stage lived, over all invocations."""
    spans = []
    for path in store.stage_journals(stage):
        records, _, _ = read_journal(path)
        if records and isinstance(records[0], Life):
            last = records[-1]
            end = last.time if isinstance(last, End) else path.stat().st_mtime
            spans.append((records[0].time, max(records[0].time, end)))
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return round(total, 3)
