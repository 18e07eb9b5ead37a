"""Frames into batches, batches through pyiqa's metrics, and what they say back to each clip: in flat memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

from benchmark.metrics import Item, Measured
from benchmark.metrics.iqa_catalogue import Entry
from benchmark.metrics.sampling import frame_indices

if TYPE_CHECKING:
    import numpy as np
    import torch

    from benchmark.clip import Clip

MOST_DETAILS = 512  # frames whose values are kept beside a score
ONE_BY_ONE = {  # pyiqa takes one picture a call, or one picture's score depends on the others of its batch
    "qalign": "takes one", "qalign_8bit": "takes one", "qalign_4bit": "takes one", "compare2score": "takes one",
    "topiq_nr-face": "takes one", "topiq_nr-face-v1": "takes one", "topiq_nr_swin-face": "takes one",
}  # fmt: skip


@dataclass
class Tally:
    """One clip while it is scored: its reference, the frames looked at, each metric's values or its error."""

    item: Item
    reference: Clip | None = None
    resize: bool = False
    unpaired: Exception | None = None
    length: int = 0
    indices: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def pair(self, align: str, resize: bool, compares: bool) -> None:
        """Find the reference if any metric `compares`; one that does not fit fails those metrics alone."""
        self.length, self.resize = self.item.clip.length, resize
        if not compares:
            return
        if "reference" not in self.item.case.inputs:
            self.unpaired = ValueError("the case has no reference to compare with")
            return
        try:
            reference = self.item.input("reference")
            self._fit(reference, align)
            self.reference = reference
        except (ValueError, OSError) as error:
            self.unpaired = error

    def _fit(self, reference: Clip, align: str) -> None:
        made, other = self.item.clip.info, reference.info
        if (made.width, made.height) != (other.width, other.height) and not self.resize:
            raise ValueError(
                f"the output is {made.width}x{made.height}, its reference {other.width}x{other.height}; "
                "metrics.iqa.resize_reference=true resizes the reference to the output"
            )
        if other.kind == "image" or reference.length == self.length:
            return
        if align == "strict":
            raise ValueError(
                f"the output has {self.length} frames, its reference {reference.length}; "
                "metrics.iqa.align=truncate compares those that both have"
            )
        self.length = min(self.length, reference.length)

    def frames(self, which: str | int) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
        """Yield index, frame and the reference's frame (H, W, 3) uint8, or None, of each frame to look at."""
        wanted = frame_indices(self.length, which)
        ours = _picked(self.item.clip, wanted)
        if self.reference is None:
            theirs: Iterator[Any] = repeat(None)
        elif self.reference.info.kind == "image":
            theirs = repeat(self.reference.frames[0])
        else:
            theirs = _picked(self.reference, wanted)
        for index, frame, reference in zip(wanted, ours, theirs, strict=False):
            yield index, frame, self._sized(reference, frame)

    def _sized(self, reference: np.ndarray | None, frame: np.ndarray) -> np.ndarray | None:
        if reference is None or reference.shape == frame.shape:
            return reference
        import cv2

        height, width = frame.shape[:2]
        shrinks = reference.shape[0] >= height and reference.shape[1] >= width
        return cv2.resize(reference, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)

    def results(self, names: Mapping[str, Any]) -> dict[str, Measured | Exception]:
        """Return each metric's mean over the frames, with the frames' values, or its error."""
        return {name: self._result(name) for name in names}

    def _result(self, name: str) -> Measured | Exception:
        import numpy as np

        values = self.values.get(name, [])
        if name in self.errors:
            return self.errors[name]
        if bad := [index for index, value in zip(self.indices, values, strict=True) if not math.isfinite(value)]:
            shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
            return ValueError(f"{name} gave no finite number for {len(bad)} of {len(values)} frames: {shown}")
        details: dict[str, Any] = {"n_frames": len(values), "min": min(values), "max": max(values)}
        if len(values) <= MOST_DETAILS:
            details |= {"frames": self.indices, "values": [float(f"{value:.6g}") for value in values]}
        return Measured(float(np.mean(values)), details)


def _picked(clip: Clip, wanted: list[int]) -> Iterator[np.ndarray]:
    """Yield the frames at ascending indices, one by one, and decode no further than the last."""
    if clip.fits:
        yield from (clip.frames[index] for index in wanted)
        return
    chosen, first, found = set(wanted), 0, 0
    for block in clip.blocks():
        for index, frame in enumerate(block, first):
            if index in chosen:
                found += 1
                yield frame
        first += len(block)
        if found == len(wanted):
            return
    raise ValueError(f"the clip has {first} frames, not {clip.length} as its file says: none at {wanted[found]}")


