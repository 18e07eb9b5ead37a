"""Finding a user's files: one, those of a folder, or those that a pattern matches, in the order in which people count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import Problem, UserError, closest, some

PATH = "dataset.path"


class Files(NamedTuple):
    """Files to read in order; `several` if the user named a folder or a pattern, be there one file or more."""

    paths: list[Path]
    several: bool


def natural(path: Path | str) -> list[tuple[bool, int, str]]:
    """Return a sort key by which `9.png` precedes `10.png`."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces]


def locate(path: Path | None, suffixes: Collection[str], example: str, any_suffix: bool = False) -> Files:
    """Return the file at `path`, or all with one of the suffixes in that folder, or all that match that pattern.

    `any_suffix` takes a single file whatever its name. Raises: UserError if there is none.
    """
    if path is None:
        raise UserError(Problem(PATH, "is not given", fix=f"{PATH}={example}"))
    path = path.expanduser()
    if path.is_file():
        if path.suffix.lower() not in suffixes and not any_suffix:
            raise UserError(Problem(PATH, "is of no kind that can be read here", str(path), some(suffixes)))
        return Files([path], several=False)
    if path.is_dir():
        there = [file for file in path.iterdir() if file.is_file() and file.name[0] not in "._"]
    elif has_magic(str(path)):
        there = [file for file in map(Path, glob(str(path), recursive=True)) if file.is_file()]  # noqa: PTH207 - absolute
    else:
        raise UserError(missing(PATH, path))
    found = sorted((file for file in there if file.suffix.lower() in suffixes), key=natural)
    if not found:
        wrong = f"{'holds' if path.is_dir() else 'matches'} no file that can be read here, but {kinds(there)}"
        raise UserError(Problem(PATH, wrong, str(path), some(suffixes)))
    if len({file.suffix.lower() for file in found}) > 1:
        fix = f"choose one kind with a pattern: {PATH}='{path / '*' if path.is_dir() else path}{found[0].suffix}'"
        raise UserError(Problem(PATH, f"means files of several kinds: {kinds(found)}", str(path), fix=fix))
    return Files(found, several=True)


def missing(where: str, path: Path) -> Problem:
    """Return the problem of a file or folder that isn't there, with the names that are near."""
    place = path.absolute().parent
    if not place.is_dir():
        return Problem(where, "no such file or folder", str(path), fix=f"there is not even a folder {place}")
    near = closest(path.name, (entry.name for entry in place.iterdir()))
    return Problem(where, "no such file or folder", str(path), fix=near or f"it is looked for in {place}")


def kinds(files: Iterable[Path]) -> str:
    """Return what files there are, by suffix: "3 .txt, 1 .py"."""
    counts = Counter(file.suffix.lower() or "without suffix" for file in files)
    return some(f"{n} {suffix}" for suffix, n in counts.most_common()) or "nothing"
