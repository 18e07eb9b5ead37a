"""Cases: filters, limit, order, and every mistake in a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark import needs
from benchmark.cases import CaseTable, choose, decode_case, spread
from benchmark.prompts.plain import Plain
from benchmark.records import Case


class Listed:
    version = "1"

    def __init__(self, *cases: Any) -> None:
        self._cases = cases

    def cases(self) -> Iterator[Any]:
        for case in self._cases:
            if isinstance(case, Exception):
                raise case
            yield case


def chosen(dataset: Any, **filters: Any) -> tuple[CaseTable, list[str]]:
    table, problems = choose(dataset, **{"categories": None, "ids": None, "limit": None} | filters)
    return table, [str(problem) for problem in problems]


def of(n: int, categories: str = "abc") -> Listed:
    return Listed(*(Case(id=f"{i:03d}", category=categories[i % len(categories)]) for i in range(n)))


def test_limit_takes_from_each_category_in_turn() -> None:
    names = "aaaaaaaabbbc"
    picked = [names[i] for i in spread(range(12), names, 6)]
    assert Counter(picked) == {"a": 3, "b": 2, "c": 1}
    assert spread(range(12), names, 99) == list(range(12))
    table, problems = chosen(of(10), limit=4)
    assert (
        not problems and table.ids == ["000", "001", "002", "003"] and table.per_category() == {"a": 2, "b": 1, "c": 1}
    )


def test_filters() -> None:
    assert chosen(of(9), categories=["b"])[0].ids == ["001", "004", "007"]
    assert chosen(of(9), ids=["007", "001"])[0].ids == ["001", "007"]
    assert chosen(of(9), categories=["b"], ids=["007", "000"])[0].ids == ["007"]


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"categories": ["aa"]}, "did you mean `a`?"),
        ({"categories": ["z", "a"]}, "given: z"),
        ({"ids": ["0007"]}, "did you mean `007`"),
        ({"categories": []}, "dataset.categories: leaves no case"),
        ({"ids": []}, "dataset.ids: leaves no case"),
        ({"categories": ["a"], "ids": ["001"]}, "together with dataset.ids"),
    ],
)
def test_filters_that_leave_nothing(filters: dict[str, Any], says: str) -> None:
    _, (problem,) = chosen(of(9), **filters)
    assert says in problem


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (Case(id="../x"), "leave the run folder"),
        (Case(id="a/b"), "holds a slash"),
        (Case(id=""), "is empty"),
        (Case(id="x" * 300), "longer than"),
        (Case(id="ok", category="../up"), "category would leave"),
        (Case(id=3), "is no case"),  # type: ignore[arg-type]
        ({"id": "x"}, "is no case"),
        (Case(id="x", fields={"when": object()}), "can't be written as JSON"),
        (Case(id="x", inputs={"image": Path("a.png")}), "can't be written as JSON"),  # type: ignore[dict-item]
        (ValueError("row 7 is torn"), "ValueError: row 7 is torn"),
        (FileNotFoundError("rows.csv"), "FileNotFoundError"),
    ],
)
def test_bad_cases_are_told_and_hide_nothing(case: Any, says: str) -> None:
    _, problems = chosen(Listed(Case(id="a"), Case(id="a"), case))
    assert any(says in problem for problem in problems)
    assert any("duplicate ids" in problem and "a (2x)" in problem for problem in problems)


def test_many_bad_cases_are_counted() -> None:
    _, problems = chosen(Listed(*(Case(id=f"../{i}") for i in range(1000))))
    assert len(problems) == 21 and "980 more such problems" in problems[-1]


def test_an_empty_dataset() -> None:
    assert chosen(Listed())[1] == ["dataset: has no case"]


def test_costly_cases_are_handed_out_first_and_equals_keep_their_order() -> None:
    table, _ = chosen(Listed(*(Case(id=i, cost=c) for i, c in (("a", 1), ("b", 5), ("c", 1), ("d", 5)))))
    assert [decode_case(line).id for line in table.by_cost()] == ["b", "d", "a", "c"]


def test_unreadable_inputs_are_each_told_once(tmp_path: Path) -> None:
    torn, gone = tmp_path / "torn.png", tmp_path / "gone.jpg"
    torn.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    cases = [Case(id=f"c{i}", inputs={"image": str(path)}) for i, path in enumerate([torn, gone, torn])]
    table, _ = chosen(Listed(*cases))
    problems = needs.inspect(table, None)
    assert [(p.where, p.given) for p in problems] == [("case 'c0'", str(torn)), ("case 'c1'", str(gone))]


def test_whole_and_torn_pictures_are_told_apart(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.effect_noise((64, 64), 50)
    for suffix in ("png", "jpg", "webp", "bmp"):
        path = tmp_path / f"x.{suffix}"
        picture.save(path)
        table, _ = chosen(Listed(Case(id="x", inputs={"image": str(path)})))
        assert needs.inspect(table, None) == []
    torn = tmp_path / "x.png"
    data = bytearray(torn.read_bytes())
    data[len(data) // 2] ^= 1
    torn.write_bytes(data)
    assert len(needs.inspect(chosen(Listed(Case(id="x", inputs={"image": str(torn)})))[0], None)) == 1


def test_needs_and_prompts_are_checked_for_every_case() -> None:
    table, _ = chosen(Listed(Case(id="a", prompt="x", fields={"move": "left"}), Case(id="b")))
    asked = {"model": ["prompt", "fields.move"], "metrics.psnr": ["reference"]}
    found = [*needs.problems_of(needs.count_lacking(table, asked), 2), *needs.inspect(table, Plain(template="{move}"))]
    problems = [str(p) for p in found]
    for lacking in (
        "model: needs each case's prompt, which 1 of 2",
        "metrics.psnr: needs each case's reference, which 2 of 2",
    ):
        assert lacking in "\n".join(problems)
    assert "can't be made for 1 of 2 cases" in problems[-1] and "`move`" in problems[-1]


def test_the_digest_sees_content_and_not_place(tmp_path: Path) -> None:
    def digest(folder: str, content: bytes, **other: Any) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "x.bin"
        path.write_bytes(content)
        table, _ = chosen(Listed(Case(**{"id": "a", "prompt": "p", "inputs": {"blob": str(path)}} | other)))
        assert needs.inspect(table, None) == []
        return table.digest

    was = digest("one", b"1")
    assert digest("two", b"1") == was
    changed = [digest("one", b"2")]
    changed += [
        digest("one", b"1", **other)
        for other in ({"id": "b"}, {"prompt": "q"}, {"category": "c"}, {"fields": {"n": 1}})
    ]
    assert len({was, *changed}) == 6
    assert digest("one", b"1", cost=9.0) == was
