"""Which of a case's choices is right, and which one a generated text means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

AnswerAs = Literal["auto", "index", "label", "text"]
Take = Literal["first", "last"]
SAID = re.compile(  # what comes before an answer, in English and Chinese
    r"(?i:\b(?:answer|option|choice)\b(?:\s+(?:is|would be|should be|must be))?|答案(?:是|为|选)?|选择?)"
    r"\s*(?:[:：=]\s*)?(?i:(?:option|choice)\s+)?[\s(\[（【*_\"'“‘`]*"
)
BRACKETS = "()[]（）【】"
AROUND = " \t\n.,;:!?'\"`*_。，、；：！？“”‘’" + BRACKETS
AFTER = r"(?=\s*(?:$|[\n.,;:)\]*。，、；：）】]))"  # what may follow a label that opens a text: "A." but not "A dog"
BOTH = (
    r"[^\w\n]{0,3}(?:or|and|或|和|[,，、/&])[^\w\n]{0,3}"  # between two labels of which neither is said: "(A) or (C)"
)


class Meant(NamedTuple):
    """The choice that a text means, by its place from 0 (None: none is recognised), and what gave it away."""

    choice: int | None
    by: str


def right_choices(answer: Any, texts: Sequence[str], labels: str, answer_as: AnswerAs) -> list[int]:
    """Return the indices of the right choices, one for an answer, several for a list of answers.

    An index counts from 0. `auto` takes a whole number as an index and text as a choice's text or label.
    Raises: ValueError if the answer names no choice, or text that is one choice's and another's label.
    """
    if isinstance(answer, (list, tuple)):
        if not answer:
            raise ValueError("its list of answers is empty")
        return sorted({index for one in answer for index in right_choices(one, texts, labels, answer_as)})
    if isinstance(answer, bool) or not isinstance(answer, (int, float, str)):
        raise ValueError(f"its answer {answer!r} is no index, label or text")
    by_text = [index for index, text in enumerate(texts) if text.strip() == str(answer).strip()]
    by_label = [index for index, label in enumerate(labels[: len(texts)]) if label == str(answer).strip()]
    by_index = [int(answer)] if re.fullmatch(r"\s*\d+\s*", str(answer)) and int(answer) < len(texts) else []
    if answer_as == "auto":
        if isinstance(answer, str):
            if by_text and by_label and by_text != by_label:
                raise ValueError(f"its answer {answer!r} is one choice's text and another's label; set answer_as")
            found = by_text or by_label
        else:
            found = by_index
    else:
        found = {"index": by_index, "label": by_label, "text": by_text}[answer_as]
    if not found:
        offered = ", ".join(f"{label}: {text!r}" for label, text in zip(labels, texts, strict=False))
        raise ValueError(f"its answer {answer!r} (read as {answer_as}) is none of {offered}")
    return found


def extracted(text: str, pattern: str, take: Take) -> str | None:
    """Return the first or last match of a pattern, without white space around it, or None.

    It is the match's first group that is not empty, or all of it if the pattern has no group.
    """
    found = list(re.finditer(pattern, text))
    if not found:
        return None
    match = found[0 if take == "first" else -1]
    parts = [part for part in match.groups() if part] if match.re.groups else [match[0]]
    return parts[0].strip() if parts else None


def choice_of(word: str, texts: Sequence[str], labels: str) -> int | None:
    """Return the choice whose text or label is just `word`, without punctuation around it; in another case if need be."""
    for fold in (str, str.casefold):
        bare = fold(word.strip(AROUND))
        for names in (texts, labels[: len(texts)]):
            candidates = [fold(name.strip(AROUND)) for name in names]
            if bare and candidates.count(bare) == 1:
                return candidates.index(bare)
    return None


def choice_meant(text: str, texts: Sequence[str], labels: str, take: Take) -> Meant:
    """Return the choice that a generated text means.

    Tried one after the other: the text is a choice or its label ("b", "Paris."); it opens with a label ("B) Paris ...");
    it says so ("the answer is B", "答案：B"; of several, `take` says which); it contains one choice's text and no other's; it
    has one label in brackets, or as its last word. A label counts only as a capital where it stands among other words.
    """
    index = choice_of(text, texts, labels)
    if index is not None:
        return Meant(index, "whole")
    label = "|".join(re.escape(label) for label in labels[: len(texts)])
    opening = re.match(rf"[\s(\[（【*_]*({label}){AFTER}(?!{BOTH}(?:{label})(?![A-Za-z0-9]))", text)
    if opening:
        return Meant(labels.index(opening[1]), "opening")
    said = [index for match in SAID.finditer(text) if (index := _named(text[match.end() :], texts, labels)) is not None]
    if said:
        return Meant(said[0 if take == "first" else -1], "phrase")
    inside = [index for index, choice in enumerate(texts) if _occurs(choice, text)]
    inside = [i for i in inside if not any(i != j and texts[i].casefold() in texts[j].casefold() for j in inside)]
    if len(inside) == 1:
        return Meant(inside[0], "text")
    bracketed = set(re.findall(rf"[(\[（【]\s*({label})\s*[)\]）】]", text))
    if len(bracketed) == 1:
        return Meant(labels.index(bracketed.pop()), "bracket")
    last = re.search(rf"(?<![A-Za-z0-9])({label})\W*$", text)
    if last is None or inside or re.search(rf"(?<![A-Za-z0-9])(?:{label}){BOTH}$", text[: last.start()]):
        return Meant(None, "")
    return Meant(labels.index(last[1]), "last word")


def _named(rest: str, texts: Sequence[str], labels: str) -> int | None:
    """Return the choice with whose text (the longest that fits) or label `rest` begins."""
    fitting = [index for index, choice in enumerate(texts) if choice.strip() and re.match(_word(choice), rest)]
    if fitting:
        return max(fitting, key=lambda index: len(texts[index]))
    found = re.match(rf"([{re.escape(labels[: len(texts)])}])(?![A-Za-z0-9])", rest)
    return labels.index(found[1]) if found else None


def _occurs(choice: str, text: str) -> bool:
    return bool(choice.strip()) and re.search(_word(choice), text) is not None


def _word(choice: str) -> str:
    """A pattern of the choice's text, whatever its case, that is no part of a longer word or number."""
    return rf"(?<![A-Za-z0-9])(?i:{re.escape(choice.strip())})(?![A-Za-z0-9])"
