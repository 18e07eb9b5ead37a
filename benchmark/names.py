"""Names that can be a case's id or category, and ids that were seen, in little memory."""

from __future__ import annotations

import re
from array import array

MOST_BYTES = 200
PLAIN = re.compile(rf"\w[\w .,=+-]{{0,{MOST_BYTES - 1}}}(?<! )", re.ASCII)
FIX = "use letters, digits, - and _"


def unsafe(name: str) -> str:
    """Return why the name can't be that of a file in a run folder, slashes for folders allowed, or "" when it can."""
    if PLAIN.fullmatch(name):
        return ""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "would leave the run folder" if name else "is empty"
    if any(ord(character) < 32 or character in '\\"' for character in name):
        return "holds a control character, a backslash or a double quote"
    if any(0xD800 <= ord(character) < 0xE000 for character in name):
        return "holds half a character"
    if any(part != part.strip() for part in parts):
        return "opens or ends with a space"
    if any(part.startswith(".") for part in parts):
        return "opens with a dot"
    if any(len(part.encode()) > MOST_BYTES for part in parts):
        return f"is longer than {MOST_BYTES} bytes"
    return ""


def unsafe_id(name: str) -> str:
    """Return why the name can't be a case's id, or "" when it can."""
    return unsafe(name) or ("holds a slash" if "/" in name else "")


def slug(text: str, most: int = 60) -> str:
    """Return the words of a text joined by _, whole ones, about `most` characters of any alphabet; "" if it has none."""
    words = re.findall(r"\w+", text)
    name = ""
    for word in words:
        longer = f"{name}_{word}" if name else word[:most]
        if len(longer) > most or len(longer.encode()) > MOST_BYTES:
            break
        name = longer
    return name.strip("_")


class SeenIds:
    """Which ids were seen: 64-bit hashes in an open-addressing table, at most 24 bytes an id.

    A set of a million ids takes 130 MB. Two of a million ids have the same hash in one of 37 million lists.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))  # 0: free
        self._n = 0

    def add(self, name: str) -> bool:
        """Remember an id and return whether it is new."""
        value = (hash(name) & 0xFFFF_FFFF_FFFF_FFFF) or 1
        slot = self._slot(value)
        if self._table[slot]:
            return False
        self._table[slot] = value
        self._n += 1
        if 3 * self._n > 2 * len(self._table):
            self._grow()
        return True

    def _slot(self, value: int) -> int:
        mask = len(self._table) - 1
        slot = value & mask
        while self._table[slot] not in (0, value):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        old, self._table = self._table, array("Q", bytes(16 * len(self._table)))
        for value in old:
            if value:
                self._table[self._slot(value)] = value
