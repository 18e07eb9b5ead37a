"""The Inception network of FID, and how frames are made ready for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.metrics.checkpoints import cure
from benchmark.weights import Weights, torch_cache

if TYPE_CHECKING:
    import numpy as np

FEATURES = 2048
SIDE = 299  # pixels
FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIZE_MB = 95.6
Resize = Literal["clean", "legacy_pytorch"]


def weights_of(checkpoint: Path | None) -> Weights:
    """Return where the network's weights are: in the user's `checkpoint`, else where pyiqa keeps the released ones."""
    if checkpoint:
        return Weights("Inception of FID", checkpoint.expanduser())
    return Weights("Inception of FID", torch_cache() / "pyiqa" / FILE, SIZE_MB, URL, SHA256)


@dataclass
class Inception:
    """The network of the FID paper as ported to PyTorch; it differs from torchvision's in weights and in how it pools."""

    network: Any
    device: str
    resize: Resize

    def features(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Return what the last pooling gives, (N, 2048) float64, for pictures from `prepared`."""
        import numpy as np
        import torch

        with torch.inference_mode():
            found = self.network(torch.from_numpy(np.stack(pictures)).to(self.device))
        return found.double().cpu().numpy()

    def prepared(self, frame: np.ndarray) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 as the network takes it: (3, 299, 299) float32 in about [-1, 1]."""
        return clean(frame) if self.resize == "clean" else legacy_pytorch(frame)


def clean(frame: np.ndarray) -> np.ndarray:
    """Resize by Pillow's bicubic filter, which widens where it shrinks, in floating point; then (x - 128) / 128.

    Source: Parmar et al., On aliased resizing and surprising subtleties in GAN evaluation (CVPR 2022).
    """
    import numpy as np
    from PIL import Image

    channels = [Image.fromarray(frame[..., c].astype(np.float32)) for c in range(3)]
    resized = [np.asarray(channel.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for channel in channels]
    return ((np.stack(resized).clip(0, 255) - 128) / 128).astype(np.float32)


def legacy_pytorch(frame: np.ndarray) -> np.ndarray:
    """Resize by bilinear interpolation without a filter, which aliases; then 2 x / 255 - 1. So does pytorch-fid."""
    import torch

    pixels = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return (resized[0] / 255 * 2 - 1).numpy()


def load_inception(checkpoint: Path | None, resize: Resize, device: str) -> Inception:
    """Return the network on `device`. Raises: ValueError if its file is missing, damaged or holds something else."""
    weights = weights_of(checkpoint)
    if wrong := weights.wrong():
        raise ValueError(f"{weights.name}: {weights.path} {wrong}; {cure(weights)}")
    import torch

    network = _without_weights()
    try:
        network.load_state_dict(torch.load(weights.path, map_location="cpu", weights_only=True))
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else ""
        what = f"{weights.path} is damaged or holds no Inception of FID ({type(error).__name__}: {said})"
        raise ValueError(f"{what}; {cure(weights)}") from error
    network.fc = torch.nn.Identity()  # the classifier, of which FID takes what goes in
    return Inception(network.to(device).eval(), device, resize)


def _without_weights() -> Any:
    """Return pyiqa's network as yet without weights: left to itself it loads its own pickle, or downloads it."""
    from pyiqa.archs import inception

    load_weights = inception.load_pretrained_network
    inception.load_pretrained_network = lambda *_, **__: None
    try:
        return inception.fid_inception_v3()
    finally:
        inception.load_pretrained_network = load_weights
