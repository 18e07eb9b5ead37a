"""How long a stage took, read from its journals."""

from __future__ import annotations

from benchmark.journal import read_journal
from benchmark.records import End, Life, Start
from benchmark.store import Store


def stage_seconds(store: Store, stage: str) -> float:
    """Return the wall time in seconds during which at least one worker of the stage lived, over all invocations."""
    spans = []
    for path in store.stage_journals(stage):
        records, _, _ = read_journal(path)
        if records and isinstance(records[0], Life):
            # Of a life that was killed its last start is the last sign; the file's own time changes when it is copied.
            spans.append((records[0].time, max(r.time for r in records if isinstance(r, (Life, Start, End)))))
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return round(total, 3)
