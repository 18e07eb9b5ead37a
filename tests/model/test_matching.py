"""The rules by which files are told apart, on names alone."""

from __future__ import annotations

import pytest

from benchmark.model.existing.matching import ById, ByPrompt, ByRow, Nearest, Rule
from benchmark.model.existing.patterns import ByPattern, pattern_like, pattern_problems
from benchmark.records import Case, Key


def found(rule: Rule, names: list[str], case: Case, sample: int = 0) -> list[str]:
    return [names[index] for index in rule.find(case, sample)]


def case(id: str = "cat", category: str = "", prompt: str = "A cat.", **fields: object) -> Case:
    return Case(id=id, category=category, prompt=prompt, fields=fields)


@pytest.mark.parametrize(
    ("name", "category", "sample"),
    [
        ("cat.mp4", "", 0),
        ("cat", "", 0),  # a folder of frames
        ("deep/er/cat.webm", "", 0),
        ("pets/cat.mp4", "pets", 0),
        ("run/pets/cat.mp4", "pets", 0),
        ("cat-0.mp4", "", 0),
        ("cat_0.mp4", "", 0),
        ("cat/0.mp4", "", 0),
        ("cat-1.mp4", "", 1),
        ("pets/cat_1.mp4", "pets", 1),
        ("run/pets/cat/1.mp4", "pets", 1),
        ("cat/1/video.mp4", "", 1),
        ("pets/cat/1/video.mp4", "pets", 1),
        ("pets/cat/video.mp4", "pets", 0),
        ("cat/frames", "", 0),
        ("cat/videos/out.mp4", "", 0),
    ],
)
def test_names_by_id(name: str, category: str, sample: int) -> None:
    names = ["dog.mp4", "pets/dog.mp4", "dog/0.mp4", name, "cats.mp4", "Cat.mp4", "cat .mp4", "cat-10.mp4"]
    rule = ById(names)
    assert found(rule, names, case(category=category), sample) == [name]
    assert found(rule, names, case(category=category), 2) == []


@pytest.mark.parametrize("name", ["cat.v2.mp4", "cats.mp4", "my-cat.mp4", "CAT.mp4", "cat01.mp4", "cat.mp4.txt2"])
def test_what_is_not_exactly_the_id_is_no_match(name: str) -> None:
    assert not ById([name]).find(case(), 0)


def test_a_dot_in_an_id_is_no_suffix() -> None:
    names = ["clip no. 5.mp4", "v1.5", "v1.5.png"]
    assert found(ById(names), names, case("clip no. 5")) == ["clip no. 5.mp4"]
    assert found(ById(names), names, case("v1.5")) == ["v1.5", "v1.5.png"]


def test_the_closest_place_counts() -> None:
    names = ["cat.mp4", "pets/cat.mp4", "wild/cat.mp4"]
    rule = ById(names)
    assert found(rule, names, case(category="pets")) == ["pets/cat.mp4"]
    assert found(rule, names, case()) == ["cat.mp4"]
    rule = ById(names[1:])
    assert found(rule, names[1:], case()) == ["pets/cat.mp4", "wild/cat.mp4"], "both are told, none is chosen"


def test_an_id_made_of_a_path_is_that_path() -> None:
    names = ["a/x.mp4", "b/x.mp4", "x.mp4"]
    rule = ById(names)
    assert found(rule, names, case("a-x", "a")) == ["a/x.mp4"]
    assert found(rule, names, case("b-x", "b")) == ["b/x.mp4"]
    assert found(rule, names, case("x")) == ["x.mp4"]


def test_two_suffixes_or_two_files_in_a_folder_are_not_decided() -> None:
    assert ById(["cat.mp4", "cat.webm"]).find(case(), 0) == [0, 1]
    assert list(ById(["cat/a.mp4", "cat/b.mp4"]).find(case(), 0)) == [0, 1]


