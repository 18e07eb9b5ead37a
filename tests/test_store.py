"""The run folder: files that are there whole or not at all, names that stay inside, and digests of what was made."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from benchmark.claims import Lost
from benchmark.errors import DiskFull, UserError
from benchmark.records import Case, encode
from benchmark.store import (
    Store,
    is_disk_full,
    open_run,
    point_latest,
    prediction_digest,
    reserve,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_file_is_replaced_whole(store: Store) -> None:
    path = store.folder / "deep" / "file"
    store.write(path, "old")
    store.write(path, (piece for piece in (b"n", b"ew")))
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [RuntimeError("encoder"), KeyboardInterrupt(), Lost("lost")])
def test_a_failed_write_leaves_the_old_file_and_no_rest(store: Store, error: BaseException) -> None:
    path = store.folder / "file"
    store.write(path, "old")
    with pytest.raises(type(error)), store.replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(store.folder) == ["file"]


def test_an_owner_that_lost_its_case_replaces_nothing(store: Store) -> None:
    path = store.folder / "file"
    store.write(path, "the new owner's")

    def hold() -> None:
        raise Lost("late")

    with pytest.raises(Lost), store.replacing(path, "t", hold) as temporary:
        temporary.write_text("late")
    assert path.read_text() == "the new owner's"
    assert names(store.folder) == ["file"]


def test_a_full_disk_is_told_from_other_errors(store: Store) -> None:
    with pytest.raises(DiskFull), store.replacing(store.folder / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
    wrapped = ValueError("encoder")
    wrapped.__cause__ = OSError(errno.EDQUOT, "quota")
    assert is_disk_full(wrapped)
    assert not is_disk_full(OSError(errno.EIO, "I/O error"))


def test_what_the_dead_left_half_written_is_removed_and_nothing_else(store: Store) -> None:
    folder = store.folder / "predictions" / "m" / "a"
    dead, alive = (
        store.open_journal(role="worker", stage="infer", worker=name, config="d") for name in ("w.0", "node1.local-w1")
    )
    temporary = {who: f".{journal.name[:-6]}.12ab.tmp" for who, journal in (("dead", dead), ("alive", alive))}
    for name in (*temporary.values(), ".none.34cd.tmp", ".infer-gone-1.56ef.tmp", "c0.png"):
        store.write(folder / name, "x")
    os.utime(folder / ".infer-gone-1.56ef.tmp", (1, 1))
    store.sweep_temporaries(lambda journal: journal == dead.name)
    assert names(folder) == sorted([temporary["alive"], ".none.34cd.tmp", "c0.png"])


@pytest.mark.parametrize("name", ["a", "a/b", "物理", "a b", "a.b", "x" * 200, "物" * 66, "a=b,c(d)"])
def test_safe_names_can_be_written(name: str, tmp_path: Path) -> None:
    Store(tmp_path).write(tmp_path / f"{name}.mp4", b"")
    assert (tmp_path / f"{name}.mp4").is_file()


def test_cases_are_read_one_by_one_in_order(store: Store) -> None:
    chosen = [Case(id=f"c{i}", prompt="a\u2028b\nc", fields={"n": i}) for i in range(5)]
    store.write(store.cases_file, map(encode, chosen))
    cases = store.cases()
    assert (len(cases), list(cases), cases[3]) == (5, chosen, chosen[3])


def test_the_digest_of_a_prediction(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    first.write_bytes(b"a")
    second.write_bytes(b"b")
    assert prediction_digest({"video": first}) == hashlib.sha256(b"a").hexdigest()
    assert prediction_digest({}, "ä") == hashlib.sha256("ä".encode()).hexdigest()
    both = prediction_digest({"video": first, "mask": second})
    assert both == prediction_digest({"mask": second, "video": first})
    assert both != prediction_digest({"video": second, "mask": first})
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0.png").write_bytes(b"0")
    before = prediction_digest({"frames": frames})
    (frames / ".x.tmp").write_bytes(b"half")  # somebody's temporary file
    assert prediction_digest({"frames": frames}) == before
    (frames / "1.png").write_bytes(b"1")
    assert prediction_digest({"frames": frames}) != before


def test_a_folder_keeps_only_what_belongs_to_it(store: Store) -> None:
    for name in ("00000.png", "00001.png", ".t.tmp"):
        store.write(store.folder / "frames" / name, "x")
    store.keep_only(store.folder / "frames", ["00000.png"])
    assert names(store.folder / "frames") == [".t.tmp", "00000.png"]


def test_each_reserved_folder_is_somebodys_own(tmp_path: Path) -> None:
    assert [reserve(tmp_path, "t").name for _ in range(3)] == ["t", "t_2", "t_3"]


def test_latest_points_to_the_newest(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        point_latest(tmp_path / name)
    assert (tmp_path / "latest").resolve() == tmp_path / "b"
    assert names(tmp_path) == ["a", "b", "latest"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(UserError) as caught:
            open_run(folder)
        assert str(folder) in str(caught.value)
