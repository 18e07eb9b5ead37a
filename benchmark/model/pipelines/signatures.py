"""What a pipeline of diffusers takes and makes, read from its source, since importing it takes seconds that a plan hasn't.

Only what stands in the source is used: an unknown class or another layout of the library gives None, and the same checks are
done when the pipeline is loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

# The field of a pipeline's output, and what is in it.
OUTPUTS = {"images": "image", "image": "image", "frames": "video", "video": "video", "audios": "audio"}


@dataclass(frozen=True)
class Signature:
    """The parameters of a class's method, in order, which of them have no default, and what a pipeline's call returns."""

    name: str
    folder: Path  # of the source
    parameters: tuple[str, ...]
    required: tuple[str, ...] = ()
    output: str = ""  # image | video | audio, "" where the source does not tell


def library() -> Path | None:
    """Return the folder of diffusers, or None if it isn't installed."""
    spec = find_spec("diffusers")
    return next((Path(place) for place in (spec.submodule_search_locations or ())), None) if spec else None


@lru_cache
def signature(name: str, method: str = "__call__", within: str = "pipelines") -> Signature | None:
    """Return the signature of a method of a class of diffusers, its own or inherited, or None if it can't be found."""
    root = library()
    found = _definition(root / within, name) if root else None
    if found is None:
        return None
    node, folder = found
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == method:
            return _read(name, folder, item)
    bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id != name]
    for base in bases:
        if inherited := signature(base, method, within):
            return Signature(name, folder, inherited.parameters, inherited.required, inherited.output)
    return None


def classes(within: str, ending: str) -> list[str]:
    """Return the names of the classes below a folder of diffusers that end like this."""
    root = library()
    pattern = re.compile(rf"^class (\w+{ending})\b", re.MULTILINE)
    return sorted({name for path in _sources(root / within) for name in pattern.findall(_text(path))}) if root else []


def relatives(found: Signature) -> list[Signature]:
    """Return the other pipelines whose source lies in the same folder."""
    pattern = re.compile(r"^class (\w+Pipeline)\b", re.MULTILINE)
    names = sorted({name for path in found.folder.glob("*.py") for name in pattern.findall(_text(path))})
    return [one for name in names if name != found.name and (one := signature(name))]


def load_arguments() -> set[str]:
    """Return the names that DiffusionPipeline.from_pretrained takes besides components; empty if they can't be found."""
    root = library()
    found = _definition(root / "pipelines", "DiffusionPipeline") if root else None
    for item in found[0].body if found else ():
        if isinstance(item, ast.FunctionDef) and item.name == "from_pretrained":
            return set(re.findall(r"kwargs\.pop\('(\w+)'", ast.unparse(item)))
    return set()


def _read(name: str, folder: Path, function: ast.FunctionDef) -> Signature:
    given = function.args
    positional = [argument.arg for argument in (*given.posonlyargs, *given.args)][1:]
    required = positional[: len(positional) - len(given.defaults)]
    keywords = [argument.arg for argument in given.kwonlyargs]
    required += [key for key, default in zip(keywords, given.kw_defaults, strict=True) if default is None]
    made = {
        keyword.arg
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call)
        for keyword in node.value.keywords
    }
    output = next((kind for key, kind in OUTPUTS.items() if key in made), "")
    return Signature(name, folder, (*positional, *keywords), tuple(required), output)


def _definition(root: Path, name: str) -> tuple[ast.ClassDef, Path] | None:
    pattern = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    for path in _sources(root):
        if pattern.search(text := _text(path)):
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return node, path.parent
    return None


def _sources(root: Path) -> Iterator[Path]:
    """Yield the sources, what is deprecated last."""
    yield from sorted(root.rglob("*.py"), key=lambda path: ("deprecated" in path.parts, path))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
