"""One call of a program: from its start to its end, or to the end of its time."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from benchmark.programs import Program
from benchmark.programs.log import Lines, Log
from benchmark.programs.running import Running, Sink

MOST_CAPTURED_BYTES = 64 << 20


class Capture:
    """Keeps what a stream says. Raises at `text` if that was too much or is no UTF-8."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MOST_CAPTURED_BYTES:
            self._data += data

    def close(self) -> None: ...

    @property
    def text(self) -> str:
        if self._size > MOST_CAPTURED_BYTES:
            raise ValueError(f"it wrote {self._size} bytes, at most {MOST_CAPTURED_BYTES} are taken")
        return self._data.decode().rstrip("\r\n")


def call(
    program: Program,
    values: Mapping[str, str],
    folder: Path,
    timeout_min: float | None,
    stdout: Sink | None = None,
) -> Log:
    """Run the program once, in its environment and folder; return its log.

    `folder` is removed should this process die meanwhile. stdout goes to the log too unless it is given a sink.

    Raises: ChildProcessError if it could not be started or its exit code is not 0, TimeoutError after `timeout_min`; both say
    its last lines. ValueError or KeyError if its words can't be made.
    """
    words, environment = program.filled(values)
    check_words(words)
    log = Log(program.name)
    running = Running(words, environment, program.folder(), folder, (stdout or Lines(log.write), Lines(log.complain)))
    try:
        code = running.wait(None if timeout_min is None else timeout_min * 60)
    except TimeoutError:
        running.end()
        late = f"{program.name} was not done after timeout_min={timeout_min:g}"
        raise TimeoutError(f"{late}{log.last_words()}") from None
    except ChildProcessError as error:
        raise ChildProcessError(f"{program.name} {error}{log.last_words()}") from None
    finally:
        running.end()
    if code:
        raise ChildProcessError(how_it_ended(program, code, log))
    return log


def check_words(words: list[str]) -> None:
    """Raise ValueError for a word that no program can be given."""
    for word in words:
        if "\0" in word:
            raise ValueError(f"a program can't be given a word with a zero byte: {word!r:.100}")
        if len(word.encode("utf-8", "surrogateescape")) >= 128 * 1024:
            start = f"{word:.40}"
            raise ValueError(
                f"a program can't be given a word of 128 KiB or more ({start!r}...): let it read {{requests}}"
            )


def how_it_ended(program: Program, code: int, log: Log) -> str:
    """Return in words how a program ended: its last line in the first line, all of its last lines below."""
    how = f"ended with exit code {code}" if code >= 0 else f"was killed by {_signal_name(-code)}"
    said = log.last_line()
    return f"{program.name} {how}{f': {said:.160}' if said else ''}{log.last_words()}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
