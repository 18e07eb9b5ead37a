"""Photographs that scikit-image and scikit-learn ship, crossed with camera moves. Downloads nothing.

Sources: astronaut and hubble are NASA's (public domain); chelsea, coffee and rocket are CC0; motorcycle is
the left view of Middlebury's stereo scene (Scharstein et al., GCPR 2014); china (danielbuechele) and flower
(vultilion) are from Flickr, CC BY 2.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, NamedTuple

from benchmark.errors import Problem, UserError, closest
from benchmark.records import Case


class Picture(NamedTuple):
    """Where a photograph lies (package, distribution, path inside) and what it shows."""

    package: str
    distribution: str
    path: str
    shows: str


def _skimage(file: str, shows: str) -> Picture:
    return Picture("skimage", "scikit-image", f"data/{file}", shows)


def _sklearn(file: str, shows: str) -> Picture:
    return Picture("sklearn", "scikit-learn", f"datasets/images/{file}", shows)


PICTURES = {
    "astronaut": _skimage("astronaut.png", "an astronaut in an orange suit in front of a flag"),
    "chelsea": _skimage("chelsea.png", "the face of a tabby cat"),
    "china": _sklearn("china.jpg", "a Chinese temple tower above a lake"),
    "coffee": _skimage("coffee.png", "a cup of espresso on a red saucer on a wooden table"),
    "flower": _sklearn("flower.jpg", "an orange dahlia in front of dark leaves"),
    "hubble": _skimage("hubble_deep_field.jpg", "thousands of galaxies in the black of deep space"),
    "motorcycle": _skimage("motorcycle_left.png", "a red motorcycle parked in a garage"),
    "rocket": _skimage("rocket.jpg", "a rocket on its launch pad at dusk"),
}
MOVES = {  # the moves of benchmark.model.ken_burns, in words
    "static": "A static shot of",
    "pan_left": "The camera pans left over",
    "pan_right": "The camera pans right over",
    "tilt_up": "The camera tilts up over",
    "tilt_down": "The camera tilts down over",
    "zoom_in": "The camera zooms in on",
    "zoom_out": "The camera zooms out from",
    "roll": "The camera rolls clockwise over",
}


@dataclass
class Pictures:
    """Each chosen picture with each chosen move (None: all): `astronaut-pan_left`, category `pan_left`.

    A case has the input `image` and the fields `move` and `picture`; its prompt says both in plain English.
    """

    pictures: list[str] | None = None
    moves: list[str] | None = None

    version: ClassVar[str] = "1"

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each unknown or repeated name, and for each picture that isn't installed."""
        yield from _check("dataset.pictures", "picture", self.pictures, tuple(PICTURES))
        yield from _check("dataset.moves", "move", self.moves, tuple(MOVES))
        for name in self.pictures if self.pictures is not None else PICTURES:
            if name in PICTURES and locate(picture := PICTURES[name]) is None:
                wrong = f"{picture.path} of {picture.package}, which shows `{name}`, is not installed"
                yield Problem("dataset.pictures", wrong, fix=f"pip install {picture.distribution}")

    def cases(self) -> Iterator[Case]:
        """Yield the cases, picture by picture. Raises: UserError with all of `problems`."""
        if problems := list(self.problems()):
            raise UserError(problems)
        for name in self.pictures if self.pictures is not None else PICTURES:
            path = locate(PICTURES[name])
            for move in self.moves if self.moves is not None else MOVES:
                yield Case(
                    id=f"{name}-{move}",
                    category=move,
                    prompt=f"{MOVES[move]} {PICTURES[name].shows}.",
                    inputs={"image": str(path)},
                    fields={"move": move, "picture": name},
                )


def locate(picture: Picture) -> Path | None:
    """Return the picture's absolute path without importing its (slow) package, or None if it isn't there."""
    spec = find_spec(picture.package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder).resolve() / picture.path
        if path.is_file():
            return path
    return None


def _check(where: str, what: str, given: list[str] | None, allowed: tuple[str, ...]) -> Iterator[Problem]:
    for index, name in enumerate(given or ()):
        if name not in allowed:
            yield Problem(where, f"no such {what}", name, ", ".join(allowed), closest(name, allowed))
        elif name in (given or ())[:index]:
            yield Problem(where, f"names a {what} twice", name, fix="remove one")
    if given == []:
        yield Problem(where, "is empty", "[]", ", ".join(allowed), f"name a {what}, or null for all")
