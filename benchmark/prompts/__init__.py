"""What a prompts option is: something that turns a case into the words a model is asked with."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from benchmark.records import Case


class Prompt(NamedTuple):
    """What the model is asked, and what it is asked to avoid."""

    text: str
    negative: str = ""


@runtime_checkable
class Prompts(Protocol):
    """Renders a case's prompt. Raises KeyError naming a field that the case lacks."""

    version: ClassVar[str]

    def render(self, case: Case) -> Prompt: ...
