"""Tables of texts and answers, and log-likelihoods made by hand so that the accuracies differ."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmark.clip import Clip
from benchmark.metrics import Item, Measured, Metric
from benchmark.metrics.text.answers import LABELS, NAMES, Text
from benchmark.metrics.text.choices import choice_meant, extracted, right_choices
from benchmark.model import Checked, Reviewing
from benchmark.records import Case, Choice, Prediction

CITIES = ["Paris", "Rome", "Paris, Texas", "Bern"]


def item(text: str, choices: list[Choice] | None = None, **fields: Any) -> Item:
    prediction = Prediction(case_id="x", sample=0, status="ok", text=text, choices=choices or [], fingerprint="f")
    return Item(Case(id="x", fields=fields), prediction, Clip({}, text))


def score(metric: Text, *items: Item) -> list[Any]:
    return [dict(values) for values in metric.score(items)]


def value(metric: Text, name: str, given: Item) -> float:
    found = score(metric, given)[0][name]
    assert isinstance(found, Measured), found
    return found.value


def test_it_satisfies_the_protocols() -> None:
    assert all(isinstance(Text(), protocol) for protocol in (Metric, Checked, Reviewing))
    assert [measure.name for measure in Text().measures] == list(NAMES)
    needs = {
        measure.name: measure.needs for measure in Text(answer_field="gold", names=["acc", "exact_match"]).measures
    }
    assert needs == {"exact_match": ("fields.gold",), "acc": ("fields.choices", "fields.gold")}


@pytest.mark.parametrize(
    ("said", "answer", "settings", "expected"),
    [
        ("Paris", "Paris", {}, 1),
        (" Paris\n", "Paris", {}, 1),  # white space at the ends never counts
        ("paris", "Paris", {}, 0),
        ("PARIS", "paris", {"ignore_case": True}, 1),
        ("STRASSE", "Straße", {"ignore_case": True}, 1),
        ("Paris.", "Paris", {}, 0),
        ("Paris .", "Paris", {"ignore_punctuation": True}, 1),
        ("“巴黎”。", "巴黎", {"ignore_punctuation": True}, 1),
        ("$4+4$", "44", {"ignore_punctuation": True}, 1),  # string.punctuation, as lm-evaluation-harness has it
        ("Paris 75", "Paris", {"ignore_numbers": True}, 1),
        ("New  York", "NewYork", {}, 0),
        ("New  York", "NewYork", {"ignore_space": True}, 1),
        ("Paris", ["Paname", "Paris"], {}, 1),
        ("Rome", ["Paname", "Paris"], {}, 0),
        ("42", 42, {}, 1),
        ("4.5", 4.5, {}, 1),
        ("", "", {}, 1),
        ("So 40 + 2 = 42.\n#### 42", "42", {"extract": r"#### (-?\d+)"}, 1),
        ("So 40 + 2 = 42.", "42", {"extract": r"#### (-?\d+)"}, 0),  # nothing extracted is wrong, whatever the answer
        ("", "", {"extract": r"#### (-?\d+)"}, 0),
        ("7 then 42", "42", {"extract": r"\d+", "take": "last"}, 1),
        ("7 then 42", "7", {"extract": r"\d+", "take": "first"}, 1),
        ("answer: B", "B", {"extract": r"is (\w)|answer: (\w)"}, 1),
    ],
)
def test_exact_match(said: str, answer: Any, settings: dict[str, Any], expected: int) -> None:
    metric = Text(names=["exact_match"], **settings)
    assert value(metric, "exact_match", item(said, answer=answer)) == expected


def test_exact_match_of_a_choice_takes_its_text_and_its_label() -> None:
    metric = Text(names=["exact_match"])
    for said, expected in (("Rome", 1), ("B", 1), ("1", 0), ("A", 0), ("B) Rome", 0)):
        assert value(metric, "exact_match", _of(said, 1)) == expected
    (found,) = score(metric, _of(" B", "Rome"))
    assert found["exact_match"].details == {"extracted": "B", "answers": ["Rome", "B"]}


def _of(text: str, answer: Any, likelihoods: list[Choice] | None = None, offered: list[str] = CITIES) -> Item:
    given = item(text, likelihoods)
    given.case.fields.update(choices=offered, answer=answer)
    return given


@pytest.mark.parametrize(
    ("text", "pattern", "take", "expected"),
    [
        ("a1 b2", r"[a-z](\d)", "first", "1"),
        ("a1 b2", r"[a-z](\d)", "last", "2"),
        ("a1", r"(x)?(\d)", "first", "1"),
        ("a1", r"a(x)?", "first", None),
        (" a  b ", r".*", "first", "a  b"),
        ("none", r"\d", "first", None),
    ],
)
def test_extraction(text: str, pattern: str, take: Any, expected: str | None) -> None:
    assert extracted(text, pattern, take) == expected


@pytest.mark.parametrize(
    ("said", "expected", "by"),
    [
        ("B", 1, "whole"),
        (" (b). ", 1, "whole"),
        ("**Rome**", 1, "whole"),
        ("B) Rome", 1, "opening"),
        ("B. Paris is in France", 1, "opening"),
        ("C\n\nQuestion: what is the answer? Answer: A", 2, "opening"),
        ("(D): Bern, of course", 3, "opening"),
        ("A town by the sea, perhaps Bern", 3, "text"),  # an article is no label
        ("The answer is B because", 1, "phrase"),
        ("I would say that the correct option is: (C)", 2, "phrase"),
        ("the answer is Paris, Texas", 2, "phrase"),
        ("The answer is paris", 0, "phrase"),
        ("Answer: B\nAnswer: C", 1, "phrase"),
        ("答案：D。", 3, "phrase"),
        ("所以答案是B因为", 1, "phrase"),
        ("应选C", 2, "phrase"),
        ("It must be Rome!", 1, "text"),
        ("In Texas: it is Paris, Texas", 2, "text"),
        ("Romeo lives in Bern", 3, "text"),
        ("Rome or Bern", None, ""),
        ("it is (C), I think", 2, "bracket"),
        ("(A) or (C)", None, ""),
        ("A, B", None, ""),
        ("A\n\nB", 0, "opening"),
        ("I choose B", 1, "last word"),
        ("a city", None, ""),
        ("E", None, ""),
        ("", None, ""),
        ("BA", None, ""),
    ],
)
def test_the_choice_that_a_text_means(said: str, expected: int | None, by: str) -> None:
    assert choice_meant(said, CITIES, LABELS, "first") == (expected, by)


def test_which_of_several_phrases_counts() -> None:
    said = "Is the answer A? No, the answer is B."
    assert [choice_meant(said, CITIES, LABELS, take).choice for take in ("first", "last")] == [0, 1]


def test_numbers_and_patterns_as_choices() -> None:
    numbers = ["4", "42", "4.2", "(x"]
    assert choice_meant("the answer is 42", numbers, LABELS, "first").choice == 1
    assert choice_meant("it makes 142, so 4", numbers, LABELS, "first").choice == 0
    assert choice_meant("that is (x here", numbers, LABELS, "first").choice == 3


def test_choices_that_differ_in_case_alone() -> None:
    for said, expected in (("US", 1), ("Us.", 0), ("us", None), ("B", 1)):
        assert choice_meant(said, ["Us", "US"], LABELS, "first").choice == expected


def test_choice_accuracy_and_what_it_keeps() -> None:
    metric = Text(names=["choice_accuracy"])
    right, wrong, silent = score(metric, _of("The answer is B.", 1), _of("Paris", "B"), _of("no idea", 1))
    assert right["choice_accuracy"] == Measured(1.0, {"predicted": 1, "right": [1], "by": "phrase"})
    assert wrong["choice_accuracy"] == Measured(0.0, {"predicted": 0, "right": [1], "by": "whole"})
    assert silent["choice_accuracy"] == Measured(0.0, {"predicted": None, "right": [1], "by": None})


def test_choice_accuracy_by_a_pattern() -> None:
    metric = Text(names=["choice_accuracy"], extract=r"choose (\w+)", take="last")
    first, second, third = score(metric, _of("I choose A, no: I choose rome", 1), _of("B", 1), _of("I choose E", 1))
    kept = {"predicted": 1, "right": [1], "by": "extract", "extracted": "rome"}
    assert first["choice_accuracy"] == Measured(1.0, kept)
    assert second["choice_accuracy"].details["extracted"] is None and second["choice_accuracy"].value == 0
    assert third["choice_accuracy"].details == {"predicted": None, "right": [1], "by": None, "extracted": "E"}


# By hand: of the sum "no" is the likeliest; per character (-6/12) "certainly so"; per byte (-8/18) the Chinese one, whose six
# characters are 18 bytes; per token (-5/10) "perhaps".
HAND = [
    Choice("no", -4.0, 4, False),  # -2.0 a character, -2.0 a byte, -1.0 a token
    Choice("certainly so", -6.0, 6, False),  # -0.5, -0.5, -1.0
    Choice("物理环境物理", -8.0, 8, False),  # -1.333, -0.444, -1.0
    Choice("perhaps", -5.0, 10, False),  # -0.714, -0.714, -0.5
]


@pytest.mark.parametrize(("name", "predicted"), [("acc", 0), ("acc_norm", 1), ("acc_bytes", 2), ("acc_perplexity", 3)])
def test_each_accuracy_by_log_likelihood_picks_another_choice(name: str, predicted: int) -> None:
    texts = [choice.text for choice in HAND]
    for right in range(4):
        found = score(Text(names=[name]), _of("", right, HAND, texts))[0][name]
        assert found == Measured(float(right == predicted), {"predicted": predicted, "right": [right]})
    assert value(Text(names=[name]), name, _of("", [predicted, (predicted + 1) % 4], HAND, texts)) == 1


def test_the_first_of_equally_likely_choices_counts() -> None:
    equal = [Choice("ab", -1.0, 1, False), Choice("cd", -1.0, 1, False)]
    for name in NAMES[2:]:
        assert score(Text(names=[name]), _of("", 1, equal, ["ab", "cd"]))[0][name].details["predicted"] == 0


def test_a_prediction_without_likelihoods_fails_those_measures_alone() -> None:
    (found,) = score(Text(), _of("B", 1))
    assert found["exact_match"].value == found["choice_accuracy"].value == 1.0
    for name in NAMES[2:]:
        assert isinstance(found[name], ValueError) and "no log-likelihoods" in str(found[name])
    (found,) = score(Text(names=["acc"]), _of("", 0, HAND))
    assert "of 4 other choices" in str(found["acc"])


@pytest.mark.parametrize(
    ("answer", "answer_as", "expected"),
    [
        (1, "auto", [1]),
        ("B", "auto", [1]),
        (" Rome ", "auto", [1]),
        ("Paris", "auto", [0]),
        (["A", "Rome"], "auto", [0, 1]),
        ([1, 1], "auto", [1]),
        ("2", "index", [2]),
        (2, "index", [2]),
        ("D", "label", [3]),
        ("Bern", "text", [3]),
    ],
)
def test_the_right_choice(answer: Any, answer_as: Any, expected: list[int]) -> None:
    assert right_choices(answer, CITIES, LABELS, answer_as) == expected


@pytest.mark.parametrize(
    ("answer", "answer_as", "message"),
    [
        (4, "auto", "its answer 4 (read as auto) is none of A: 'Paris', B: 'Rome'"),
        (-1, "auto", "none of"),
        ("2", "auto", "none of"),
        ("Rome", "label", "read as label"),
        ("B", "text", "read as text"),
        (True, "auto", "True is no index"),
        (None, "auto", "None is no index"),
        ({}, "auto", "is no index"),
        ([], "auto", "list of answers is empty"),
    ],
)
def test_answers_that_name_no_choice(answer: Any, answer_as: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        right_choices(answer, CITIES, LABELS, answer_as)


def test_an_answer_that_is_both_a_text_and_a_label_must_be_told_apart() -> None:
    turned = ["B", "A"]
    with pytest.raises(ValueError, match="one choice's text and another's label"):
        right_choices("B", turned, LABELS, "auto")
    assert [right_choices("B", turned, LABELS, how) for how in ("text", "label")] == [[0], [1]]
    assert right_choices("1", ["1", "2"], "12", "auto") == [0]
    assert right_choices(4, ["3", "4"], LABELS, "text") == [1], "a number as the text of a choice"


def test_review_refuses_what_can_not_be_scored() -> None:
    def cases(*answers: Any) -> list[Case]:
        return [Case(id=f"c{i}", fields={"choices": CITIES, "answer": answer}) for i, answer in enumerate(answers)]

    assert list(Text().review(cases("A", 3, "Bern"), 1)) == []
    assert list(Text().review([Case(id="none")], 1)) == []
    (problem,) = Text().review(cases("A", "E", 9), 1)
    assert problem.wrong.startswith(  # type: ignore[union-attr]
        "can't tell the right answer of 2 of 3 cases, the first: `c1`: its answer 'E' (read as auto) is none of A: 'Paris'"
    )
    (problem,) = Text(labels="AB").review(cases("A"), 1)
    assert "4 choices, more than metrics.text.labels=AB" in problem.wrong  # type: ignore[union-attr]
    (problem,) = Text().review([Case(id="c", fields={"answer": {"a": 1}})], 1)
    assert "is no text, number or list" in problem.wrong  # type: ignore[union-attr]


def test_problems() -> None:
    def wheres(**arguments: Any) -> list[tuple[str, str]]:
        return [(problem.where, problem.fix) for problem in Text(**arguments).problems()]

    assert wheres() == []
    assert wheres(names=["acc_nrom"]) == [("metrics.text.names", "did you mean `acc_norm`?")]
    assert wheres(names=[]) == [("metrics.text.names", "name some, or null for all")]
    assert wheres(labels="ABA")[0][0] == wheres(labels="")[0][0] == wheres(labels="A B")[0][0] == "metrics.text.labels"
    (problem,) = Text(extract="answer (is").problems()
    assert problem.where == "metrics.text.extract" and "missing )" in problem.wrong and problem.given == "answer (is"
