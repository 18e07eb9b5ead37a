"""CLIP by OpenAI's package `clip`: released checkpoints by name, or a .pt file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import Problem, closest
from benchmark.media import file_digest
from benchmark.metrics.checkpoints import cure, torch_file_problems
from benchmark.metrics.clip.backends import Dtype, Network
from benchmark.weights import Weights, clip_cache

if TYPE_CHECKING:
    import numpy as np


class Release(NamedTuple):
    """A checkpoint that OpenAI released: its file, the file's sha256 (which is part of its address) and its size."""

    file: str
    sha256: str
    size_mb: float


# Addresses and checksums as in `clip/clip.py` of openai-clip 1.0.1.
RELEASES_URL = "https://openaipublic.azureedge.net/clip/models"
RELEASES = {
    "RN50": Release("RN50.pt", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", 256),
    "RN101": Release("RN101.pt", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", 292),
    "RN50x4": Release("RN50x4.pt", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", 422),
    "RN50x16": Release("RN50x16.pt", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", 661),
    "RN50x64": Release("RN50x64.pt", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c", 1353),
    "ViT-B/32": Release("ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 354),
    "ViT-B/16": Release("ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", 351),
    "ViT-L/14": Release("ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", 933),
    "ViT-L/14@336px": Release(
        "ViT-L-14-336px.pt", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02", 934
    ),
}


class OpenAI(NamedTuple):
    """The package `clip`, with a checkpoint by name or in a file."""

    model: str

    def problems(self, where: str) -> Iterator[Problem]:
        """Yield a problem for a name that is neither a release nor a file, and for another package of the same name."""
        path = Path(self.model).expanduser()
        if self.model not in RELEASES:
            yield from torch_file_problems(f"{where}.model", path)
        if path.is_dir():
            yield Problem(f"{where}.model", "is a folder", self.model, _allowed(), f"{where}.backend=transformers")
        elif self.model not in RELEASES and not path.is_file() and path.suffix not in (".pt", ".pth"):
            known = closest(self.model, RELEASES)
            yield Problem(f"{where}.model", "is neither a CLIP model nor a file", self.model, _allowed(), known)
        spec = find_spec("clip")
        if spec and not any((Path(place) / "simple_tokenizer.py").is_file() for place in _places(spec)):
            yield Problem(
                where, "the package `clip` here is not OpenAI's", spec.origin or "", fix="pip install openai-clip"
            )

    def weights(self) -> Weights:
        if release := RELEASES.get(self.model):
            url = f"{RELEASES_URL}/{release.sha256}/{release.file}"
            path = clip_cache() / release.file
            return Weights(f"CLIP {self.model}", path, release.size_mb, url, release.sha256)
        return Weights("CLIP", Path(self.model).expanduser())

    def identity(self) -> dict[str, str]:
        """Return the checkpoint's sha256 where the name does not say it already."""
        path = self.weights().path
        return {} if self.model in RELEASES or not path.is_file() else {"sha256": file_digest(path)}

    def load(self, device: str, dtype: Dtype) -> Network:
        """Return the network on `device`. Raises: ValueError if its file is missing, damaged or holds something else.

        `clip.load` is passed by: it downloads what it misses, and can't read plain state dicts with a recent torch.
        """
        weights = self.weights()
        if wrong := weights.wrong():
            raise ValueError(f"{weights.name}: {weights.path} {wrong}; {cure(weights)}")
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pkg_resources and torch.jit are deprecated
            from clip.model import build_model

            try:
                network = build_model(_state_dict(weights.path))
            except Exception as error:
                what = f"{weights.path} is damaged or no CLIP checkpoint ({type(error).__name__}: {error})"
                raise ValueError(f"{what}; {cure(weights)}") from error
        return _OpenAINetwork(network.to(device) if dtype == "float16" else network.float().to(device), device)


def _allowed() -> str:
    return f"{', '.join(RELEASES)}, or the path of a .pt file"


def _places(spec: Any) -> list[str]:
    return list(spec.submodule_search_locations or [])


def _state_dict(path: Path) -> dict[str, Any]:
    """Return the tensors of a checkpoint: a TorchScript archive, as OpenAI releases them, or a state dict."""
    import torch

    try:
        return torch.jit.load(str(path), map_location="cpu").state_dict()
    except RuntimeError:
        found = torch.load(path, map_location="cpu", weights_only=True)
    return dict(found.get("state_dict", found))


class _OpenAINetwork:
    def __init__(self, network: Any, device: str) -> None:
        from clip.clip import _transform

        self._network, self._device = network, device
        self._preprocess = _transform(network.visual.input_resolution)

    def texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
        import torch

        rows, cut = zip(*map(self._tokens, texts), strict=True)
        with torch.inference_mode():
            features = self._network.encode_text(torch.cat(rows).to(self._device))
        return features.float().cpu().numpy(), list(cut)

    def _tokens(self, text: str) -> tuple[Any, bool]:
        import clip

        length = self._network.context_length
        try:
            return clip.tokenize(text, length), False
        except RuntimeError:  # its way to say that the text is too long
            return clip.tokenize(text, length, truncate=True), True

    def pictures(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        import torch
        from PIL import Image

        pixels = torch.stack([self._preprocess(Image.fromarray(picture)) for picture in pictures])
        with torch.inference_mode():
            return self._network.encode_image(pixels.to(self._device)).float().cpu().numpy()
