"""The chosen frames of a clip one by one, so that a long clip is never held whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from benchmark.clip import Clip


def frames_at(clip: Clip, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 at `indices`, which ascend. Raises: ValueError if the clip ends before the last."""
    wanted = iter(indices)
    index = next(wanted, None)
    first = 0
    for block in clip.blocks():
        while index is not None and index < first + len(block):
            yield block[index - first]
            index = next(wanted, None)
        first += len(block)
        if index is None:
            return
    if index is not None:
        raise ValueError(f"{next(iter(clip.files.values()))} has {first} frames, none at {index}")
