"""Values that a user means plainly though Hydra's grammar rejects them, quoted before Hydra sees them.

Lists of words that are not ASCII, prompts with commas, paths with `=` or parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ELEMENT = re.compile(r"[\w./:+-]+", re.ASCII)


def quote_overrides(arguments: Sequence[str], multirun: bool) -> list[str]:
    """Return the command line with each override that Hydra could not read written in a form that it can."""
    return [_quote(argument, multirun) for argument in arguments]


def _quote(argument: str, multirun: bool) -> str:
    key, separator, value = argument.partition("=")
    if not separator or argument.startswith("-") or not re.fullmatch(r"[~+]{0,2}[\w./@-]+", key):
        return argument
    is_text = "," in value and " " in value and not multirun and not _is_container(value)
    if not is_text and _parses(argument):
        return argument
    for form in (_list_form(value), _text_form(value)):
        if form and _parses(f"{key}={form}"):
            return f"{key}={form}"
    return argument


def _parses(argument: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        OverridesParser.create().parse_override(argument)
    except OverrideParseException:
        return False
    return True


def _is_container(value: str) -> bool:
    return value[:1] in "[{'\"" or bool(re.match(r"\w+\(.*\)$", value))


def _list_form(value: str) -> str:
    if not (value.startswith("[") and value.endswith("]")):
        return ""
    items = [item.strip() for item in value[1:-1].split(",")]
    return "[" + ",".join(item if ELEMENT.fullmatch(item) else _text_form(item) for item in items) + "]"


def _text_form(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"
