"""Weights: where they lie, whether they are whole, and how they get there. Runs are offline unless told otherwise.

A component names the weights it will load (`weights()`); what is missing or damaged is told when the run is planned, and
`benchmark fetch` brings it on a machine with network. Nothing here imports torch; huggingface_hub is imported where a
repository of the Hub is asked for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from benchmark.media import file_digest

CLIP_CACHE = "GENBENCH_CLIP_CACHE"


def environment(cache_dir: str | None, offline: bool) -> dict[str, str]:
    """Return the variables that workers (and the planner) get: where caches lie, and whether libraries may use the network.

    `cache_dir` puts the Hugging Face, torch and CLIP caches in one place; without it each library's own settings hold.
    HF_ENDPOINT and the rest of the user's environment pass through.
    """
    found = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"), "1" if offline else "0")
    if cache_dir:
        root = Path(cache_dir).expanduser().absolute()
        found |= {"HF_HOME": str(root / "huggingface"), "HF_HUB_CACHE": str(root / "huggingface" / "hub")}
        found |= {"TORCH_HOME": str(root / "torch"), CLIP_CACHE: str(root / "clip")}
    return found


@contextlib.contextmanager
def applied(variables: Mapping[str, str]) -> Iterator[None]:
    """Let this process have the variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def hub_cache() -> Path:
    """Return the folder in which huggingface_hub keeps repositories."""
    home = Path(os.environ.get("HF_HOME") or _user_cache() / "huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def torch_cache() -> Path:
    """Return the folder below which torch.hub and pyiqa keep files."""
    return Path(os.environ.get("TORCH_HOME") or _user_cache() / "torch").expanduser() / "hub"


def clip_cache() -> Path:
    """Return the folder in which OpenAI's CLIP keeps its checkpoints: `cache_dir`'s, else its own."""
    return Path(os.environ.get(CLIP_CACHE) or Path("~/.cache/clip")).expanduser()


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


@dataclass(frozen=True)
class Weights:
    """Weights that a component loads: one file at `path`, from `url`; or files of a repository of the Hugging Face Hub.

    `files` are those of the repository that are needed, or patterns such as "*.safetensors", with `|` between patterns of
    which the first that it has will do; `path` is then where its snapshot lies, or will. `size_mb` is None where it is not
    known. A checkpoint of the user's own has neither `url` nor `repository`: it can be missed, but not fetched. `sha256`,
    where known, tells a damaged file.
    """

    name: str
    path: Path
    size_mb: float | None = None
    url: str = ""
    sha256: str = ""
    repository: str = ""
    revision: str = "main"
    files: tuple[str, ...] = ()

    @property
    def fetchable(self) -> bool:
        return bool(self.url or self.repository)

    def wrong(self) -> str:
        """Return what is wrong with the weights as they lie on the disk: missing, damaged, or "" for nothing."""
        if self.repository:
            return self._missing_of_repository()
        if not self.path.exists():
            return "is missing"
        if self.sha256 and self.path.is_file() and file_digest(self.path) != self.sha256:
            return "is damaged (its SHA256 checksum does not match)"
        return ""

    def _missing_of_repository(self) -> str:
        snapshot = snapshot_of(self.repository, self.revision)
        if snapshot is None:
            return "is missing"
        held = [str(file.relative_to(snapshot)) for file in snapshot.rglob("*") if file.is_file()]
        lacking = [name for name in self.files if not _first_of(name, held)]
        return f"lacks {', '.join(lacking)}" if lacking else ""

    def fetch(self) -> Path:
        """Bring the weights to their place and return it. Raises: OSError, or what huggingface_hub raises.

        A file arrives under a temporary name and is checked before it takes its place; one that was damaged is replaced.
        """
        if self.repository:
            from huggingface_hub import list_repo_files, snapshot_download

            there = list_repo_files(self.repository, revision=self.revision)
            wanted = [_first_of(name, there) or name for name in self.files] or None
            place = snapshot_download(
                self.repository, revision=self.revision, allow_patterns=wanted, cache_dir=hub_cache()
            )
            return Path(place)
        download(self.url, self.path, self.sha256)
        return self.path


def _first_of(name: str, there: Iterable[str]) -> str:
    """Return the first of the patterns between `|` that matches any of the paths, or ""."""
    held = list(there)
    return next((pattern for pattern in name.split("|") if any(fnmatch(path, pattern) for path in held)), "")


def snapshot_of(repository: str, revision: str = "main") -> Path | None:
    """Return the folder of a repository's snapshot in the Hub's cache, or None if there is none."""
    root = hub_cache() / f"models--{repository.replace('/', '--')}"
    ref = root / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    snapshot = root / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def download(url: str, path: Path, sha256: str = "") -> None:
    """Download one file. Raises: OSError if the server refuses, the connection breaks, or the checksum differs."""
    from urllib.request import urlopen

    from rich.progress import wrap_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with urlopen(url, timeout=60) as answer, temporary.open("wb") as file:
            expected = int(answer.headers.get("Content-Length") or -1)
            with wrap_file(answer, total=max(expected, 0), description=path.name, transient=True) as told:
                while piece := told.read(1 << 20):
                    file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if expected >= 0 and temporary.stat().st_size != expected:
            raise OSError(f"{url} broke off after {temporary.stat().st_size} of {expected} bytes")
        if sha256 and (found := file_digest(temporary)) != sha256:
            raise OSError(f"{url} has the SHA256 checksum {found}, not {sha256}")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
