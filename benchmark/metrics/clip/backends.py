"""What a metric asks of a CLIP model, whichever package runs it: features of texts and of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Dtype = Literal["float32", "float16"]


class Network(Protocol):
    """A CLIP model on a device, with the preprocessing that belongs to it.

    Source: Radford et al., Learning transferable visual models from natural language supervision (ICML 2021).
    """

    def texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
        """Return the features (N, D) float32 of texts, and whether each was cut to the length that the model reads."""
        ...

    def pictures(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Return the features (N, D) float32 of pictures (H, W, 3) uint8."""
        ...
