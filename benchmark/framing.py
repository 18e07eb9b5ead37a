"""Pictures brought to the size that a model works in, as image-to-video models do it. Needs OpenCV, imported where used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def crop_resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the picture (H, W, 3) cropped around its centre to width:height, then resized.

    Image-to-video models prepare their input like this. INTER_AREA where it shrinks, else INTER_CUBIC.
    """
    import cv2

    crop = centre_crop(pixels, width / height)
    if crop.shape[:2] == (height, width):
        return crop.copy()
    shrinks = crop.shape[1] >= width and crop.shape[0] >= height
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def centre_crop(pixels: np.ndarray, aspect: float) -> np.ndarray:
    """Return the largest centred part (h, w, 3) of the picture with w/h = `aspect`, as a view."""
    height, width = pixels.shape[:2]
    new_w = max(1, min(width, round(height * aspect)))
    new_h = max(1, min(height, round(width / aspect)))
    top, left = (height - new_h) // 2, (width - new_w) // 2
    return pixels[top : top + new_h, left : left + new_w]
