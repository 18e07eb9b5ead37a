"""Values that a user means plainly though Hydra's grammar rejects them, quoted before Hydra sees them.

Lists of words that are not ASCII, prompts with commas, paths with `=` or parentheses. What the grammar reads is left alone,
except where a key takes text and the grammar would make a number of it: the timestamp 20260101_120000, the id 007e1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

KEY = re.compile(r"[~+]{0,2}[\w./@-]+")
ELEMENT = re.compile(r"[\w./:+-]+", re.ASCII)
NOT_TEXT = re.compile(r"[\d_.e+-]+|true|false|inf|nan", re.IGNORECASE)
LISTS = re.compile(r"\[[^\[\]{}]*\](?:\s*,\s*\[[^\[\]{}]*\])*")
LIST_ITEM = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,]*?)\s*(?:,|$)""")
TEXT_KEYS = ("name", "output_root", "reuse", "cache_dir", "dataset.path", "dataset.id", "model.path")
COMPONENT = re.compile(r"((model|dataset|prompts)|metrics\.\w+)\.[^.=]\S*")  # keys that the component's class judges
PROMPT = "dataset.prompt"  # whatever it is, it is text
TEXT_LISTS = ("dataset.ids", "dataset.categories")


def quote_overrides(overrides: Sequence[str], multirun: bool) -> list[str]:
    """Return the overrides, each that Hydra could not read written in a form that it can."""
    return [_quote(_added(override), multirun) for override in overrides]


def _added(override: str) -> str:
    """Return the override of a component's argument as one that adds the key where the option's YAML leaves it out."""
    return f"++{override}" if COMPONENT.fullmatch(override.partition("=")[0]) else override


def _quote(override: str, multirun: bool) -> str:
    key, separator, value = override.partition("=")
    if not separator or not KEY.fullmatch(key):
        return override
    plain_key = key.lstrip("+")
    if (plain_key in TEXT_KEYS and NOT_TEXT.fullmatch(value)) or (plain_key == PROMPT and value and not multirun):
        return f"{key}={text_form(value)}"
    if plain_key in TEXT_LISTS and (form := _list_form(value, numbers=False)):
        return f"{key}={form}"
    is_text = "," in value and " " in value.strip() and not multirun and not _is_container(value)
    if not is_text and _parses(override):
        return override
    forms = [_list_form(value, numbers=True), text_form(value)]
    if multirun and "," in value and not _is_container(value):
        forms.insert(1, _items_form(value, numbers=True))  # a comma separates values, as it does in what Hydra reads
    for form in forms:
        if form and _parses(f"{key}={form}"):
            return f"{key}={form}"
    return override


def _parses(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _is_container(value: str) -> bool:
    return value[:1] in "[{'\"" or bool(re.match(r"\w+\(.*\)$", value))


def _list_form(value: str, numbers: bool) -> str:
    """Return a flat list, or several that are swept over, with each item quoted that needs it; "" for anything else."""
    if not LISTS.fullmatch(value.strip()):
        return ""
    return re.sub(r"\[([^\[\]]*)\]", lambda found: f"[{_items_form(found[1], numbers)}]", value.strip())


def _items_form(inner: str, numbers: bool) -> str:
    """Return comma-separated items, each quoted that needs it: also those that look like numbers, unless `numbers`."""
    items, at, inner = [], 0, inner.strip()
    while at < len(inner):
        found = LIST_ITEM.match(inner, at)
        assert found, "the pattern takes any text"
        items.append(_item_form(found[1], numbers))
        at = found.end()
    return ",".join(items)


def _item_form(item: str, numbers: bool) -> str:
    quoted = len(item) > 1 and item[0] == item[-1] and item[0] in "'\""
    if quoted or (ELEMENT.fullmatch(item) and (numbers or not NOT_TEXT.fullmatch(item))):
        return item
    return text_form(item)


def text_form(value: str) -> str:
    """Return the value between single quotes, as Hydra's grammar reads it back."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and _parses(f"x={value}"):
        return value
    escaped = re.sub(r"(\\*)(')", r"\1\1\\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"
