"""Which frames of a clip a metric looks at: `all`, `first`, a number N (evenly spread), or `every_k` (each k-th)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmark.errors import Problem

FRAMES = "all, first, a number of frames (evenly spread, ends included), every_2, every_3, ..."


def frame_indices(length: int, frames: str | int) -> list[int]:
    """Return the indices of a clip of `length` frames to look at, ascending, each once.

    "all"; "first"; a number N: N frames evenly spread from the first to the last (the middle one for 1, all of a clip that
    has fewer); "every_k": frames 0, k, 2k, ...

    Raises: ValueError for a setting that `frames_problems` refuses.
    """
    kind, count = _parsed(frames)
    if kind == "every":
        return list(range(0, length, count))
    if count == 1 and length > 1:
        return [(length - 1) // 2]
    if count >= length:
        return list(range(length))
    gaps = count - 1
    return [(2 * index * (length - 1) + gaps) // (2 * gaps) for index in range(count)]  # rounded, halves up


def frames_problems(where: str, frames: str | int) -> Iterator[Problem]:
    """Yield a problem if `frames`, the setting at the key `where`, can't be understood."""
    try:
        _parsed(frames)
    except ValueError:
        yield Problem(where, "is no way to choose frames", repr(frames), FRAMES, "say 8 for eight frames of each clip")


def _parsed(frames: str | int) -> tuple[str, int]:
    if isinstance(frames, int) and not isinstance(frames, bool) and frames >= 1:
        return "spread", frames
    word = str(frames).strip().lower()
    if word == "all":
        return "every", 1
    if word == "first":
        return "every", _ONLY_THE_FIRST
    if (match := re.fullmatch(r"every[ _-]?(\d+)", word)) and int(match[1]) >= 1:
        return "every", int(match[1])
    if word.isdecimal() and int(word) >= 1:
        return "spread", int(word)
    raise ValueError(f"{frames!r} is no way to choose frames; allowed: {FRAMES}")


_ONLY_THE_FIRST = 1 << 62  # a step that no clip reaches
