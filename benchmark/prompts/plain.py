"""Plain prompts: one template for the prompt, one for the negative prompt, filled with what a case knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any, ClassVar

from benchmark.errors import Problem, some
from benchmark.prompts import Prompt
from benchmark.records import Case


@dataclass
class Plain:
    """Fill `template` and `negative` with a case's id, category, prompt and fields, as `str.format` does.

    `{prompt}` is the prompt, `{{` a brace. A field named like one of the first three is hidden by it. Names
    only: no attributes (`{prompt.x}`), no indexing (`{prompt[0]}`), no positions (`{}`).
    """

    template: str = "{prompt}"
    negative: str = ""

    version: ClassVar[str] = "1"

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each template that isn't valid or asks for more than a name."""
        for key, template in (("template", self.template), ("negative", self.negative)):
            if wrong := _mistake(template):
                allowed = "{prompt}, {id}, {category} and the names of the case's fields; {{ and }} are braces"
                yield Problem(f"prompts.{key}", wrong, template, allowed)

    def render(self, case: Case) -> Prompt:
        """Return the filled templates. Raises: KeyError naming a field that is missing or null."""
        values = {**case.fields, "id": case.id, "category": case.category, "prompt": case.prompt}
        return Prompt(_fill(self.template, values, case.id), _fill(self.negative, values, case.id))


def _fill(template: str, values: dict[str, Any], case_id: str) -> str:
    if wrong := _mistake(template):
        raise ValueError(f"template {template!r} {wrong}")
    for name in _names(template):
        if values.get(name) is None:
            known = some(key for key, value in values.items() if value is not None)
            raise KeyError(f"case `{case_id}` has no field `{name}`, which the template uses; it has {known}")
    return template.format_map(values)


@lru_cache
def _mistake(template: str) -> str:
    """What is wrong with a template, or an empty string."""
    try:
        names = _names(template)
        if odd := [how for *_, how in Formatter().parse(template) if how not in (None, "r", "s", "a")]:
            return f"is not a valid template (no conversion `!{odd[0]}`; allowed: !r, !s, !a)"
    except ValueError as error:
        return f"is not a valid template ({error})"
    for name in names:
        if not name.replace("-", "_").isidentifier():
            return f"may hold plain names only, not `{{{name}}}`"
    return ""


@lru_cache
def _names(template: str) -> tuple[str, ...]:
    """The replacement fields of a template, those inside format specifications included."""
    found = [(name, *_names(spec or "")) for _, name, spec, _ in Formatter().parse(template) if name is not None]
    return tuple(name for names in found for name in names)
