"""Which names can be those of files, and ids that were seen."""

from __future__ import annotations

import pytest

from benchmark.names import SeenIds, slug, unsafe, unsafe_id


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/../b",
        "../a",
        "/a",
        "a//b",
        "a/",
        "a\nb",
        "a\\b",
        'a"b',
        ".a",
        "a/.b",
        "x" * 201,
        "物" * 67,
        "a\0b",
    ],
)
def test_names_that_could_leave_or_hurt_the_folder_are_unsafe(name: str) -> None:
    assert unsafe(name)


@pytest.mark.parametrize("name", ["a", "000017", "a/b", "物理", "a b", "a.b", "x" * 200, "物" * 66, "a=b,c(d)"])
def test_other_names_are_safe(name: str) -> None:
    assert unsafe(name) == ""


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
