"""CLIP similarity: how well frames fit the prompt, and how alike neighbouring frames are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from benchmark.errors import Problem
from benchmark.metrics import Item, Measure, Measured
from benchmark.metrics.choice import name_problems
from benchmark.metrics.clip.backends import Dtype, Network
from benchmark.metrics.clip.openai import OpenAI
from benchmark.metrics.clip.transformers import Transformers
from benchmark.metrics.frames import frames_at
from benchmark.metrics.sampling import frame_indices, frames_problems
from benchmark.model import Kind
from benchmark.weights import Weights

if TYPE_CHECKING:
    import numpy as np

CLIPSCORE_WEIGHT = 2.5
MEASURES = (
    Measure("text_similarity", "higher", -1, 1, needs=("prompt",)),
    Measure("clip_score", "higher", 0, CLIPSCORE_WEIGHT, needs=("prompt",)),
    Measure("frame_consistency", "higher", -1, 1, kinds=("video",)),
)
NAMES = tuple(measure.name for measure in MEASURES)
OF_TEXT = {"text_similarity", "clip_score"}
DECIMALS = 6  # of what is kept per frame


@dataclass
class ClipSimilarity:
    """Cosines of CLIP features, on some frames of each output.

    `names` chooses measures (None: all that the cases have what they need for). `model` is the name of a release of OpenAI or
    the path of a .pt file; with backend "transformers" a local folder or a repository of the Hub, then at `revision`.
    `frames` as in benchmark.metrics.sampling; `frame_batch` frames go through the network at once. `prefix` is put in front
    of each prompt.
    """

    names: list[str] | None = None
    backend: Literal["openai", "transformers"] = "openai"
    model: Annotated[str, Meta(min_length=1)] = "ViT-B/32"
    revision: str = "main"
    frames: str | int = 8
    prefix: str = ""
    dtype: Dtype = "float32"
    frame_batch: Annotated[int, Meta(ge=1)] = 32
    batch_size: Annotated[int, Meta(ge=1)] = 4
    _network: Network | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    accepts: ClassVar[tuple[Kind, ...]] = ("image", "video")
    execution_only: ClassVar[tuple[str, ...]] = ("names", "frame_batch", "batch_size")

    @property
    def requires(self) -> tuple[str, ...]:
        return ("torch", "clip" if self.backend == "openai" else "transformers")

    @property
    def _source(self) -> OpenAI | Transformers:
        return OpenAI(self.model) if self.backend == "openai" else Transformers(self.model, self.revision)

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for unknown measures, frames that can't be chosen, and a model that can't be meant."""
        yield from name_problems("clip", self.names, NAMES)
        yield from frames_problems("metrics.clip.frames", self.frames)
        yield from self._source.problems("metrics.clip")

    def weights(self) -> Iterator[Weights]:
        """Yield the checkpoint."""
        yield self._source.weights()

    def identity(self) -> dict[str, str]:
        """Return the digest of the checkpoint, where its name alone does not say which it is."""
        return self._source.identity()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The chosen measures, in the order of MEASURES."""
        return tuple(m for m in MEASURES if self.names is None or m.name in self.names)

    def load(self, device: str) -> None:
        """Bring CLIP onto `device`. Raises: ValueError if its file is missing, damaged or holds something else."""
        self._network = self._source.load(device, self.dtype)

    def score(self, items: Sequence[Item]) -> list[Mapping[str, float | Measured | Exception]]:
        """Return {measure: value} per item, with the cosine of each frame or pair of frames as details."""
        chosen = [frame_indices(item.clip.length, self.frames) for item in items]
        pictures = self._features_of_frames(items, chosen)
        texts = self._features_of_prompts(items)
        return [
            self._score(item, indices, features, texts)
            for item, indices, features in zip(items, chosen, pictures, strict=True)
        ]

    def _score(
        self, item: Item, indices: list[int], pictures: np.ndarray, texts: Mapping[str, tuple[np.ndarray, bool]]
    ) -> dict[str, float | Measured | Exception]:
        values: dict[str, float | Measured | Exception] = {}
        wanted = {measure.name for measure in self.measures}
        if wanted & OF_TEXT and item.case.prompt:
            text, truncated = texts[item.case.prompt]
            cosines = pictures @ text  # (t,)
            cut = {"prompt_truncated": True} if truncated else {}
            if "text_similarity" in wanted:
                values["text_similarity"] = _mean(cosines, {"frames": indices, "per_frame": cosines, **cut})
            if "clip_score" in wanted:
                values["clip_score"] = _mean(CLIPSCORE_WEIGHT * cosines.clip(0), cut)
        if "frame_consistency" in wanted:
            values["frame_consistency"] = _consistency(pictures, indices)
        return values

    def _features_of_prompts(self, items: Sequence[Item]) -> dict[str, tuple[np.ndarray, bool]]:
        """Return unit features (D,) float64 of each prompt, and whether it was cut."""
        assert self._network, "score before load"
        prompts = list(dict.fromkeys(item.case.prompt for item in items if item.case.prompt))
        if not prompts or not OF_TEXT & {measure.name for measure in self.measures}:
            return {}
        features, cut = self._network.texts([self.prefix + prompt for prompt in prompts])
        return dict(zip(prompts, zip(_units(features), cut, strict=True), strict=True))

    def _features_of_frames(self, items: Sequence[Item], chosen: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Return unit features (t, D) float64 of each item's chosen frames; frames of several items share a batch."""
        import numpy as np

        assert self._network, "score before load"
        found, waiting = [], []
        for item, indices in zip(items, chosen, strict=True):
            for frame in frames_at(item.clip, indices):
                waiting.append(frame)
                if len(waiting) == self.frame_batch:
                    found.append(self._network.pictures(waiting))
                    waiting = []
        if waiting:
            found.append(self._network.pictures(waiting))
        ends = np.cumsum([len(indices) for indices in chosen])
        return np.split(_units(np.concatenate(found)), ends[:-1])


def _consistency(pictures: np.ndarray, indices: list[int]) -> Measured | Exception:
    """Return the mean cosine of neighbours among unit features (t, D), or the reason why there is none."""
    if len(pictures) < 2:
        return ValueError(f"frame_consistency needs at least 2 frames, {len(pictures)} is looked at")
    cosines = (pictures[1:] * pictures[:-1]).sum(1)  # (t - 1,)
    return _mean(cosines, {"frames": indices, "per_pair": cosines})


def _units(features: np.ndarray) -> np.ndarray:
    """Return features (N, D) as float64 of length 1."""
    import numpy as np

    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _mean(values: np.ndarray, details: Mapping[str, Any]) -> Measured:
    kept = {key: value.round(DECIMALS).tolist() if hasattr(value, "round") else value for key, value in details.items()}
    return Measured(float(values.mean()), kept)
