"""Models and metrics that do as the case says: its field `do` for the model, `score` for a metric."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.media import Image, Video
from benchmark.metrics import Item, Measure, Measured
from benchmark.model import Request


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@dataclass
class Text:
    """Answers with the prompt and the seed. `notes` is a folder where it writes down what it was asked."""

    notes: str = ""
    batch_size: int = 1
    sleep_s: float = 0.0
    most: int = 0  # more requests at once are too many for the memory
    short: bool = False  # gives one output too few
    repeat: int = 1  # how long an answer is
    version: ClassVar[str] = "1"
    output: ClassVar[str] = "text"
    needs: ClassVar[tuple[str, ...]] = ()

    def load(self, device: str) -> None:
        self._note("loads", device)

    def _note(self, name: str, text: str) -> None:
        if self.notes:
            with (Path(self.notes) / name).open("a") as file:
                file.write(f"{text}\n")

    def generate(self, requests: Sequence[Request]) -> Any:
        self._note("batches", " ".join(request.case.id for request in requests))
        if self.most and len(requests) > self.most:
            raise OutOfMemoryError("CUDA out of memory")
        made = [self._one(request) for request in requests]
        return made[1:] if self.short and len(made) > 1 else made

    def _one(self, request: Request) -> Any:
        time.sleep(self.sleep_s)
        do = request.case.fields.get("do", "")
        if do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "hang":
            time.sleep(600)
        if do == "wait":
            self._wait(request.case.id)
        if do == "leave":
            sys.exit(0)
        if do in ("raise", "memory", "gpu"):
            raise {"raise": RuntimeError, "memory": MemoryError, "gpu": OutOfMemoryError}[do](f"no {request.case.id}")
        if do == "number":
            return 7
        return self.make(request)

    def _wait(self, name: str) -> None:
        """Say that the case is in hand, and wait until it may go on."""
        (Path(self.notes) / f"{name}.waits").touch()
        while not (Path(self.notes) / f"{name}.go").exists():
            time.sleep(0.01)

    def make(self, request: Request) -> Any:
        return f"{request.prompt} {request.seed}" * self.repeat


@dataclass
class Pictures(Text):
    """A picture of noise, `side` pixels wide and high."""

    side: int = 16
    output: ClassVar[str] = "image"

    def make(self, request: Request) -> Any:
        noise = np.random.default_rng(request.seed)
        return Image(noise.integers(0, 256, (self.side, self.side, 3), dtype=np.uint8))


@dataclass
class Clips(Pictures):
    """A clip of noise, as many frames as the case's field `frames` says."""

    output: ClassVar[str] = "video"

    def make(self, request: Request) -> Any:
        noise = np.random.default_rng(request.seed)
        shape = (request.case.fields.get("frames", 4), self.side, self.side, 3)
        return Video(noise.integers(0, 256, shape, dtype=np.uint8), 8.0)


@dataclass
class OneString(Text):
    """Gives one string where a list of strings is due, of the very length that fits."""

    def generate(self, requests: Sequence[Request]) -> Any:
        return "x" * len(requests)


@dataclass
class Length:
    """Two numbers of a text. `notes` is a folder where it writes down what it scored."""

    notes: str = ""
    batch_size: int = 1
    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple[str, ...]] = ("text", "image", "video")

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (Measure("length", "neither"), Measure("half", "neither"))

    def load(self, device: str) -> None: ...

    def score(self, items: Sequence[Item]) -> list[Any]:
        if self.notes:
            with (Path(self.notes) / "scored").open("a") as file:
                file.writelines(f"{item.case.id}\n" for item in items)
        return [self._one(item) for item in items]

    def value(self, item: Item) -> float:
        return float(len(item.prediction.text or ""))

    def _one(self, item: Item) -> Any:
        do, value = item.case.fields.get("score", ""), self.value(item)
        if do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "raise":
            raise RuntimeError(f"no score of {item.case.id}")
        strange: dict[str, Any] = {
            "nan": {"length": float("nan"), "half": value / 2},
            "omit": {"half": value / 2},
            "number": value,
            "word": {"length": "long", "half": value / 2},
            "details": {"length": Measured(value, {"all": np.arange(3), "top": np.float32(2)}), "half": value / 2},
            "object": {"length": Measured(value, {"all": object()}), "half": value / 2},
        }
        return strange.get(do, {"length": value, "half": value / 2})


@dataclass
class Light(Length):
    """Two numbers of a clip's frames."""

    def value(self, item: Item) -> float:
        return float(item.clip.frames.mean())


@dataclass
class Total:
    """A number of the whole set."""

    fails: bool = False
    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple[str, ...]] = ("text", "image", "video")

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (Measure("total", "neither"),)

    def load(self, device: str) -> None: ...

    def score_set(self, items: Iterable[Item]) -> Mapping[str, float]:
        if self.fails:
            raise RuntimeError("no total")
        return {"total": float(sum(len(item.prediction.text or "") for item in items))}
