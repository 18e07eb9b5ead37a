"""What keeps one unit's exception from the others: failing batches are taken apart, and errors become words."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmark.errors import DiskFull
from benchmark.programs.folder import named_plainly
from benchmark.store import is_disk_full

Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """What is known of a unit that raised: its class and message in the first line, then the traceback."""

    error: str


def in_words(error: BaseException) -> str:
    """Return class and message in the first line, the traceback below: the first line is what reports group by.

    Raises DiskFull instead if that is behind it: the case is not to blame.
    """
    if is_disk_full(error):
        raise DiskFull(str(error)) from error
    raised = traceback.format_exception(error) if error.__traceback__ else ()  # one that was returned has no traceback
    words = "".join([*traceback.format_exception_only(error)[-1:], *raised])
    words = named_plainly(words.rstrip())
    return words.encode("utf-8", "backslashreplace").decode()  # a record can't hold half a surrogate pair


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on the host or (by the class's name, torch is not imported here) on a GPU."""
    return isinstance(error, MemoryError) or "OutOfMemoryError" in [c.__name__ for c in type(error).__mro__]


def free_memory() -> None:
    """Give back what the failed try still holds, and a GPU's cached memory if torch is in use."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def guarded(
    call: Callable[[Sequence[Any]], Sequence[Result]], units: Sequence[Any], on_smaller: Callable[[int], None]
) -> list[Result | Failure]:
    """Return a result or a Failure per unit; a failing batch is halved when memory ran out, else tried one by one.

    An exception that `call` returns in the place of a result fails that unit alone, and nothing is tried again.

    `on_smaller` is told the size that is tried next when memory ran out. Raises DiskFull if that is behind an exception.
    """
    try:
        results = list(call(units))
        if len(results) != len(units):
            raise ValueError(f"{len(units)} results were expected, {len(results)} came")
        return [Failure(in_words(result)) if isinstance(result, Exception) else result for result in results]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - and sys.exit would end the worker as if all were done
        words = in_words(error)
        no_memory = is_out_of_memory(error)
    if no_memory:
        free_memory()
    if len(units) == 1:
        return [Failure(words)]
    size = len(units) // 2 if no_memory else 1
    if no_memory:
        on_smaller(size)
    pieces = (units[i : i + size] for i in range(0, len(units), size))
    return [result for piece in pieces for result in guarded(call, piece, on_smaller)]
