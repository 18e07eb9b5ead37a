"""Components that need nothing but the light dependencies, so they run in any interpreter."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmark.metrics import Item, Measure, Measured
from benchmark.model import Request
from benchmark.records import Case


@dataclass
class Numbers:
    """`n` cases in two categories."""

    n: int = 12
    version: ClassVar[str] = "1"

    def cases(self) -> Iterator[Case]:
        for index in range(self.n):
            category = "odd" if index % 2 else "even"
            yield Case(id=f"c{index:03d}", category=category, prompt=f"number {index}", fields={"n": index})


@dataclass
class Echo:
    """Answers with the prompt, the seed and a word; each line of `trace` is a case it was asked for."""

    word: str = "hello"
    sleep_s: float = 0.0
    trace: str = ""
    failing: list[str] = field(default_factory=list)  # raise
    killing: list[str] = field(default_factory=list)  # SIGKILL the worker
    hanging: list[str] = field(default_factory=list)  # never come back
    broken: bool = False  # can't be loaded
    mended: str = ""  # once this file exists, nothing fails any more
    batch_size: int = 1
    version: ClassVar[str] = "1"
    output: ClassVar[str] = "text"
    needs: ClassVar[tuple[str, ...]] = ()
    execution_only: ClassVar[tuple[str, ...]] = (
        "batch_size", "sleep_s", "trace", "failing", "killing", "hanging", "broken", "mended",
    )  # fmt: skip

    def load(self, device: str) -> None:
        if self.broken:
            raise OSError("no such weights")

    def generate(self, requests: Sequence[Request]) -> list[str]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> str:
        case_id = request.case.id
        if self.trace:
            with Path(self.trace).open("a") as file:
                file.write(f"{case_id}\n")
        mended = bool(self.mended) and Path(self.mended).exists()
        if case_id in self.killing and not mended:
            os.kill(os.getpid(), signal.SIGKILL)
        if case_id in self.hanging and not mended:
            time.sleep(3600)
        if case_id in self.failing and not mended:
            raise RuntimeError(f"{case_id} can't be answered")
        if self.sleep_s:
            time.sleep(self.sleep_s)
        return f"{self.word} {request.prompt} {request.seed}"


@dataclass
class Length:
    """Characters of the answer."""

    scale: float = 1.0
    sleep_s: float = 0.0
    failing: list[str] = field(default_factory=list)
    batch_size: int = 1
    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    execution_only: ClassVar[tuple[str, ...]] = ("sleep_s", "batch_size")

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (Measure("length", "neither", low=0, unit="characters"),)

    def load(self, device: str) -> None:
        self.device = device

    def score(self, items: Sequence[Item]) -> list[Mapping[str, float | Measured]]:
        if self.sleep_s:
            time.sleep(self.sleep_s)
        return [{"length": self._length(item)} for item in items]

    def _length(self, item: Item) -> float:
        if item.case.id in self.failing:
            raise ValueError(f"{item.case.id} can't be measured")
        return self.scale * len(item.prediction.text or "")


@dataclass
class Vocabulary:
    """How many different words all answers together use: a set metric."""

    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple[str, ...]] = ("text",)

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (Measure("words", "higher", low=0),)

    def load(self, device: str) -> None:
        self.device = device

    def score_set(self, items: Iterable[Item]) -> Mapping[str, float | Measured]:
        return {"words": float(len({word for item in items for word in (item.prediction.text or "").split()}))}
