"""benchmark.prompts.plain."""

from __future__ import annotations

import pytest

from benchmark.prompts import Prompt, Prompts
from benchmark.prompts.plain import Plain
from benchmark.records import Case

CASE = Case(id="a-1", category="pan", prompt="A {cat}.", fields={"move": "left", "n": 3, "empty": None})


def test_it_satisfies_the_protocol() -> None:
    assert isinstance(Plain(), Prompts)


def test_the_default_is_the_case_s_own_prompt() -> None:
    assert Plain().render(CASE) == Prompt("A {cat}.", "")
    assert not list(Plain().problems())


def test_fields_are_filled_in_both_templates() -> None:
    plain = Plain("{id}/{category}: {prompt} {move} {n:02d} {{x}}", "not {move!r}")
    assert plain.render(CASE) == Prompt("a-1/pan: A {cat}. left 03 {x}", "not 'left'")


@pytest.mark.parametrize("name", ["scene", "empty"])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(KeyError, match=rf"case `a-1` has no field `{name}`.*it has move, n, id"):
        Plain("{" + name + "}").render(CASE)
    with pytest.raises(KeyError, match=name):
        Plain(negative="{n:{" + name + "}}").render(CASE)


@pytest.mark.parametrize(
    "template, words",
    [
        ("{prompt", "not a valid template"),
        ("prompt}", "not a valid template"),
        ("{prompt!x}", "not a valid template"),
        ("{}", "plain names only"),
        ("{0}", "plain names only"),
        ("{prompt.__class__}", "plain names only"),
        ("{prompt[0]}", "plain names only"),
        ("{n:{prompt.__class__}}", "plain names only"),
    ],
)
def test_bad_templates_are_problems_and_never_rendered(template: str, words: str) -> None:
    for key, plain in (("template", Plain(template)), ("negative", Plain(negative=template))):
        (problem,) = plain.problems()
        assert problem.where == f"prompts.{key}"
        assert words in problem.wrong
        assert problem.given == template
        with pytest.raises(ValueError, match=words):
            plain.render(CASE)
