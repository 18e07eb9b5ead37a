"""What a program says, cut into lines."""

from __future__ import annotations

import pytest

from benchmark.programs import log
from benchmark.programs.log import Lines, Log


def cut(*pieces: bytes, most_bytes: int = 8192) -> list[str]:
    found: list[str] = []
    lines = Lines(found.append, most_bytes)
    for piece in pieces:
        lines.feed(piece)
    lines.close()
    return found


def test_lines_are_whole_however_the_stream_is_cut() -> None:
    data = "eins\r\nzwei é\n\ndrei".encode()
    expected = ["eins", "zwei é", "", "drei"]
    assert cut(data) == expected
    assert cut(*[data[i : i + 1] for i in range(len(data))]) == expected


def test_invalid_utf8_is_replaced() -> None:
    assert cut(b"a\xff\xfeb\n") == ["a\ufffd\ufffdb"]


def test_of_a_progress_bar_its_end_is_shown_and_some_of_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = [b"\r%d %%" % percent for percent in range(101)]
    assert cut(*bar, b"\nnext\n") == ["100 %", "next"]
    monkeypatch.setattr(log, "PROGRESS_EVERY_S", -1.0)
    assert cut(*bar, b"\n") == [""] + [f"{percent} %" for percent in range(101)]


def test_a_line_without_end_is_cut_and_not_held() -> None:
    found = cut(*[b"x" * 1000] * 100, most_bytes=8192)
    assert "".join(found) == "x" * 100_000
    assert max(map(len, found)) <= 8192 + 1000


def test_the_last_lines_are_kept_and_all_are_shown_under_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    kept = Log("x.py")
    assert (kept.last_line(), kept.last_words()) == ("", "")
    for number in range(50):
        kept.write(f"line {number}")
    kept.write("y" * 5000)
    kept.write("  ")
    words = kept.last_words().splitlines()[1:]
    assert (len(words), words[0].strip()) == (20, "line 31")
    assert len(words[-1]) < 400
    assert kept.last_line().startswith("yyy")
    shown = capsys.readouterr().err.splitlines()
    assert (len(shown), shown[0]) == (52, "[x.py] line 0")
