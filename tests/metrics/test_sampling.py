"""benchmark.metrics.sampling: against numpy's linspace and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.sampling import frame_indices, frames_problems


@pytest.mark.parametrize(
    "frames, of_ten",
    [
        ("all", list(range(10))),
        ("first", [0]),
        (1, [4]),
        (2, [0, 9]),
        (3, [0, 5, 9]),
        ("4", [0, 3, 6, 9]),
        ("every_3", [0, 3, 6, 9]),
        ("every 4", [0, 4, 8]),
        (99, list(range(10))),
    ],
)
def test_by_hand(frames: str | int, of_ten: list[int]) -> None:
    assert frame_indices(10, frames) == of_ten
    assert frame_indices(1, frames) == [0]


@pytest.mark.parametrize("length", [2, 3, 16, 49, 1001, 18_000])
@pytest.mark.parametrize("count", [2, 3, 5, 16, 100])
def test_a_number_is_spread_evenly(length: int, count: int) -> None:
    found = frame_indices(length, count)
    assert found == sorted(set(found)) and len(found) == min(length, count)
    assert (found[0], found[-1]) == (0, length - 1)
    exact = np.linspace(0, length - 1, min(length, count))
    assert np.abs(np.array(found) - exact).max() <= 0.5


@pytest.mark.parametrize("frames", [0, -1, True, "", "some", "every_0", "every", "1.5"])
def test_what_is_refused(frames: str | int) -> None:
    (problem,) = frames_problems("metrics.iqa.frames", frames)
    assert problem.where == "metrics.iqa.frames" and problem.given == repr(frames) and "every_2" in problem.allowed
    with pytest.raises(ValueError, match="every_2"):
        frame_indices(10, frames)


def test_what_is_allowed_has_no_problem() -> None:
    assert not [p for frames in ("all", "first", 1, 16, "every_2") for p in frames_problems("x", frames)]
