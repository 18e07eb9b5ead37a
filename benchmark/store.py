"""The run folder: where everything lies, and the only code that writes there.

A file appears whole or not at all: temporary name in the same folder, fsync, os.replace. Records are appended to journals
and merged into one file per kind by a pure function, so a crash at any moment loses nothing that was recorded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from benchmark.errors import DiskFull, Problem, UserError
from benchmark.journal import FULL, Journal
from benchmark.media import file_digest
from benchmark.records import Case, Choice, digest

STALE_S = 24 * 3600.0  # then a half-written file without a writer's journal is nobody's any more


def code_digest() -> str:
    """Return a digest of this package's Python files, so that records tell which code made them."""
    root = Path(__file__).parent
    return digest(
        {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}, 12
    )


class CaseFile:
    """The cases of a run, in the order in which they are handed out; decoded only when asked for."""

    def __init__(self, path: Path) -> None:
        self._lines = path.read_bytes().splitlines()

    def __len__(self) -> int:
        return len(self._lines)

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Case]:
        return msgspec.json.Decoder(Case)

    def __getitem__(self, index: int) -> Case:
        return self._decoder.decode(self._lines[index])

    def __iter__(self) -> Iterator[Case]:
        return (self[index] for index in range(len(self)))


class Store:
    """One run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configs = folder / "configs"
        self.journals = folder / ".work" / "journals"
        self.cases_file = folder / "cases.jsonl"
        self.excluded_file = folder / "excluded.jsonl"
        self.ledgers: dict[tuple[str, ...], Any] = {}  # what was read of the records so far: see ledger.py

    @property
    def is_run(self) -> bool:
        return self.cases_file.is_file() and (self.configs / "config.yaml").is_file()

    def cases(self) -> CaseFile:
        return CaseFile(self.cases_file)

    def merged(self, stage: str, model: str) -> Path:
        """Return the file of a stage's merged records."""
        kind, name = ("predictions", "predictions.jsonl") if stage == "infer" else ("results", "scores.jsonl")
        return self.folder / kind / model / name

    def summary_file(self, model: str) -> Path:
        return self.folder / "results" / model / "summary.json"

    def log_file(self, stage: str, worker: str) -> Path:
        """Return a worker's log, its folder made."""
        path = self.folder / "logs" / stage / f"{worker}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def run_log(self) -> Path:
        path = self.folder / "logs" / "run.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def claims(self, stage: str, pass_key: str) -> Path:
        return self.folder / ".work" / stage / pass_key

    def media_base(self, model: str, case: Case, sample: int, samples: int) -> Path:
        """Return the path, without suffix, at which a prediction's files lie."""
        base = self.folder / "predictions" / model / case.category / case.id
        return base / str(sample) if samples > 1 else base

    def open_journal(self, *, role: str, stage: str, worker: str, config: str) -> Journal:
        self.journals.mkdir(parents=True, exist_ok=True)
        return Journal(self.journals, role=role, stage=stage, worker=worker, code=code_digest(), config=config)

    def stage_journals(self, stage: str) -> list[Path]:
        return sorted(self.journals.glob(f"{stage}-*.jsonl"))

    @contextlib.contextmanager
    def replacing(self, path: Path, token: str = "", hold: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """Yield a temporary path beside `path`; on leaving without an error it becomes `path`, whole and on the disk.

        `token` is the name of the writer's journal, for whoever clears up after its death. `hold` is called last before the
        file becomes visible, and may raise instead.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{token or 'none'}.{secrets.token_hex(4)}.tmp"
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            hold()
            temporary.replace(path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if is_disk_full(error):
                raise DiskFull(f"no space left for {path}") from error
            raise

    def take(self, source: Path, path: Path) -> None:
        """Move a file from elsewhere to a temporary path of the run folder, across file systems too."""
        shutil.move(source, path)

    def write(self, path: Path, data: bytes | str | Iterable[bytes]) -> None:
        """Write a small file, or a stream of lines, whole or not at all."""
        with self.replacing(path) as temporary, temporary.open("wb") as file:
            if isinstance(data, (str, bytes)):
                data = [data.encode() if isinstance(data, str) else data]
            for piece in data:
                file.write(piece)

    def keep_only(self, folder: Path, names: Iterable[str]) -> None:
        """Remove other files from a prediction's folder, such as the last frames of a longer clip made before."""
        kept = set(names)
        for path in folder.iterdir():
            if path.name not in kept and path.name[0] != ".":
                path.unlink(missing_ok=True)

    def drop(self, paths: Iterable[str]) -> bool:
        """Remove files, and folders of frames, of the run; return whether any of them was still there."""
        dropped = False
        for path in (self.folder / path for path in paths):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
            else:
                continue
            dropped = True
            with contextlib.suppress(OSError):  # others' files lie there still
                path.parent.rmdir()
        return dropped

    def sweep_temporaries(self, is_dead: Callable[[str], object]) -> None:
        """Remove what writers left half-written whose journals `is_dead` says are dead; without a journal, after a day."""
        for path in (self.folder / "predictions").rglob(".*.tmp"):
            journal = path.name[1:].rsplit(".", 2)[0] + ".jsonl"
            with contextlib.suppress(FileNotFoundError):
                if (self.journals / journal).exists():
                    dead = is_dead(journal)
                else:
                    dead = time.time() - path.stat().st_mtime > STALE_S
                if dead:
                    path.unlink()


def prediction_digest(files: Mapping[str, Path], text: str | None = None, choices: Sequence[Choice] = ()) -> str:
    """Return the sha256 of a prediction: that of its one file or its text; else that of all its files' sha256, or of the text
    with the choices."""
    if not files and choices:
        return digest([text, msgspec.to_builtins(choices)], 64)
    if not files:
        return hashlib.sha256((text or "").encode()).hexdigest()
    if len(files) == 1 and (only := next(iter(files.values()))).is_file():
        return file_digest(only)
    parts = []
    for role, path in sorted(files.items()):
        members = sorted(path.iterdir()) if path.is_dir() else [path]
        parts += [[role, member.name, file_digest(member)] for member in members if member.name[0] != "."]
    return digest(parts, 64)


def is_disk_full(error: BaseException) -> bool:
    """Return whether the error, or what caused it, is a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in FULL):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


def reserve(parent: Path, stamp: str) -> Path:
    """Make and return `parent/stamp`, or `_2`, `_3` ... if it is taken: nobody else has it."""
    parent.mkdir(parents=True, exist_ok=True)
    n = 1
    while True:
        folder = parent / (stamp if n == 1 else f"{stamp}_{n}")
        try:
            folder.mkdir()
        except FileExistsError:
            n += 1
            continue
        return folder


def point_latest(folder: Path) -> None:
    """Let `latest` beside the folder point to it (skipped where the file system has no links)."""
    temporary = folder.parent / f".latest.{secrets.token_hex(4)}"
    with contextlib.suppress(OSError, NotImplementedError):
        temporary.symlink_to(folder.name)
        temporary.replace(folder.parent / "latest")


def open_run(folder: Path) -> Store:
    """Return the store of an existing run; raise UserError if the folder is none."""
    store = Store(folder)
    if not store.is_run:
        what = "no such folder" if not folder.exists() else "is no run folder (cases.jsonl or configs/ is missing)"
        raise UserError(Problem(str(folder), what, fix="name a folder below outputs/, or a run by its name"))
    return store
