"""What a worker does in the infer stage: ask the model for outputs, write them, record them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import media
from benchmark.claims import Chunk
from benchmark.config import Frozen
from benchmark.ledger import Ledger
from benchmark.media import Image, Video
from benchmark.model import Model, Request
from benchmark.prompts import Prompts
from benchmark.records import Key, Line, Prediction, sample_seed
from benchmark.store import Store, prediction_digest

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
    dead: Iterable[str] = ()
    ahead: int = 0
    _cases: Any = field(init=False)

    def __post_init__(self) -> None:
        self._cases = self.store.cases()
        self._fingerprint = self.frozen.prediction.fingerprint
        self.batch = self.model.batch_size
        self.threads = 0 if self.model.output == "text" and not self.model.needs else 2

    def pending(self, chunk: Chunk) -> list[Request]:
        """Return the requests of the chunk that have no good record."""
        for journal in chunk.former:
            self.ledger.refresh_one(journal)
        turn, states, seed = self.frozen.infer, self.ledger.states, self.frozen.seed
        requests = []
        for index in range(chunk.first, chunk.last):
            case = self._cases[index]
            for sample in range(self.frozen.samples):
                if turn.wants(states.get((case.id, sample))):
                    text, negative = self.prompts.render(case)
                    requests.append(Request(case, sample, text, negative, sample_seed(seed, case.id, sample)))
        return requests

    def deaths(self, chunk: Chunk) -> dict[Key, int]:
        return self.ledger.deaths({*self.dead, *chunk.former})

    def prepare(self, request: Request) -> None:
        """Decode the input pictures ahead of their turn."""
        for role in self.model.needs:
            if role == "image":
                request.image(role)

    def work(self, requests: Sequence[Request]) -> list[Output]:
        cuda = _cuda()
        if cuda:
            cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        values = self.model.generate(requests)
        latency_s = round(time.perf_counter() - start, 6)
        peak = round(cuda.max_memory_allocated() / GIB, 3) if cuda else None
        return [Output(value, latency_s, len(requests), peak) for value in values]

    def records(self, request: Request, output: Output) -> list[Line]:
        """Write the output's files, then return its record."""
        made = self._save(request, output.value)
        return [
            Prediction(
                case_id=request.case.id,
                sample=request.sample,
                status="ok",
                seed=request.seed,
                batch_size=output.batch_size,
                latency_s=output.latency_s,
                peak_memory_gb=output.peak_memory_gb,
                fingerprint=self._fingerprint,
                attempt=self.frozen.infer.attempt,
                worker=self.worker,
                **made,
            )
        ]

    def failed(self, request: Request, error: str) -> list[Line]:
        return [
            Prediction(
                case_id=request.case.id,
                sample=request.sample,
                status="failed",
                seed=request.seed,
                fingerprint=self._fingerprint,
                attempt=self.frozen.infer.attempt,
                worker=self.worker,
                error=error,
            )
        ]

    def _save(self, request: Request, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            return {"text": value, "sha256": prediction_digest({}, value)}
        frozen = self.frozen
        base = self.store.media_base(frozen.model_name, request.case, request.sample, frozen.samples)
        if isinstance(value, Video):
            files, (n, height, width, _) = self._save_video(base, value), value.frames.shape
            made = {"frames": n, "fps": float(value.fps)}
            flags = media.quality_flags(value.frames)
        elif isinstance(value, Image):
            files, (height, width, _) = {"image": base.with_name(f"{base.name}.png")}, value.pixels.shape
            with self.store.replacing(files["image"], self.token) as path:
                media.write_png(path, value.pixels)
            made, flags = {"frames": 1}, media.quality_flags(value.pixels[None])
        else:
            raise TypeError(f"a model gives Video, Image or str, not {type(value).__name__}")
        relative = {role: str(path.relative_to(self.store.folder)) for role, path in files.items()}
        return {
            "files": relative,
            "sha256": prediction_digest(files),
            "width": width,
            "height": height,
            "quality_flags": flags,
            **made,
        }

    def _save_video(self, base: Path, video: Video) -> dict[str, Path]:
        settings = self.frozen.media
        keep_frames = settings.frames == "png"
        files = {"video": base / "video.mp4" if keep_frames else base.with_name(f"{base.name}.mp4")}
        with self.store.replacing(files["video"], self.token) as path:
            media.write_video(path, video, settings.crf, settings.pix_fmt)
        if keep_frames:
            files["frames"] = base / "frames"
            for index, pixels in enumerate(video.frames):
                with self.store.replacing(files["frames"] / f"{index:05d}.png", self.token) as path:
                    media.write_png(path, pixels)
        return files


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_available() else None
