"""A program that stays: started once, it answers JSON lines, one after the other, until the worker leaves."""

from __future__ import annotations

import json
import math
import queue
import time
import weakref
from collections.abc import Mapping
from typing import Any

from benchmark.programs import Program
from benchmark.programs.call import check_words, how_it_ended
from benchmark.programs.folder import WorkFolder, named_plainly
from benchmark.programs.log import Lines, Log
from benchmark.programs.running import Running

READY = "ready"
ANSWERS = ("output", "text", "error")
MOST_STARTS = 3  # in a row that came to nothing; then it is not tried again
MOST_LINE_BYTES = 64 << 20
ENDED_S = 5.0  # for the exit code of a program that has closed its stdout


class Conversation:
    """A program that says {"ready": true} once it has loaded, and then one line for each line it is told.

    Once it is ready, each JSON object that it says is an answer, as is each JSON list if it is asked for `lists` or all in
    it are answers; any other line is a log line. If it dies, what it was asked fails, and the next question starts it anew.
    """

    def __init__(self, program: Program, values: Mapping[str, str], folder: WorkFolder, lists: bool) -> None:
        self._program, self._values, self._folder = program, values, folder
        self._lists = lists
        self._running: Running | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._log = Log(program.name)
        self._vain_starts, self._why = 0, ""

    def start(self, timeout_min: float | None) -> None:
        """Start the program and wait until it is ready.

        Raises: ChildProcessError if it ends before that, TimeoutError if it takes too long; at once after MOST_STARTS.
        """
        if self._running:
            return
        if self._vain_starts >= MOST_STARTS:
            raise ChildProcessError(f"{self._program.name} did not start {MOST_STARTS} times in a row: {self._why}")
        words, environment = self._program.filled(self._values)
        check_words(words)
        self._answers, self._log = queue.SimpleQueue(), Log(self._program.name)
        stdout = _Answers(self._answers, self._log, self._lists)
        sinks = (stdout, Lines(self._log.complain))
        cwd, folder = self._program.folder(), self._folder.path
        self._running = Running(words, environment, cwd, folder, sinks, talks=True)
        weakref.finalize(self, self._running.end)  # when whoever talks to it is done with it
        try:
            self._await_ready(_deadline(timeout_min), timeout_min)
        except (ChildProcessError, TimeoutError) as error:
            self._vain_starts += 1
            self._why = str(error)
            raise
        self._vain_starts = 0

    def _await_ready(self, deadline: float, timeout_min: float | None) -> None:
        limit = f"load_timeout_min={timeout_min:g}" if timeout_min else ""
        answer = self._next(deadline, f'did not say {{"ready": true}} within {limit}')
        if not (isinstance(answer, dict) and answer.get(READY)):
            said = named_plainly(json.dumps(answer))
            self.end()
            raise ChildProcessError(f'{self._program.name} said {said:.160} before {{"ready": true}}')

    def ask(self, question: Any, timeout_min: float | None, load_timeout_min: float | None) -> Any:
        """Return the answer to one question; both are what a JSON line holds.

        Raises: ChildProcessError if the program dies, TimeoutError if it takes too long, ValueError if it has said more than
        it was asked. After each of these it is started anew for the next question.
        """
        self.start(load_timeout_min)
        assert self._running
        if not self._answers.empty():
            self._check_alive()
            self.end()
            raise ValueError(f"{self._program.name} gave more answers than it was asked for{self._log.last_words()}")
        deadline = _deadline(timeout_min)
        late = f"was not done after timeout_min={timeout_min:g}" if timeout_min else ""
        try:
            self._running.write(json.dumps(question, ensure_ascii=False).encode() + b"\n", deadline)
        except TimeoutError:
            self._too_late(late)
        except OSError:
            pass  # it has closed its stdin: what it said last, or how it ended, is to come
        return self._next(deadline, late)

    def end(self) -> None:
        """End the program."""
        if self._running:
            self._running.end()
            self._running = None

    def last_words(self) -> str:
        return self._log.last_words()

    def _check_alive(self) -> None:
        """Raise ChildProcessError if the program died since its last answer."""
        first = self._answers.get()
        if first is None:
            self._died()
        self._answers.put(first)

    def _next(self, deadline: float, late: str) -> Any:
        timeout_s = deadline - time.monotonic()
        try:
            answer = self._answers.get(timeout=None if timeout_s == math.inf else max(0.0, timeout_s))
        except queue.Empty:
            self._too_late(late)
        if answer is None:
            self._died()
        return answer

    def _too_late(self, late: str) -> None:
        self.end()
        raise TimeoutError(f"{self._program.name} {late}{self._log.last_words()}")

    def _died(self) -> None:
        assert self._running
        running, self._running = self._running, None
        name = self._program.name
        try:
            code = running.wait(ENDED_S)
        except TimeoutError:
            raise ChildProcessError(f"{name} closed its stdout{self._log.last_words()}") from None
        except ChildProcessError as error:
            raise ChildProcessError(f"{name} {error}{self._log.last_words()}") from None
        finally:
            running.end()
        raise ChildProcessError(how_it_ended(self._program, code, self._log))


class _Answers(Lines):
    """The program's stdout: answers into a queue, all else into the log; None when it is closed."""

    def __init__(self, answers: queue.SimpleQueue[Any], log: Log, lists: bool) -> None:
        super().__init__(self._sort, MOST_LINE_BYTES)
        self._queue, self._log, self._lists = answers, log, lists
        self._ready = False

    def _sort(self, line: str) -> None:
        said = _json(line)
        if self._is_answer(said):
            self._ready = True
            self._queue.put(said)
        else:
            self._log.write(line)

    def _is_answer(self, said: Any) -> bool:
        """Return whether this is to be taken as an answer, right or wrong; before it is ready, much else may be logged."""
        if self._ready and isinstance(said, (dict, list) if self._lists else dict):
            return True
        parts = said if isinstance(said, list) else [said]
        return bool(parts) and all(isinstance(part, dict) and not {READY, *ANSWERS}.isdisjoint(part) for part in parts)

    def close(self) -> None:
        super().close()
        self._queue.put(None)


def _json(line: str) -> Any:
    """Return the JSON object or list that a line is, or None for any other line."""
    if not line.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _deadline(timeout_min: float | None) -> float:
    return math.inf if timeout_min is None else time.monotonic() + timeout_min * 60
