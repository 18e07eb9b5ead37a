"""benchmark.dataset.names."""

from __future__ import annotations

import pytest

from benchmark import store
from benchmark.dataset.names import SeenIds, slug, unsafe, unsafe_id

NAMES = [
    "a",
    "000017",
    "物理",
    "a b",
    "a/b",
    "",
    "/a",
    "../a",
    "a//b",
    ".a",
    "a/.b",
    'a"b',
    "a\nb",
    "a\\b",
    "x" * 201,
    "é" * 101,
]


@pytest.mark.parametrize("name", NAMES)
def test_it_judges_names_as_the_run_folder_does(name: str) -> None:
    assert bool(unsafe(name)) == bool(store.unsafe(name))


def test_an_id_has_no_slash_and_no_half_character() -> None:
    assert unsafe("scene/001") == "" and "slash" in unsafe_id("scene/001")
    assert "half" in unsafe_id("a\udcff")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a cat, at night", "a_cat_at_night"),
        ("  雨の東京, neon  ", "雨の東京_neon"),
        ("...!", ""),
        ("word " * 40, "_".join(["word"] * 12)),
        ("x" * 300, "x" * 60),
    ],
)
def test_a_slug_is_made_of_whole_words_and_can_name_a_file(text: str, name: str) -> None:
    assert slug(text) == name
    assert not name or not unsafe_id(name)


def test_ids_are_remembered_through_many_growths() -> None:
    seen = SeenIds()
    names = [f"case-{i}" for i in range(20_000)]
    assert all(seen.add(name) for name in names)
    assert not any(seen.add(name) for name in names)
    assert seen.add("another")
    assert len(seen._table) * 8 <= 24 * len(names)
