"""What a worker does in the infer stage: ask the model for outputs, write them, record them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.claims import Chunk
from benchmark.config import Frozen
from benchmark.ledger import Deaths, Ledger
from benchmark.media import MediaFile
from benchmark.model import Model, Request
from benchmark.outputs import Outputs
from benchmark.prompts import Prompts
from benchmark.records import Key, Line, Prediction, sample_seed
from benchmark.store import Store

GIB = 1024**3


@dataclass(frozen=True)
class Output:
    """What the model gave for one request, with the wall time and the size of the batch it was made in."""

    value: Any
    latency_s: float
    batch_size: int
    peak_memory_gb: float | None


@dataclass
class Inference:
    """The infer stage of one run, as seen by one worker."""

    store: Store
    frozen: Frozen
    model: Model
    prompts: Prompts
    ledger: Ledger
    worker: str
    token: str
    is_dead: Callable[[str], object]
    ahead: int = 0
    _cases: Any = field(init=False)

    def __post_init__(self) -> None:
        self._cases = self.store.cases()
        self._fingerprint = self.frozen.prediction.fingerprint
        self._outputs = Outputs(self.store, self.frozen, self.token)
        self.batch = self.model.batch_size
        self.threads = 0 if self.model.output == "text" and not self.model.needs else 2

    def pending(self, chunk: Chunk) -> list[Request]:
        """Return the requests of the chunk that have no good record, their prompts not rendered yet."""
        for journal in chunk.former:
            self.ledger.refresh_one(journal)
        turn, states, seed = self.frozen.infer, self.ledger.states, self.frozen.seed
        requests = []
        for index in range(chunk.first, chunk.last):
            case = self._cases[index]
            for sample in range(self.frozen.samples):
                if turn.wants(states.get((case.id, sample))):
                    requests.append(Request(case, sample, "", "", sample_seed(seed, case.id, sample)))
        return requests

    def deaths(self, requests: Sequence[Request]) -> dict[Key, Deaths]:
        states = self.ledger.states
        keys = (request.key for request in requests)
        recorded = ((key, state.last if (state := states.get(key)) else -1) for key in keys)
        return self.ledger.deaths(recorded, self.is_dead)

    def prepare(self, request: Request) -> None:
        """Decode the input pictures ahead of their turn."""
        for role in self.model.needs:
            if role == "image" and getattr(self.model, "decodes", True):
                request.image(role)

    def work(self, requests: Sequence[Request]) -> list[Output | Exception]:
        for request in requests:
            request.prompt, request.negative_prompt = self.prompts.render(request.case)
        cuda = _cuda()
        if cuda:
            cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        values = self.model.generate(requests)
        if isinstance(values, (str, bytes, Mapping)):
            raise TypeError(f"a model gives a list of outputs, not {type(values).__name__}")
        values = list(values)  # a generator works only now
        latency_s = round(time.perf_counter() - start, 6)
        peak = round(cuda.max_memory_allocated() / GIB, 3) if cuda else None
        n = len(requests)
        return [v if isinstance(v, Exception) else Output(v, latency_s, n, peak) for v in values]

    def records(self, request: Request, output: Output, hold: Callable[[], None]) -> list[Line]:
        """Write the output's files, then return its record."""
        made = self._outputs.save(self.model.output, request, output.value, hold)
        made_before = isinstance(output.value, MediaFile) and output.value.in_place
        latency_s = None if made_before else output.latency_s  # looking a file up is not making it
        timing = {"batch_size": output.batch_size, "latency_s": latency_s}
        return [self._record(request, status="ok", peak_memory_gb=output.peak_memory_gb, **timing, **made)]

    def failed(self, request: Request, error: str) -> list[Line]:
        return [self._record(request, status="failed", error=error)]

    def _record(self, request: Request, **outcome: Any) -> Prediction:
        return Prediction(
            case_id=request.case.id,
            sample=request.sample,
            seed=request.seed,
            fingerprint=self._fingerprint,
            attempt=self.frozen.infer.attempt,
            worker=self.worker,
            **outcome,
        )


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_available() else None
