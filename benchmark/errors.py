"""What can go wrong, and how the process ends when it does.

    GenbenchError
    ├── UserError          the user's mistake: numbered problems, no traceback      exit 2
    ├── Incomplete         finished, but something is missing or failed             exit 1
    ├── Interrupted        Ctrl-C or SIGTERM: nothing lost, prints how to go on     exit 130
    └── DiskFull           a write came back short: what is recorded stays recorded exit 1

Anything else that escapes is our own bug: exit 3, with the traceback in the run's log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

EXIT_OK, EXIT_INCOMPLETE, EXIT_USER, EXIT_BUG, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True)
class Problem:
    """One mistake of the user, in the four parts that every message of ours has.

    `where` is the config key, file or command at fault; `wrong` says what is wrong with it; `given`, `allowed` and `fix`
    are left out of the message where they are empty.
    """

    where: str
    wrong: str
    given: str = ""
    allowed: str = ""
    fix: str = ""

    def __str__(self) -> str:
        details = [("given", self.given), ("allowed", self.allowed), ("fix", self.fix)]
        return "\n     ".join([f"{self.where}: {self.wrong}", *(f"{k}: {v}" for k, v in details if v)])


class GenbenchError(Exception):
    """Base of all errors that genbench raises on purpose."""

    exit_code = EXIT_BUG


class UserError(GenbenchError):
    """One or several mistakes of the user, shown together, each once."""

    exit_code = EXIT_USER

    def __init__(self, problems: Iterable[Problem] | Problem) -> None:
        self.problems = list(dict.fromkeys([problems] if isinstance(problems, Problem) else problems))
        super().__init__(self.message())

    def message(self) -> str:
        """All problems, numbered."""
        n = len(self.problems)
        head = f"{n} problem{'s' if n != 1 else ''}, nothing was started:"
        return "\n".join([head, *(f"  {i}. {problem}" for i, problem in enumerate(self.problems, 1))])


class Incomplete(GenbenchError):
    """The chosen stages ended, but not every expected case is done."""

    exit_code = EXIT_INCOMPLETE


class DiskFull(GenbenchError):
    """A write into the run folder found no space left."""

    exit_code = EXIT_INCOMPLETE


class Interrupted(GenbenchError):
    """The user or the system asked the run to stop."""

    exit_code = EXIT_INTERRUPTED


def closest(word: str, allowed: Iterable[str], prefix: str = "") -> str:
    """Return "did you mean `x`?" for the allowed words nearest to `word` (with `prefix`), or an empty string."""
    matches = get_close_matches(word, list(allowed), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(f'`{prefix}{match}`' for match in matches)}?" if matches else ""


def some(items: Iterable[object], most: int = 12) -> str:
    """Return the items joined by commas, cut after `most` with a count of the rest."""
    listed = [str(item) for item in items]
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f", and {rest} more" if rest > 0 else "")


def blame(error: BaseException) -> str:
    """Return what an exception of somebody else's code says, and the file and line that raised it."""
    said = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None or isinstance(error, SyntaxError):
        return said
    return f"{said} ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