@dataclass
class Batches:
    """Frames of one size, of one or several clips, on their way through the metrics."""

    metrics: Mapping[str, Callable[..., Any]]
    entries: Mapping[str, Entry]
    size: int
    device: str
    _waiting: list[tuple[Tally, np.ndarray, np.ndarray | None]] = field(default_factory=list)

    @property
    def compares(self) -> bool:
        """Whether any metric needs a reference."""
        return any(entry.full_reference for entry in self.entries.values())

    def add(self, tally: Tally, index: int, frame: np.ndarray, reference: np.ndarray | None) -> None:
        """Take a frame; score those that wait once there are enough, or one of another size comes."""
        if self._waiting and self._waiting[0][1].shape != frame.shape:
            self.flush()
        tally.indices.append(index)
        self._waiting.append((tally, frame, reference))
        if len(self._waiting) >= self.size:
            self.flush()

    def flush(self) -> None:
        """Score all frames that wait: those with a reference by all metrics, those without by the others."""
        waiting, self._waiting = self._waiting, []
        import torch

        with torch.inference_mode():
            for paired in (True, False):
                group = [one for one in waiting if (one[2] is not None) == paired]
                if group:
                    self._score(group)

    def _score(self, group: list[tuple[Tally, np.ndarray, np.ndarray | None]]) -> None:
        tallies = [tally for tally, _, _ in group]
        ours = self._tensor([frame for _, frame, _ in group])
        theirs = self._tensor([reference for _, _, reference in group if reference is not None])
        for name, metric in self.metrics.items():
            entry = self.entries[name]
            if entry.full_reference and theirs is None:
                for tally in tallies:
                    tally.errors.setdefault(name, tally.unpaired or ValueError("there is no reference"))
                continue
            pictures = (ours, theirs) if entry.full_reference else (ours,)
            for tally, value in zip(tallies, _values(metric, entry, pictures, tallies), strict=True):
                if isinstance(value, Exception):
                    tally.errors.setdefault(name, value)
                else:
                    tally.values.setdefault(name, []).append(value)

    def _tensor(self, frames: list[np.ndarray]) -> torch.Tensor | None:
        """Return frames as (N, 3, H, W) float32 in 0..1, as pyiqa wants them."""
        import numpy as np
        import torch

        if not frames:
            return None
        pixels = torch.from_numpy(np.stack(frames)).to(self.device)
        return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)


def _values(
    metric: Callable[..., Any], entry: Entry, pictures: tuple[Any, ...], tallies: list[Tally]
) -> list[float | Exception]:
    """Return a value per frame. What a batch can't have (one frame fails, memory runs out) is tried frame by frame."""
    n = len(tallies)
    if n == 1 or entry.name not in ONE_BY_ONE:
        try:
            return _call(metric, entry, pictures, tallies)  # type: ignore[return-value]
        except Exception as error:  # noqa: BLE001 - pyiqa's own code: it fails this metric, of this clip
            if n == 1:
                return [_explained(error, entry.name, pictures[0].shape)]
    singles = [tuple(picture[index : index + 1] for picture in pictures) for index in range(n)]
    return [_values(metric, entry, single, [tally])[0] for single, tally in zip(singles, tallies, strict=True)]


def _explained(error: Exception, name: str, shape: tuple[int, ...]) -> Exception:
    """Return what pyiqa raised with the metric and the size, which it leaves out: many metrics can't score small pictures."""
    told = RuntimeError(f"{name} can't score a frame of {shape[3]}x{shape[2]}: {type(error).__name__}: {error}")
    told.__cause__ = error
    return told


def _call(metric: Callable[..., Any], entry: Entry, pictures: tuple[Any, ...], tallies: list[Tally]) -> list[float]:
    words = {"caption_list": [tally.item.case.prompt for tally in tallies]} if entry.name == "clipscore" else {}
    found = metric(*pictures, **words)
    values = found.reshape(-1).tolist() if hasattr(found, "reshape") else [float(found)]
    if len(values) != len(tallies):
        raise ValueError(f"{entry.name} gave {len(values)} numbers for {len(tallies)} pictures")
    return values
