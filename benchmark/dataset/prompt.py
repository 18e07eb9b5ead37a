"""One case from the shell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from benchmark.dataset.reading.listing import missing
from benchmark.errors import Problem, UserError
from benchmark.names import FIX, slug, unsafe, unsafe_id
from benchmark.records import Case


@dataclass
class Prompt:
    """One case: a prompt, or input files, or both. Its `id` is by default the first words of the prompt."""

    prompt: str = ""
    image: Path | None = None
    video: Path | None = None
    reference: Path | None = None
    id: str | None = None
    category: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    version: ClassVar[str] = "1"

    def problems(self) -> Iterator[Problem]:
        """Yield a problem if there is nothing to ask, for each file that is missing, and for names that name no file."""
        files = self._files()
        if not self.prompt.strip() and not files:
            yield Problem("dataset.prompt", "is empty", fix='dataset.prompt="a cat, at night"')
        for role, path in files.items():
            if not path.exists():
                yield missing(f"dataset.{role}", path)
        if self.id is not None and (why := unsafe_id(self.id)):
            yield Problem("dataset.id", why, self.id, fix=FIX)
        if self.category and (why := unsafe(self.category)):
            yield Problem("dataset.category", why, self.category, fix=FIX)

    def cases(self) -> Iterator[Case]:
        """Yield the case. Raises: UserError with all of `problems`."""
        if problems := list(self.problems()):
            raise UserError(problems)
        files = self._files()
        stem = next((slug(path.stem) for path in files.values()), "")
        yield Case(
            id=self.id or slug(self.prompt) or stem or "prompt",
            category=self.category,
            prompt=self.prompt,
            inputs={role: str(path.absolute()) for role, path in files.items()},
            fields=self.fields,
        )

    def _files(self) -> dict[str, Path]:
        given = {"image": self.image, "video": self.video, "reference": self.reference}
        return {role: path.expanduser() for role, path in given.items() if path is not None}
