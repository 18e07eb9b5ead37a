"""What an outside evaluator is handed: a list of cases with their outputs, and links to these under names that it likes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.metrics import Item
from benchmark.programs.folder import WorkFolder
from benchmark.programs.placeholders import fill, named
from benchmark.records import Case

MAIN_ROLES = ("video", "image", "frames")
MOST_NAME_BYTES = 255


@dataclass
class Handed:
    """An item as the evaluator meets it: its output lies at `path` and is linked at `link`; `values` are by placeholder."""

    item: Item
    path: Path
    link: Path
    values: dict[str, str]

    @property
    def name(self) -> tuple[str, int, Sequence[Path]]:
        """The case, the sample, and all paths under which the output may have been seen."""
        return self.item.case.id, self.item.prediction.sample, (self.link, self.path, *self.item.clip.files.values())


def hand_over(items: Sequence[Item], folder: WorkFolder, link_as: str) -> list[Handed]:
    """Write cases.json into the folder and links into its folder `outputs`; return the items as they are handed over.

    Raises: ValueError if two outputs get the same name; KeyError if a case lacks a field that is in the pattern.
    """
    listing = json.dumps([_listed(item) for item in items], ensure_ascii=False, indent=1)
    (folder.path / "cases.json").write_text(listing, encoding="utf-8")
    handed = []
    for item in items:
        path = _main_file(item, folder)
        link = folder.sub("outputs") / link_name(link_as, item.case, item.prediction.sample, path.suffix)
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            raise ValueError(f"link_as={link_as} gives two outputs the name {link.name}")
        link.symlink_to(path)
        handed.append(Handed(item, path, link, _values(item, path)))
    return handed


def link_name(pattern: str, case: Case, sample: int, suffix: str) -> str:
    """Return the name under which an output is linked; only the pattern and the category make folders.

    Raises: KeyError if the case lacks a field that is in the pattern.
    """
    values = {"case_id": case.id, "sample": str(sample), "suffix": suffix, "prompt": case.prompt}
    flat = {name: value.replace("/", "_") for name, value in (values | named("fields", case.fields)).items()}
    return fill(pattern, {**flat, "category": case.category}).lstrip("/")


def wrong_names(pattern: str, cases: Iterable[Case], samples: int, unique: bool) -> Iterator[str]:
    """Yield what is wrong with the names that a pattern gives to outputs: at most one thing."""
    seen: dict[str, str] = {}
    for case in cases:
        for sample in range(samples):
            who = f"{case.id} (sample {sample})"
            try:
                name = link_name(pattern, case, sample, ".mp4")
            except KeyError as error:
                yield f"can't name {who}: {error.args[0]}"
                return
            if any(len(part.encode()) > MOST_NAME_BYTES or part == ".." for part in name.split("/")):
                yield f"gives {who} a name that no file can have, such as one of more than {MOST_NAME_BYTES} bytes"
                return
            if unique and name in seen:
                yield f"gives {seen[name]} and {who} the same name, {name}"
                return
            seen[name] = who


def _main_file(item: Item, folder: WorkFolder) -> Path:
    """Return the file (or folder of frames) of an output; a text is written into one."""
    files = item.clip.files
    role = next((role for role in (*MAIN_ROLES, *files) if role in files), None)
    if role:
        return Path(files[role]).absolute()
    path = folder.sub("texts") / f"{item.case.id}-{item.prediction.sample}.txt"
    path.write_text(item.clip.text or "", encoding="utf-8")
    return path


def _listed(item: Item) -> dict[str, Any]:
    """Return an item as cases.json has it."""
    case, prediction = item.case, item.prediction
    return {
        "case_id": case.id,
        "sample": prediction.sample,
        "category": case.category,
        "prompt": case.prompt,
        "fields": case.fields,
        "inputs": case.inputs,
        "outputs": {role: str(Path(path).absolute()) for role, path in item.clip.files.items()},
        "text": item.clip.text,
        "seed": prediction.seed,
    }


def _values(item: Item, path: Path) -> dict[str, str]:
    case, prediction = item.case, item.prediction
    plain = {"output": path, "case_id": case.id, "sample": prediction.sample, "seed": prediction.seed}
    plain |= {"category": case.category, "prompt": case.prompt}
    texts = {name: str(value) for name, value in plain.items()}
    return texts | named("input", case.inputs) | named("fields", case.fields)
