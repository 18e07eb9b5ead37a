"""The pictures and clips of a folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from glob import iglob
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmark.dataset import Excluded
from benchmark.dataset.reading.bad_rows import BadRows
from benchmark.dataset.reading.inputs import Inputs, Unusable
from benchmark.dataset.reading.listing import PATH, kinds, missing, natural
from benchmark.dataset.reading.unpack import cache_folder
from benchmark.errors import Problem, UserError
from benchmark.media import CLIP_SUFFIXES as CLIPS
from benchmark.media import PICTURE_SUFFIXES as PICTURES
from benchmark.names import FIX, MOST_BYTES, unsafe, unsafe_id
from benchmark.records import Case

SUFFIXES = {"auto": (*PICTURES, *CLIPS), "image": PICTURES, "video": CLIPS}


@dataclass
class Folder:
    """A case per picture (input `image`) or clip (input `video`), its category the subfolder.

    The id is the path below the folder, with - for /, and depends on nothing else: more files change no id. Hidden files and
    folders are left out. `prompts`: the text file beside it (sidecar), its name in words, none, or auto: the text file where
    there is one, else the name. `reference` is a folder with a file of the same path but for the suffix for each.
    """

    path: Path | None = None
    kind: Literal["auto", "image", "video"] = "auto"
    pattern: str = "**/*"
    prompts: Literal["auto", "name", "sidecar", "none"] = "auto"
    reference: Path | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    skip_bad: bool = False

    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        self._bad = BadRows(self.skip_bad)
        self._others: list[Path] = []

    @property
    def excluded(self) -> Excluded:
        """The files that the last reading left out since something is wrong with them."""
        return self._bad.excluded

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each folder that isn't there."""
        if self.path is None:
            yield Problem(PATH, "is not given", fix=f"{PATH}=pictures")
        for where, folder in ((PATH, self.path), ("dataset.reference", self.reference)):
            if folder and not folder.expanduser().is_dir():
                if folder.expanduser().exists():
                    yield Problem(where, "is a file, not a folder", str(folder))
                else:
                    yield missing(where, folder.expanduser())

    def review(self, cases: Iterable[Case], samples: int) -> Iterator[Problem | str]:
        """Say which files were passed over."""
        if self._others:
            yield f"dataset.path: {kinds(self._others)} passed over, neither pictures nor clips"

    def cases(self) -> Iterator[Case]:
        """Yield the cases in the order in which people count. Raises: UserError with a problem per file that is no case."""
        problems = list(self.problems())
        if problems or self.path is None:
            raise UserError(problems)
        root = self.path.expanduser().absolute()
        self._bad = BadRows(self.skip_bad)
        seen: dict[str, str] = {}
        inputs = Inputs(str(root), cache_folder(), check_media=self.skip_bad)
        for name in self._chosen(root):
            try:
                yield self._case(root, name, inputs, seen)
                self._bad.good += 1
            except Unusable as error:
                self._bad.add([Problem(name, error.wrong, str(error.found), error.allowed, error.fix)])
        self._bad.close()

    def _chosen(self, root: Path) -> list[str]:
        """Return the paths below the root of the pictures and clips that the pattern means, in order."""
        # glob's own function: it follows links to folders and leaves out what is hidden
        found = [name for name in iglob(self.pattern, root_dir=root, recursive=True) if (root / name).is_file()]  # noqa: PTH207
        chosen = [name for name in set(found) if name.lower().endswith(SUFFIXES[self.kind])]
        sidecars = {os.path.splitext(name)[0] + ".txt" for name in chosen} if self.prompts != "none" else set()  # noqa: PTH122
        self._others = [Path(name) for name in found if name not in sidecars and not _is_media(name)]
        if not chosen:
            what = {"auto": "picture or clip", "image": "picture", "video": "clip"}[self.kind]
            wrong = f"holds no {what} that matches {self.pattern}, but {kinds(map(Path, found))}"
            raise UserError(Problem(PATH, wrong, str(root), " ".join(SUFFIXES[self.kind])))
        return sorted(chosen, key=natural)

    def _case(self, root: Path, name: str, inputs: Inputs, seen: dict[str, str]) -> Case:
        path = Path(name)
        if not (root / path).stat().st_size:
            raise Unusable("is empty", "0 bytes")
        case_id = id_of(path)
        if seen.setdefault(case_id, name) != name:
            fix = "rename one, or choose with dataset.pattern: '**/*.png'"
            raise Unusable(f"has the id of {seen[case_id]}", case_id, fix=fix)
        files = {"video" if name.lower().endswith(CLIPS) else "image": inputs.path(str(root / path))}
        if self.reference:
            files["reference"] = str(_counterpart(self.reference.expanduser().absolute(), path))
        category = "" if path.parent == Path() else path.parent.as_posix()
        if why := unsafe(category) if category else "":
            raise Unusable(f"its category {why}", category, fix=FIX)
        return Case(
            id=case_id, category=category, prompt=self._prompt(root / path), inputs=files, fields=dict(self.fields)
        )

    def _prompt(self, path: Path) -> str:
        sidecar = path.with_suffix(".txt")
        if self.prompts == "sidecar" or (self.prompts == "auto" and sidecar.is_file()):
            try:
                return sidecar.read_text(encoding="utf-8-sig").strip()
            except FileNotFoundError as error:
                raise Unusable("has no text file beside it", sidecar.name, fix="dataset.prompts=name") from error
            except UnicodeDecodeError as error:
                raise Unusable("its text file is not UTF-8", sidecar.name) from error
        return "" if self.prompts == "none" else re.sub(r"[\s_-]+", " ", path.stem).strip()


def id_of(path: Path) -> str:
    """Return the id of a file by its path below the folder: made of its parts, with a digest where they can't be a name."""
    plain = "-".join(path.with_suffix("").parts)
    if not unsafe_id(plain):
        return plain
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    words = "_".join(re.findall(r"\w+", plain, re.ASCII))[: MOST_BYTES - 9]
    return f"{words}-{digest}" if words else digest


def _counterpart(folder: Path, path: Path) -> Path:
    same = folder / path
    for candidate in (same, *(same.with_suffix(suffix) for suffix in SUFFIXES["auto"])):
        if candidate.is_file():
            return candidate
    raise Unusable(
        "has no reference", str(same), fix=f"any suffix of a picture or clip will do: {same.with_suffix('')}.*"
    )


def _is_media(name: str) -> bool:
    return name.lower().endswith(SUFFIXES["auto"])
