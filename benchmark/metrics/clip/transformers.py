"""CLIP by transformers' CLIPModel: from a local folder, or a repository of the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import Problem
from benchmark.media import file_digest
from benchmark.metrics.checkpoints import cure
from benchmark.metrics.clip.backends import Dtype, Network
from benchmark.metrics.clip.openai import RELEASES
from benchmark.records import digest
from benchmark.weights import Weights, hub_cache, snapshot_of

if TYPE_CHECKING:
    import numpy as np

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_WEIGHTS = "model*.safetensors|pytorch_model*.bin"  # not what TensorFlow, Flax or open_clip read
HUB_FILES = ("config.json", "*processor_config.json", "tokenizer.json", "*.json", HUB_WEIGHTS)


class Transformers(NamedTuple):
    """transformers' CLIPModel, from a local folder or a repository of the Hugging Face Hub."""

    model: str
    revision: str = "main"

    def problems(self, where: str) -> Iterator[Problem]:
        """Yield a problem for a model that is neither a folder nor the name of a repository."""
        allowed = "a local folder, or a repository such as openai/clip-vit-base-patch32"
        path = Path(self.model).expanduser()
        if self.model in RELEASES:
            yield Problem(
                f"{where}.model", "is no model of transformers", self.model, allowed, f"{where}.backend=openai"
            )
        elif path.is_file() or not (path.is_dir() or HUB_ID.fullmatch(self.model)):
            yield Problem(f"{where}.model", "is no folder with a CLIP model", self.model, allowed)
        elif path.is_dir() and not (path / "config.json").is_file():
            yield Problem(f"{where}.model", "the folder holds no config.json", self.model, allowed)

    @property
    def folder(self) -> Path | None:
        """Where the model lies; None for a repository that is not in the Hub's cache."""
        local = Path(self.model).expanduser()
        return local if local.is_dir() else snapshot_of(self.model, self.revision)

    def weights(self) -> Weights:
        local = Path(self.model).expanduser()
        if local.is_dir() or not HUB_ID.fullmatch(self.model):
            return Weights("CLIP", local)
        path = self.folder or hub_cache() / f"models--{self.model.replace('/', '--')}"
        return Weights("CLIP", path, repository=self.model, revision=self.revision, files=HUB_FILES)

    def identity(self) -> dict[str, str]:
        """Return a digest of a local folder's files, or the commit of a repository."""
        folder = self.folder
        if folder is None:
            return {}
        if not Path(self.model).expanduser().is_dir():
            return {"commit": folder.name}
        files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".txt", ".safetensors", ".bin"))
        return {"digest": digest([(path.name, file_digest(path)) for path in files])}

    def load(self, device: str, dtype: Dtype) -> Network:
        """Return the network on `device`. Raises: ValueError if the folder is missing, damaged or holds something else."""
        folder, weights = self.folder, self.weights()
        if folder is None or (wrong := weights.wrong()):
            raise ValueError(f"CLIP: {self.model} {wrong if folder else 'is missing'}; {cure(weights)}")
        import torch
        from transformers import CLIPModel, CLIPProcessor
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        try:
            network = CLIPModel.from_pretrained(folder, local_files_only=True)
            processor = CLIPProcessor.from_pretrained(folder, local_files_only=True, **_with_pillow())
        except Exception as error:
            what = f"{folder} is damaged or no CLIP model ({type(error).__name__}: {str(error).splitlines()[0]})"
            raise ValueError(f"{what}; {cure(weights)}") from error
        return _TransformersNetwork(network.to(device, getattr(torch, dtype)).eval(), processor, device)


def _with_pillow() -> dict[str, Any]:
    """Return the argument that has pictures resized by Pillow, as OpenAI does: torchvision's bicubic differs by a little."""
    import transformers

    return {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}


class _TransformersNetwork:
    def __init__(self, network: Any, processor: Any, device: str) -> None:
        self._network, self._processor, self._device = network, processor, device
        self._length = network.config.text_config.max_position_embeddings

    def texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
        import torch

        tokenizer, limits = self._processor.tokenizer, {"truncation": True, "max_length": self._length}
        cut = [len(tokenizer(text)["input_ids"]) > self._length for text in texts]
        tokens = tokenizer(list(texts), padding=True, return_tensors="pt", **limits).to(self._device)
        with torch.inference_mode():
            return _features(self._network.get_text_features(**tokens)), cut

    def pictures(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        import torch
        from PIL import Image

        images = [Image.fromarray(picture) for picture in pictures]
        pixels = self._processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            found = self._network.get_image_features(pixel_values=pixels.to(self._device, self._network.dtype))
            return _features(found)


def _features(found: Any) -> np.ndarray:
    """Return features as an array; transformers 4 gives a tensor, 5 an object that holds it."""
    return getattr(found, "pooler_output", found).float().cpu().numpy()
