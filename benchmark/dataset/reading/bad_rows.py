"""Rows that can't become cases: collected and raised together, or left out and counted if the user says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmark.dataset import Excluded
from benchmark.errors import Problem, UserError

MOST_LISTED = 1000
MOST_SHOWN = 200  # characters of what was found


class BadRows:
    """What is wrong with the rows of one reading of a dataset: all are counted, the first MOST_LISTED problems are kept."""

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.good = 0
        self.excluded = Excluded()

    def add(self, problems: Sequence[Problem]) -> None:
        """Count one bad row and keep its problems; none if what is wrong was said of an earlier row."""
        self.excluded.count += 1
        room = MOST_LISTED - len(self.excluded.listed)
        self.excluded.listed += problems[: max(0, room)]

    def close(self, others: Sequence[Problem] = ()) -> None:
        """Raise UserError with the problems, unless there are none or bad rows are to be left out and good ones remain.

        `others` are problems of the whole dataset, which are raised in any case.
        """
        count, listed = self.excluded.count, self.excluded.listed
        if not count or (self.skip and self.good):
            if others:
                raise UserError(others)
            return
        if self.skip:
            advice = f"mend them: all {count} rows are bad, so leaving them out leaves no case"
        else:
            rows = "this bad row" if count == 1 else f"the {count} bad rows"
            advice = f"leave out {rows} of {count + self.good}: dataset.skip_bad=true"
        first = listed[0]
        fix = f"{first.fix}; or {advice}" if first.fix else advice
        raise UserError([*others, replace(first, fix=fix), *listed[1:]])


def shown(value: object) -> str:
    """Return what was found, cut to a length that a message can hold."""
    if isinstance(value, (bytes, bytearray)) and len(value) > 40:
        return f"{bytes(value[:40])!r}... ({len(value)} bytes)"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)} characters)"
