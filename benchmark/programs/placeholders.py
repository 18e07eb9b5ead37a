"""Placeholders in a program's words: `{prompt}` stands for a value, a literal brace is doubled.

A word is one argument whatever is put into it: no shell reads it, so quotes, line breaks and `$(...)` in a prompt are inert.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import Problem, closest, some

TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
CUT = re.compile(r"(.+):\.(\d{1,4})")  # {prompt:.180}
ROLES = ("image", "video")  # {image} is short for {input.image}
EXAMPLES = {"input.": "input.<role>", "fields.": "fields.<name>", "options.": "options.<name>"}


def placeholders(template: str) -> list[str]:
    """Return the names of all placeholders in a template. Raises: ValueError for a brace without its other half."""
    names = []
    for token in TOKEN.finditer(template):
        if token[0] in ("{", "}"):
            raise ValueError(f"has a {token[0]!r} without its other half")
        if token[1] is not None:
            names.append(token[1])
    return names


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its placeholders replaced, {prompt:.180} by its first 180 characters.

    Raises: KeyError naming one that has no value.
    """

    def value(token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0][0]
        cut = CUT.fullmatch(token[1])
        name, length = (cut[1], int(cut[2])) if cut else (token[1], None)
        name = f"input.{name}" if name in ROLES else name
        if name not in values:
            raise KeyError(f"there is no {{{cut[1] if cut else token[1]}}} for this case")
        return values[name][:length]

    return TOKEN.sub(value, template)


def as_text(value: Any) -> str:
    """Return a field's or an option's value as one word: text as it is, all else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def named(prefix: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return values by placeholder: {"fields.move": "roll"}."""
    return {f"{prefix}.{name}": as_text(value) for name, value in values.items()}


def needs_of(names: Iterable[str]) -> list[str]:
    """Return what a case must have for these placeholders, as `needs` says it: "image", "fields.move"."""
    short = ((name.removeprefix("input."), name) for name in names)
    return [role for role, name in short if name.startswith(("input.", "fields.")) or role in ROLES]


@dataclass(frozen=True)
class Vocabulary:
    """The placeholders that a place allows: `always`, and `single` ones that only a call for a single case has.

    `has_single` says whether calls are for a single case, `unless` what would make them so. `options` are the user's own.
    With `cuts`, a placeholder may say how many characters are kept: {prompt:.180}.
    """

    always: tuple[str, ...]
    single: tuple[str, ...] = ()
    has_single: bool = True
    unless: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    cuts: bool = False

    def problems(self, where: str, template: str) -> Iterator[Problem]:
        """Yield a problem for each placeholder in `template` that has no meaning there."""
        try:
            names = placeholders(template)
        except ValueError as error:
            fix = "double a brace that is meant as it is: {{ and }}"
            yield Problem(where, str(error), template, fix=fix)
            return
        if self.cuts:
            names = [CUT.sub(r"\1", name) for name in names]
        for name in dict.fromkeys(names):
            if self._knows(name, self.single) and not self.has_single:
                wrong = f"{{{name}}} is not to be had, since it is of one case and here a call is for several"
                yield Problem(where, wrong, template, self._listed(), self.unless)
            elif not self._knows(name, self.always + self.single):
                plain = [known for known in self.always + self.single if not known.endswith(".")]
                fix = closest(name, [*plain, *(f"options.{option}" for option in self.options)])
                yield Problem(where, f"no such placeholder: {{{name}}}", template, self._listed(), fix)

    def _knows(self, name: str, known: tuple[str, ...]) -> bool:
        if name.startswith("options."):
            return "options." in known and name.removeprefix("options.") in self.options
        prefix = next((prefix for prefix in ("input.", "fields.") if name.startswith(prefix)), "")
        return name in known if not prefix else prefix in known and name != prefix

    def _listed(self) -> str:
        known = self.always + (self.single if self.has_single else ())
        return some((f"{{{EXAMPLES.get(name, name)}}}" for name in known), 30)