def test_vbench_names_match_to_the_letter() -> None:
    prompt = "A cat, 'resting' on a sofa... (in 4k) -2"
    names = [f"{prompt}-0.mp4", f"style/{prompt}-1.mp4", f"{prompt.lower()}-2.mp4", f"{prompt} -3.mp4", f"{prompt}.mp4"]
    rule = ByPrompt(names)
    assert found(rule, names, case(prompt=prompt), 0) == names[:1]
    assert found(rule, names, case(prompt=prompt), 1) == names[1:2]
    for sample in (2, 3, 4):
        assert found(rule, names, case(prompt=prompt), sample) == []
    assert found(ByPrompt(["-0.mp4"]), ["-0.mp4"], case(prompt="")) == []


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{category}/{id}_{sample}.mp4", "pets/cat_2.mp4"),
        ("./{category}//{id}-{sample:03d}.mp4", "pets/cat-002.mp4"),
        ("{fields.scene}/{id}/frames{sample}", "indoor/cat/frames2"),
        ("{fields.camera.move}/{sample}", "left/2.mp4"),
        ("{prompt:.3}-{sample}", "A c-2.mp4"),
        ("{{{id}}}{sample}", "{cat}2.webm"),
    ],
)
def test_a_pattern_is_the_path_of_a_case(pattern: str, name: str) -> None:
    names = ["x.mp4", name]
    rule = ByPattern(pattern, names)
    the_case = case(category="pets", scene="indoor", camera={"move": "left"})
    assert found(rule, names, the_case, 2) == [name]
    assert found(rule, names, the_case, 1) == []
    assert not list(pattern_problems(pattern, samples=3))


def test_a_pattern_without_a_suffix_takes_any_and_one_with_it_that_one() -> None:
    names = ["cat.mp4", "cat.webm"]
    assert found(ByPattern("{id}", names), names, case()) == names
    assert found(ByPattern("{id}.webm", names), names, case()) == ["cat.webm"]


def test_a_case_that_lacks_a_field_matches_nothing_and_says_why() -> None:
    rule = ByPattern("{fields.scene}/{id}", ["cat.mp4"])
    assert rule.find(case(), 0) == ()
    assert "fields.scene" in rule.looked_for(case(), 0)
    assert ByPattern("{fields.n:02d}", ["cat.mp4"]).find(case(n="seven"), 0) == ()
    assert ByPattern("{fields.n:02d}", ["cat.mp4"]).find(case(n={}), 0) == ()


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{idd}.mp4", "did you mean `id`?"),
        ("{id!r}.mp4", "{id!r}"),
        ("{}.mp4", "{}"),
        ("{id.__class__}.mp4", "{id.__class__}"),
        ("{fields}.mp4", "{fields}"),
        ("{id", "can't be read"),
        ("{category}/{sample}.mp4", "same for all cases"),
        ("clip.mp4", "same for all cases"),
        ("*/{id}.mp4", "without *"),
        ("/data/{id}.mp4", "below model.path"),
    ],
)
def test_a_wrong_pattern_is_told(pattern: str, said: str) -> None:
    problems = list(pattern_problems(pattern))
    assert any(said in str(problem) for problem in problems), problems
    assert all(problem.where == "model.pattern" for problem in problems)


def test_samples_need_their_number_in_the_pattern() -> None:
    assert not list(pattern_problems("{id}.mp4", samples=1))
    assert "{sample}" in str(next(pattern_problems("{id}.mp4", samples=2)))


def test_rows_name_case_and_sample() -> None:
    rule = ByRow({Key("cat", 0): 4, Key("cat", 1): 7})
    assert [*rule.find(case(), 0), *rule.find(case(), 1), *rule.find(case(), 2)] == [4, 7]


def test_hints_see_what_exact_matching_does_not() -> None:
    long = "A very long prompt that " + "goes on and on " * 12
    names = ["Pets/Cat-One.mp4", "cafe\u0301 noir-0.mp4", f"{long[:180]}-3.mp4", "dog_house.mp4"]
    near = Nearest(names)
    assert near("cat_one") == names[0]
    assert near("pets/cat one") == names[0]
    assert near("CAF\u00c9 noir-0") == names[1]
    assert near(f"{long}-3") == names[2]
    assert near("dog_hause") == names[3]
    assert near("giraffe") == ""


def test_a_pattern_is_made_of_an_example() -> None:
    assert pattern_like("pets/cat.mp4", case(category="pets"), 0) == "{category}/{id}.mp4"
    assert pattern_like("v2/cat_01_x.mp4", case(), 1) == "v2/{id}_01_x.mp4"
    assert pattern_like("v2/cat_1.mp4", case(), 1) == "v2/{id}_{sample}.mp4"
    assert pattern_like("A cat..mp4", case(id="x1"), 0) == "{prompt}.mp4"
    assert pattern_like("dog.mp4", case(), 0) == ""
