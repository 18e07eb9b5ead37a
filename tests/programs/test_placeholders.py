"""Placeholders: what is replaced, what stays, and what is refused when a run is planned."""

from __future__ import annotations

import pytest

from benchmark.programs.placeholders import Vocabulary, as_text, fill, named, needs_of, placeholders


def test_values_are_put_in_once_and_literal_braces_are_doubled() -> None:
    values = {"prompt": "a {seed} {{x}} $(touch y)", "seed": "7"}
    assert fill("--p={prompt} {{{seed}}} {{}}", values) == "--p=a {seed} {{x}} $(touch y) {7} {}"
    assert placeholders('{{"seed": {seed}, "p": "{prompt}"}}') == ["seed", "prompt"]


def test_short_names_of_roles_stand_for_inputs() -> None:
    values = named("input", {"image": "/a.png"}) | named(
        "fields", {"move": "roll", "n": 3, "on": True, "of": ["ä", None]}
    )
    assert fill("{image} {input.image} {fields.move} {fields.n} {fields.on} {fields.of}", values) == (
        '/a.png /a.png roll 3 true ["ä", null]'
    )
    assert needs_of(["image", "input.reference", "fields.move", "prompt"]) == ["image", "reference", "fields.move"]
    with pytest.raises(KeyError, match=r"no \{video\} for this case"):
        fill("{video}", values)


@pytest.mark.parametrize("template", ["{prompt", "prompt}", "{{prompt}", "a } b"])
def test_a_brace_without_its_other_half_is_refused(template: str) -> None:
    [problem] = Vocabulary(("prompt",)).problems("model.command", template)
    assert "without its other half" in problem.wrong
    assert "{{" in problem.fix


def test_unknown_placeholders_are_refused_with_what_is_allowed() -> None:
    known = Vocabulary(("outputs", "options."), ("prompt", "fields."), options={"steps": 30})
    assert list(known.problems("model.command", "{prompt} {fields.x} {options.steps} {outputs}")) == []
    found = list(known.problems("model.command", "{promt} {option.steps} {options.step} {input.image} {fields.} {}"))
    assert [p.wrong.partition(": ")[2] for p in found] == [
        "{promt}", "{option.steps}", "{options.step}", "{input.image}", "{fields.}", "{}",
    ]  # fmt: skip
    assert found[0].allowed == "{outputs}, {options.<name>}, {prompt}, {fields.<name>}"
    assert found[0].fix == "did you mean `prompt`?"
    assert found[2].fix == "did you mean `options.steps`?"


def test_what_belongs_to_one_case_is_refused_where_a_call_is_for_several() -> None:
    several = Vocabulary(("requests",), ("prompt", "input."), has_single=False, unless="batch_size: 1")
    found = list(several.problems("model.command", "{requests} {prompt} {input.image}"))
    assert [p.wrong for p in found] == [
        "{prompt} is not to be had, since it is of one case and here a call is for several",
        "{input.image} is not to be had, since it is of one case and here a call is for several",
    ]
    assert found[0].fix == "batch_size: 1"


@pytest.mark.parametrize(("value", "text"), [("x y", "x y"), (0.5, "0.5"), (None, "null"), ({"a": "é"}, '{"a": "é"}')])
def test_values_become_one_word(value: object, text: str) -> None:
    assert as_text(value) == text
