"""What cases must have for what will be done with them: fields, inputs that can be read, what a prompt is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import msgspec

from benchmark.cases import CaseTable, decode_case, shortened
from benchmark.errors import Problem, blame
from benchmark.media import CLIP_SUFFIXES, PICTURE_SUFFIXES, check_image, probe
from benchmark.prompts import Prompts
from benchmark.records import Case, encode
from benchmark.store import prediction_digest

Lacking = Counter[tuple[str, str]]
"""How many cases lack what is needed, by who needs it ("model", "metrics.basic") and what: an input role, a field."""


def inspect(table: CaseTable, prompts: Prompts | None) -> list[Problem]:
    """Check that prompts can be made of the chosen cases, fill in their inputs' digests and the table's digest."""
    unrendered: list[str] = []
    files = _Files()
    whole = sha256()
    for index, line in enumerate(table.lines):
        case = decode_case(line)
        if prompts and (why := _unrenderable(prompts, case)):
            unrendered.append(why)
        if case.inputs:
            inputs = {role: str(Path(path).absolute()) for role, path in case.inputs.items()}
            case = msgspec.structs.replace(case, inputs=inputs, digests=files.digests(case))
            table.lines[index] = encode(case)
        identity = [case.id, case.category, case.prompt, case.fields, case.digests]
        whole.update(msgspec.json.encode(identity, order="deterministic"))
    table.digest = whole.hexdigest()[:16]
    problems = []
    if unrendered:
        wrong = f"can't be made for {len(unrendered)} of {len(table.lines)} cases, the first: {unrendered[0]}"
        problems.append(Problem("prompts", wrong))
    return problems + shortened(files.problems)


def count_lacking(table: CaseTable, needs: Mapping[str, Sequence[str]]) -> Lacking:
    """Return how many cases lack what is needed of each; `needs` has by who needs it the input roles or fields."""
    lacking: Lacking = Counter()
    for line in table.lines if any(needs.values()) else []:
        case = decode_case(line)
        for who, what in needs.items():
            lacking.update((who, need) for need in what if not _has(case, need))
    return lacking


def problems_of(lacking: Lacking, n: int) -> list[Problem]:
    """Return a problem for each thing that is needed of every case and that some of the `n` lack."""
    return [
        Problem(who, f"needs each case's {need}, which {count} of {n} cases lack", fix=_remedy(who, need))
        for (who, need), count in lacking.items()
    ]


def changed_inputs(table: CaseTable) -> list[Problem]:
    """Return a problem for each input file that has another content than when the run was planned, or is gone."""
    files = _Files()
    changed: dict[str, Problem] = {}
    for line in table.lines:
        case = decode_case(line)
        for role, now in files.digests(case).items():
            if now and now != case.digests.get(role, now):
                wrong = f"its {role} has changed since the run was made"
                fix = "put the old file back, or start afresh: mode=all reuse=null"
                path = case.inputs[role]
                changed.setdefault(path, Problem(f"case {case.id!r}", wrong, path, fix=fix))
    return shortened([*files.problems, *changed.values()])


def _unrenderable(prompts: Prompts, case: Case) -> str:
    try:
        prompts.render(case)
    except KeyError as error:
        return str(error.args[0]) if error.args else "KeyError"
    except Exception as error:  # noqa: BLE001 - a component's own code
        return blame(error)
    return ""


def _has(case: Case, need: str) -> bool:
    if need.startswith("fields."):
        return need[7:] in case.fields
    return bool(case.prompt) if need == "prompt" else need in case.inputs


def _remedy(who: str, need: str) -> str:
    instead = f"use a dataset whose cases have {need}"
    option = who.removeprefix("metrics.")
    return instead if option == who else f"leave out {option}, or those measures of it that need {need}, or {instead}"


def _plainly_whole(path: Path) -> bool:
    """Return whether a file is a PNG whose chunks all have their checksum, or a JPEG from its first marker to its last.

    Most pictures are; for these Pillow, which takes a fifth of the time of a start to import, need not be asked.
    """
    data = path.read_bytes()
    if data[:2] == b"\xff\xd8":
        return data.rstrip(b"\0")[-2:] == b"\xff\xd9" and b"\xff\xda" in data
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return False
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False


class _Files:
    """Input files, each read once however many cases share it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self.problems: list[Problem] = []

    def digests(self, case: Case) -> dict[str, str]:
        return {role: self._digest(case.id, role, path) for role, path in case.inputs.items()}

    def _digest(self, case_id: str, role: str, path: str) -> str:
        if path not in self._known:
            self._known[path] = ""
            try:
                if path.lower().endswith(CLIP_SUFFIXES):
                    probe(Path(path))
                elif path.lower().endswith(PICTURE_SUFFIXES) and not _plainly_whole(Path(path)):
                    check_image(Path(path))
                self._known[path] = prediction_digest({role: Path(path)})
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                self.problems.append(Problem(f"case {case_id!r}", f"its {role} can't be read: {reason}", path))
        return self._known[path]
