"""Loading pyiqa's metrics in a worker: from the files that are there, quietly, and with filters that are fast on a CPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmark.metrics.iqa_weights import LOADED
from benchmark.weights import clip_cache

if TYPE_CHECKING:
    import torch

PYIQA_LOG = "pyiqa"
CLIP_LOADERS = ("clip.load", "pyiqa.archs.afineclip_model.load")  # those that look into OpenAI CLIP's own cache


def create(names: Mapping[str, Mapping[str, Any]], device: str) -> dict[str, Callable[..., Any]]:
    """Return pyiqa's metrics by name, made with these options each and ready on `device`.

    Raises: OSError if a file is not there and the run is offline.
    """
    import pyiqa
    import torch

    logging.getLogger(PYIQA_LOG).setLevel(logging.WARNING)
    with _from_our_caches(names):
        metrics = {
            name: pyiqa.create_metric(name, device=torch.device(device), **options) for name, options in names.items()
        }
    use_separable_windows()
    return metrics


@contextmanager
def _from_our_caches(names: Iterable[str]) -> Iterator[None]:
    """Have CLIP looked for where `cache_dir` puts it, and nothing downloaded by a run that is offline.

    pyiqa downloads with urllib whatever HF_HUB_OFFLINE says: eight workers would do so at once, or wait for a network that
    is not there.
    """
    with ExitStack() as stack:
        uses_clip = any(loaded.startswith("clip:") for name in names for loaded in LOADED.get(name, ()))
        for place in CLIP_LOADERS if uses_clip else ():
            load = resolve_name(place.replace(".load", ":load"))
            stack.enter_context(patch(place, partial(load, download_root=str(clip_cache()))))
        if os.environ.get("HF_HUB_OFFLINE", "1") not in ("0", "false", "False", ""):
            for place in ("torch.hub.urlopen", "urllib.request.urlopen"):
                stack.enter_context(patch(place, _refuse))
        yield


def _refuse(address: Any, *_: Any, **__: Any) -> Any:
    url = getattr(address, "full_url", address)
    raise OSError(f"pyiqa wants to download {url}, but the run is offline: allow it with offline=false")


def use_separable_windows() -> None:
    """Have pyiqa's SSIM and MS-SSIM apply their Gaussian window as a column and a row, which is 50 to 100 times faster.

    They filter in float64 with an 11x11 window, for which a CPU has no fast convolution. A Gaussian is the product of a
    column and a row, so two passes give the same sums; rounding differs by 1e-8 of a score. A window that is no such
    product, and a device that is no CPU, keep pyiqa's own filter.
    """
    import pyiqa.archs.ssim_arch as ssim

    own = getattr(ssim, "filter2", None)
    if own is None or isinstance(own, _Separable):
        return
    ssim.filter2 = _Separable(own)


class _Separable:
    """pyiqa's filter2, in two passes where that is possible."""

    def __init__(self, own: Callable[..., torch.Tensor]) -> None:
        self._own = own

    def __call__(self, pictures: torch.Tensor, window: torch.Tensor, shape: str = "same") -> torch.Tensor:
        """Return pictures (N, C, H, W) filtered by a window (C, 1, h, w)."""
        factors = _factors(window) if shape == "valid" and pictures.device.type == "cpu" else None
        if factors is None or pictures.shape[-2] < window.shape[-2] or pictures.shape[-1] < window.shape[-1]:
            return self._own(pictures, window, shape)
        column, row = factors
        return _weighted(_weighted(pictures, column, -2), row, -1)


def _factors(window: torch.Tensor) -> tuple[list[float], list[float]] | None:
    """Return the column and the row whose product each channel's window is, or None if it is no product."""
    first = window[0, 0]
    column, row = first.sum(1), first.sum(0)
    product = column[:, None] * row[None, :] / first.sum()
    if not bool((window - product).abs().max() <= 1e-7 * first.abs().max()):
        return None
    return column.tolist(), (row / first.sum()).tolist()


def _weighted(pictures: torch.Tensor, weights: list[float], axis: int) -> torch.Tensor:
    """Return sum_i weights[i] * pictures shifted by i along `axis`, where all shifts lie inside."""
    size = pictures.shape[axis] - len(weights) + 1
    total = pictures.narrow(axis, 0, size) * weights[0]
    for shift, weight in enumerate(weights[1:], 1):
        total.add_(pictures.narrow(axis, shift, size), alpha=weight)
    return total
