"""What can be said of a file of PyTorch weights without torch: whether it looks whole, and what cures it if not."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from benchmark.errors import Problem
from benchmark.weights import Weights


def torch_file_problems(where: str, path: Path) -> Iterator[Problem]:
    """Yield a problem if `path`, the setting at the key `where`, is a file that was cut short or was never saved by torch.

    torch.save writes a zip archive, whose directory lies at its end; before torch 1.6 it wrote pickles.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        pickled = file.read(1) == b"\x80"
    if not pickled and not zipfile.is_zipfile(path):
        yield Problem(where, "is damaged, or no checkpoint of PyTorch", str(path), fix="put a whole one there")


def cure(weights: Weights) -> str:
    """Return what the user does about weights that are missing or damaged."""
    if not weights.fetchable:
        return "put a whole one there, or name another"
    return "`python -m benchmark fetch` with the same settings brings it"
