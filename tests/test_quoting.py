"""Values arrive as the user typed them, and what Hydra's grammar reads already stays untouched."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmark.quoting import quote_overrides, text_form

PARSER = OverridesParser.create()
ALPHABET = "ab 1,='\"\\()[]{}:#;é物$%!?*&|<>~`@^.-_/\t"


def arrives(override: str) -> Any:
    return PARSER.parse_override(quote_overrides([override], multirun=False)[0]).value()


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("dataset.categories=[物理,环境]", ["物理", "环境"]),
        ("dataset.categories=[ 物理 , a b]", ["物理", "a b"]),
        ("dataset.ids=[007,1e5,1_0,true]", ["007", "1e5", "1_0", "true"]),
        ("dataset.ids=['a,b',don't]", ["a,b", "don't"]),
        ("dataset.ids=[]", []),
        ("dataset.ids=null", None),
        ("reuse=20260101_120000", "20260101_120000"),
        ("reuse=20260101_120000_2", "20260101_120000_2"),
        ("reuse=null", None),
        ("name=2024", "2024"),
        ("prompts.template={prompt}", "{prompt}"),
        ("prompts.template={prompt}, in the rain", "{prompt}, in the rain"),
        ("prompts.template=it's a cat, isn't it?", "it's a cat, isn't it?"),
        ("prompts.template=a cat (asleep) = calm", "a cat (asleep) = calm"),
        ('prompts.template=she said "no", twice', 'she said "no", twice'),
        ("output_root=/data/run=3 (new)/x", "/data/run=3 (new)/x"),
        ("output_root=C:\\runs (old)\\", "C:\\runs (old)\\"),
        ("+model.note=#1; done!", "#1; done!"),
        ("dataset.prompt=a cat, at night", "a cat, at night"),
        ("dataset.prompt=cat,dog", "cat,dog"),
        ("dataset.prompt=null", "null"),
        ("dataset.prompt=[1,2]", "[1,2]"),
        ("dataset.prompt='quoted, \"once\"'", 'quoted, "once"'),
        ("dataset.path=20260101", "20260101"),
        ("model.path=1e5", "1e5"),
    ],
)
def test_plain_values_arrive(override: str, value: Any) -> None:
    assert arrives(override) == value


@pytest.mark.parametrize(
    "override",
    [
        "seed=1", "seed=1,2", "seed=range(1,5)", "model=a,b", "metrics=[basic,iqa]", "limit=1_000", "compute.x=[1,2.5,true]",
        "compute.more={a:1,b:[x]}", "~metrics.iqa", "+a=b", "++a.b=c", "model@other=x", "a='quoted, once'", "a=${seed}",
        "a=hello world", "a=", "a=null", "a=1e-5", "a=choice(1,2)", 'a="x(y)"', "redo=[a],[b]", "reuse=latest",
    ],
)  # fmt: skip
def test_what_hydra_reads_stays_untouched(override: str) -> None:
    assert quote_overrides([override], multirun=False) == [override]


def test_a_component_s_arguments_need_no_plus_where_its_yaml_leaves_them_out() -> None:
    for key in ("model.call.steps", "metrics.iqa.options.psnr.test_y_channel", "dataset.fields", "model.batch_size"):
        assert quote_overrides([f"{key}=1"], multirun=False) == [f"++{key}=1"]
        assert quote_overrides([f"+{key}=1", f"~{key}"], multirun=False) == [f"+{key}=1", f"~{key}"]
    for key in ("model", "model@other", "compute.options.x", "metrics", "media.crf", "hydra.run.dir"):
        assert quote_overrides([f"{key}=1"], multirun=True) == [f"{key}=1"]


def test_a_sweep_over_phrases_stays_a_sweep() -> None:
    assert quote_overrides(["prompts.template=a cat, a dog"], multirun=True) == ["++prompts.template=a cat, a dog"]


def test_any_text_makes_the_round_trip() -> None:
    generator = random.Random(0)
    for _ in range(1500):
        text = "".join(generator.choices(ALPHABET, k=generator.randint(1, 14)))
        already_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        if not already_quoted:
            assert PARSER.parse_override(f"x={text_form(text)}").value() == text


def test_any_text_that_hydra_cannot_read_arrives_whole() -> None:
    generator = random.Random(1)
    tried = 0
    for _ in range(400):
        text = "x" + "".join(generator.choices(ALPHABET.replace("\t", ""), k=generator.randint(1, 10))) + "x"
        (quoted,) = quote_overrides([f"k={text}"], multirun=False)
        if quoted != f"k={text}":
            tried += 1
            assert PARSER.parse_override(quoted).value() == text
    assert tried > 200


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("dataset.categories=[red],[物理]", ["[red]", "['物理']"]),
        ("dataset.ids=[007],[1,2]", ["['007']", "['1','2']"]),
        ("prompts.negative=红,蓝", ["红", "蓝"]),
        ("seed=1,2", ["1", "2"]),
    ],
)
def test_sweeps_over_what_hydra_cannot_read(override: str, values: list[str]) -> None:
    (quoted,) = quote_overrides([override], multirun=True)
    swept = list(PARSER.parse_override(quoted).sweep_string_iterator())
    assert [value.replace('"', "'").strip("'") for value in swept] == values
