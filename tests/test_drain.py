"""The loop of a worker, in this process: what each case's own trouble costs the others, and what is done how often."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from workshop.parts import Length, Light
from workshop.runs import Run, cases, freeze_run, metric_plan, until

from benchmark import clip as clips
from benchmark import merge, worker
from benchmark.claims import Claims
from benchmark.config import Media
from benchmark.drain import Drain
from benchmark.errors import DiskFull
from benchmark.guard import Failure, guarded, in_words, is_out_of_memory
from benchmark.journal import Journal, Watcher, read_journal
from benchmark.ledger import Deaths, Pass
from benchmark.prompts.plain import Plain
from benchmark.records import Abandon, Case, Key, Prediction, Score, Start, sample_seed
from benchmark.store import prediction_digest
from benchmark.worker import EXIT_DONE, EXIT_FAILED


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def first_line(record: Prediction | Score) -> str:
    return (record.error or "").splitlines()[0]


# ---------------------------------------------------------------------------------------------------------------- guard


def test_a_failing_batch_is_taken_apart_and_only_the_culprit_fails() -> None:
    calls = []

    def call(units: Any) -> list[int]:
        calls.append(list(units))
        if 2 in units:
            raise ValueError("two")
        return [10 * unit for unit in units]

    told: list[int] = []
    results = guarded(call, [0, 1, 2, 3], told.append)
    assert [result for result in results if not isinstance(result, Failure)] == [0, 10, 30]
    assert results[2].error.startswith("ValueError: two")
    assert calls == [[0, 1, 2, 3], [0], [1], [2], [3]]
    assert told == []  # the next batches are as large as before


def test_out_of_memory_halves_and_then_fails_the_case() -> None:
    calls: list[int] = []

    def call(units: Any) -> list[Any]:
        calls.append(len(units))
        if len(units) > 1 or units[0] == "huge":
            raise MemoryError
        return list(units)

    told: list[int] = []
    results = guarded(call, ["a", "b", "huge", "d", "e"], told.append)
    assert [isinstance(result, Failure) for result in results] == [False, False, True, False, False]
    assert calls == [5, 2, 1, 1, 2, 1, 1, 1]
    assert told == [2, 1, 1]


def test_gpu_memory_is_known_by_the_name_of_its_error() -> None:
    cls = type("OutOfMemoryError", (RuntimeError,), {})
    assert is_out_of_memory(cls())
    assert is_out_of_memory(type("Derived", (cls,), {})())
    assert not is_out_of_memory(RuntimeError("out of memory"))


def test_errors_become_words_that_can_be_recorded() -> None:
    words = in_words(ValueError("lone \udc80 surrogate"))
    assert words.splitlines()[0] == "ValueError: lone \\udc80 surrogate"
    assert msgspec.json.encode(words)


# ---------------------------------------------------------------------------------------------------------------- infer


def test_each_case_is_made_once_and_recorded_with_its_seed(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(20), samples=2, batch_size=3)
    assert run.here() == EXIT_DONE
    records = run.lines(Prediction)
    assert sorted((record.case_id, record.sample) for record in records) == sorted(
        (f"c{i}", sample) for i in range(20) for sample in range(2)
    )
    assert all(record.seed == sample_seed(0, record.case_id, record.sample) for record in records)
    assert {record.batch_size for record in records} <= {1, 2, 3}
    assert run.here() == EXIT_DONE
    assert len(run.lines(Prediction)) == 40
    assert run.noted("loads") == ["cpu"]  # nothing was pending the second time


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("do", ["raise", "memory", "gpu", "number", "leave"])
def test_a_case_that_fails_fails_alone(tmp_path: Path, do: str, batch_size: int) -> None:
    run = freeze_run(tmp_path, cases(8, c2={"do": do}), batch_size=batch_size)
    assert run.here() == EXIT_DONE
    made = run.made()
    assert [case_id for case_id, record in made.items() if record.status == "failed"] == ["c2"]
    expected = {
        "raise": "RuntimeError: no c2",
        "memory": "MemoryError: no c2",
        "gpu": "OutOfMemoryError: no c2",
        "number": "TypeError: a model whose output is text gives no int",
        "leave": "SystemExit: 0",
    }[do]
    assert first_line(made["c2"]).endswith(expected)
    assert len(run.lines(Prediction)) == 8


def test_too_large_batches_are_halved_for_good(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(16), batch_size=8, most=2)
    assert run.here() == EXIT_DONE
    assert {record.batch_size for record in run.made().values()} == {2}
    sizes = [len(batch.split()) for batch in run.noted("batches")]
    assert sizes[:3] == [8, 4, 2]
    assert sizes.count(8) == 1
    assert run.recorded_once(run.made())


def test_a_model_that_gives_too_few_outputs_is_asked_one_by_one(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(4), batch_size=4, short=True)
    assert run.here() == EXIT_DONE
    assert [record.status for record in run.made().values()] == ["ok"] * 4
    assert {record.batch_size for record in run.made().values()} == {1}


def test_one_string_for_a_whole_batch_is_no_list_of_outputs(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(4), model="OneString", batch_size=4)
    assert run.here() == EXIT_DONE
    assert {first_line(r) for r in run.made().values()} == {"TypeError: a model gives a list of outputs, not str"}


def test_a_text_from_a_video_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = freeze_run(tmp_path, cases(2), model="Clips")
    monkeypatch.setattr("workshop.parts.Clips.make", lambda self, request: "text")
    assert run.here() == EXIT_DONE
    assert {first_line(record) for record in run.made().values()} == {
        "TypeError: a model whose output is video gives no str"
    }
    assert not list((run.store.folder / "predictions").rglob("*.mp4"))


def test_a_prompt_that_can_not_be_rendered_fails_its_case_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, render = freeze_run(tmp_path, cases(4), batch_size=2), Plain.render

    def picky(self: Plain, case: Case) -> Any:
        if case.id == "c1":
            raise KeyError("mood")
        return render(self, case)

    monkeypatch.setattr(Plain, "render", picky)
    assert run.here() == EXIT_DONE
    assert {case_id for case_id, record in run.made().items() if record.status == "failed"} == {"c1"}


@pytest.mark.parametrize("model", ["Text", "Pictures", "Clips"])
def test_outputs_depend_on_neither_order_nor_batch_nor_workers(tmp_path: Path, model: str) -> None:
    chosen, found = cases(9), []
    for name, order, batch_size, workers in (
        ("a", chosen, 1, 1),
        ("b", chosen[::-1], 4, 1),
        ("c", chosen[3:] + chosen[:3], 2, 3),
    ):
        run = freeze_run(tmp_path / name, order, model=model, batch_size=batch_size, samples=2, seed=5)
        threads = [threading.Thread(target=run.here, kwargs={"name": f"w{index}"}) for index in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made = merge.predictions(run.store, "model")
        assert run.recorded_once([key[0] for key in made])
        found.append({key: (record.seed, record.sha256) for key, record in made.items()})
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 18
    assert len({seed for seed, _ in found[0].values()}) == 18


@pytest.mark.parametrize(("model", "media_"), [("Pictures", None), ("Clips", None), ("Clips", Media(frames="png"))])
def test_files_are_where_their_records_say_and_nothing_else_is(
    tmp_path: Path, model: str, media_: Media | None
) -> None:
    run = freeze_run(tmp_path, cases(5), model=model, media=media_, batch_size=2)
    assert run.here() == EXIT_DONE
    listed = set()
    for record in run.made().values():
        files = {role: run.store.folder / path for role, path in record.files.items()}
        assert merge.prediction_digest(files) == record.sha256
        assert (record.width, record.height, record.frames) == (16, 16, 1 if model == "Pictures" else 4)
        for path in files.values():
            listed |= set(path.iterdir()) if path.is_dir() else {path}
    there = {path for path in (run.store.folder / "predictions").rglob("*") if path.is_file()}
    assert there == listed


def test_a_shorter_clip_leaves_no_frame_of_the_longer_one_before(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(1, c0={"frames": 6}), model="Clips", media=Media(frames="png"))
    assert run.here() == EXIT_DONE
    run.store.write(run.store.cases_file, msgspec.json.encode(cases(1, c0={"frames": 3})[0]))
    run.retry(1, floor=1)
    assert run.here() == EXIT_DONE
    record = run.made()["c0"]
    folder = run.store.folder / record.files["frames"]
    assert record.frames == 3
    assert sorted(path.name for path in folder.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert len(list(clips.stream({"frames": folder}))) == 3


def test_failed_cases_get_max_attempts_tries_over_invocations(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(3, c1={"do": "raise"}), metrics={"len": metric_plan("Length")})
    for attempt in range(5):
        run.retry(attempt, max_attempts=3)
        assert run.here() == EXIT_DONE
        merge.merge_predictions(run.store, "model")
    assert sorted(record.attempt for record in run.lines(Prediction) if record.case_id == "c1") == [0, 1, 2]
    assert run.recorded_once(["c0", "c2"])
    run.retry(5, max_attempts=1_000_000)  # redo=[failed]
    assert run.here() == EXIT_DONE
    assert sorted(record.attempt for record in run.lines(Prediction) if record.case_id == "c1") == [0, 1, 2, 5]


def test_redo_makes_everything_again_once(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(3))
    assert run.here() == EXIT_DONE
    run.retry(1, floor=1)
    for _ in range(2):
        assert run.here() == EXIT_DONE
    assert sorted(record.attempt for record in run.lines(Prediction)) == [0, 0, 0, 1, 1, 1]
    assert {record.attempt for record in run.made().values()} == {1}


def test_a_stop_ends_after_the_batch_and_the_next_life_does_the_rest(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(30, c3={"do": "wait"}), model="Pictures")
    life = worker.Worker(run.store, "infer", run.frozen, "w0")
    thread = threading.Thread(target=worker.end_of, args=(life,))
    thread.start()
    until(lambda: (run.notes / "c3.waits").exists())
    life.stop.set()
    (run.notes / "c3.go").touch()
    thread.join()
    done = {record.case_id for record in run.lines(Prediction)}
    assert done == {"c0", "c1", "c2", "c3"}
    assert read_journal(life.journal.path)[0][-1].reason == "told to stop"
    assert run.here(name="w1") == EXIT_DONE
    assert run.recorded_once([f"c{i}" for i in range(30)])


# ----------------------------------------------------------------------------------------------------------------- eval


def scored_run(tmp_path: Path, model: str = "Text", n: int = 6, **do: Any) -> Run:
    metric = "Length" if model == "Text" else "Light"
    notes = str(tmp_path / "notes")
    metrics = {"one": metric_plan(metric, notes=notes, batch_size=4), "two": metric_plan(metric, batch_size=3)}
    run = freeze_run(tmp_path, cases(n, **do), model=model, metrics=metrics)
    assert run.here() == EXIT_DONE
    return run


@pytest.mark.parametrize(
    ("strange", "failing", "words"),
    [
        ("raise", {"length", "half"}, "RuntimeError: no score of c1"),
        ("nan", {"length"}, "ValueError: the metric gave nan, which is no finite number"),
        ("omit", {"length"}, "ValueError: the metric gave no length; it gave half"),
        ("number", {"length", "half"}, "TypeError: the metric gave float, not a value per measure"),
        ("word", {"length"}, "ValueError: length is no number with details to be recorded: could not convert"),
        ("object", {"length"}, "TypeError: length is no number with details to be recorded: details hold numbers"),
    ],
)
def test_what_a_metric_does_wrong_at_one_clip_costs_that_number_alone(
    tmp_path: Path, strange: str, failing: set[str], words: str
) -> None:
    run = scored_run(tmp_path, c1={"score": strange})
    assert run.here("eval") == EXIT_DONE
    scores = run.scores()
    assert len(scores) == 6 * 4
    failed = {key for key, record in scores.items() if record.status == "failed"}
    assert failed == {("c1", f"{option}/{name}") for option in ("one", "two") for name in failing}
    assert all(scores[key].value is None and first_line(scores[key]).startswith(words) for key in failed)


def test_a_metrics_trouble_spares_the_other_metrics_of_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scored_run(tmp_path)
    score = Length.score
    monkeypatch.setattr(Length, "score", lambda self, items: None if self.notes else score(self, items))
    assert run.here("eval") == EXIT_DONE
    bad = {key for key, record in run.scores().items() if record.status == "failed"}
    assert bad == {(f"c{i}", f"one/{name}") for i in range(6) for name in ("length", "half")}


def test_details_may_hold_arrays(tmp_path: Path) -> None:
    run = scored_run(tmp_path, c1={"score": "details"})
    assert run.here("eval") == EXIT_DONE
    assert run.scores()["c1", "one/length"].details == {"all": [0, 1, 2], "top": 2.0}


@pytest.mark.parametrize("model", ["Pictures", "Clips"])
def test_all_metrics_of_a_pass_share_one_decode_of_each_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    run = scored_run(tmp_path, model, n=24, c5={"score": "raise"})
    decoded, held, peak, decode = [], set(), [0], clips.stream

    def count(files: Any) -> Any:
        decoded.append(str(next(iter(files.values()))))
        held.add(decoded[-1])
        peak[0] = max(peak[0], len(held))
        return decode(files)

    release = clips.Clip.release

    def let_go(clip: clips.Clip) -> None:
        held.discard(str(next(iter(clip.files.values()))))
        release(clip)

    monkeypatch.setattr(clips, "stream", count)
    monkeypatch.setattr(clips.Clip, "release", let_go)
    assert run.here("eval") == EXIT_DONE
    assert len(decoded) == len(set(decoded)) == 24
    assert peak[0] <= 8  # chunks of four: the one at work, and the one read ahead
    assert not held
    assert len(run.scores()) == 96


def test_a_clip_that_can_not_be_decoded_fails_its_scores_alone(tmp_path: Path) -> None:
    run = scored_run(tmp_path, "Clips")
    (run.store.folder / run.made()["c2"].files["video"]).write_bytes(b"no video")
    assert run.here("eval") == EXIT_DONE
    failed = {key for key, record in run.scores().items() if record.status == "failed"}
    assert {case_id for case_id, _ in failed} == {"c2"}
    assert len(failed) == 4


def test_failed_predictions_are_not_scored(tmp_path: Path) -> None:
    run = scored_run(tmp_path, c4={"do": "raise"})
    assert run.here("eval") == EXIT_DONE
    assert {case_id for case_id, _ in run.scores()} == {"c0", "c1", "c2", "c3", "c5"}
    assert run.here("eval") == EXIT_DONE
    assert len(run.lines(Score, "eval")) == 20


def test_scores_are_pending_again_when_the_prediction_changes(tmp_path: Path) -> None:
    run = scored_run(tmp_path)
    assert run.here("eval") == EXIT_DONE
    record = next(record for record in run.lines(Prediction) if record.case_id == "c3")
    journal = run.store.open_journal(role="worker", stage="infer", worker="w9", config="d")
    journal.write(msgspec.structs.replace(record, text="changed", sha256=prediction_digest({}, "changed"), attempt=1))
    journal.end("done")
    run.retry(1)
    assert run.here("eval") == EXIT_DONE
    again = [score for score in run.lines(Score, "eval") if score.attempt == 1]
    assert {score.case_id for score in again} == {"c3"}
    assert run.scores()["c3", "one/length"].value == len("changed")


def test_redo_of_one_metric_leaves_the_other_alone(tmp_path: Path) -> None:
    run = scored_run(tmp_path)
    assert run.here("eval") == EXIT_DONE
    plans = {
        name: msgspec.structs.replace(plan, turn=Pass(1, 1 if name == "two" else 0))
        for name, plan in run.frozen.metrics.items()
    }
    run.freeze(metrics=plans)
    assert run.here("eval") == EXIT_DONE
    again = [score for score in run.lines(Score, "eval") if score.attempt == 1]
    assert {score.metric for score in again} == {"two/length", "two/half"}
    assert len(again) == 12


@pytest.mark.parametrize("fails", [False, True])
def test_a_set_metric_says_of_how_many(tmp_path: Path, fails: bool) -> None:
    run = freeze_run(tmp_path, cases(5, c1={"do": "raise"}), metrics={"all": metric_plan("Total", fails=fails)})
    assert run.here() == EXIT_DONE
    assert run.here("eval") == EXIT_DONE
    score = run.scores()[None, "all/total"]
    assert (score.details["n_used"], score.details["n_expected"]) == (4, 5)
    lengths = sum(len(record.text or "") for record in run.made().values())
    assert (score.status, score.value) == (("failed", None) if fails else ("ok", float(lengths)))
    assert run.here("eval") == EXIT_DONE
    assert len(run.lines(Score, "eval")) == 1


def test_a_set_metric_is_done_again_for_another_set(tmp_path: Path) -> None:
    run = freeze_run(tmp_path, cases(3, c1={"do": "wait"}), metrics={"all": metric_plan("Total")})
    (run.notes / "c1.go").touch()
    assert run.here() == EXIT_DONE
    assert run.here("eval") == EXIT_DONE
    first = run.scores()[None, "all/total"]
    run.freeze(prediction=run.frozen.prediction)
    journal = run.store.open_journal(role="worker", stage="infer", worker="w9", config="d")
    text = "longer than before"
    sha256 = prediction_digest({}, text)
    journal.write(msgspec.structs.replace(run.made()["c1"], text=text, sha256=sha256, attempt=1))
    journal.end("done")
    run.retry(1)
    assert run.scores() == {}
    assert run.here("eval") == EXIT_DONE
    assert run.scores()[None, "all/total"].value > first.value


# ------------------------------------------------------------------------------------------------------ the loop itself


class Chore:
    """A unit of made-up work."""

    def __init__(self, name: str) -> None:
        self.key = Key(name, 0)


class Chores:
    """Made-up work: what it was asked, in which order."""

    ahead, failing = 0, ""

    def __init__(self, n: int, batch: int = 1, threads: int = 0, deaths: dict[str, Deaths] | None = None) -> None:
        self.names, self.batch, self.threads = [f"c{i}" for i in range(n)], batch, threads
        self.died = {Key(name, 0): deaths for name, deaths in (deaths or {}).items()}
        self.batches: list[list[str]] = []
        self.prepared: list[str] = []
        self.writing: set[str] = set()
        self.in_company: dict[str, set[str]] = {}

    def pending(self, chunk: Any) -> list[Chore]:
        return [Chore(name) for name in self.names[chunk.first : chunk.last]]

    def deaths(self, units: Any) -> dict[Key, Deaths]:
        return {unit.key: self.died[unit.key] for unit in units if unit.key in self.died}

    def prepare(self, unit: Chore) -> None:
        self.prepared.append(unit.key.case_id)

    def work(self, units: Any) -> list[str]:
        names = [unit.key.case_id for unit in units]
        self.batches.append(names)
        for name in names:
            self.in_company[name] = set(self.writing)
        self.writing.update(names)
        return names

    def records(self, unit: Chore, result: Any, hold: Any) -> list[Any]:
        if unit.key.case_id == self.failing:
            raise OSError(28, "No space left on device")
        if self.threads:
            time.sleep(0.005)  # an encoder at work
        self.writing.discard(unit.key.case_id)
        return [Prediction(case_id=unit.key.case_id, sample=0, status="ok", fingerprint="f")]

    def failed(self, unit: Chore, error: str) -> list[Any]:
        return [Prediction(case_id=unit.key.case_id, sample=0, status="failed", fingerprint="f", error=error)]


def drain(folder: Path, work: Chores, size: int = 4) -> tuple[Drain, Claims, Journal]:
    folder.mkdir(exist_ok=True)
    journal = Journal(folder, role="worker", stage="infer", worker="w", code="c", config="d")
    claims = Claims(folder / "K", len(work.names), size, journal, Watcher(folder, 60.0))
    return Drain(work, claims, journal, 0, threading.Event()), claims, journal


def test_suspects_run_first_and_alone_and_the_others_in_batches(tmp_path: Path) -> None:
    work = Chores(8, batch=4, threads=2, deaths={"c1": Deaths(1, 0), "c2": Deaths(2, 1)})
    drain(tmp_path, work, size=8)[0].run(3)
    assert work.batches == [["c1"], ["c2"], ["c0", "c3", "c4", "c5"], ["c6", "c7"]]
    assert work.in_company["c1"] == work.in_company["c2"] == work.in_company["c0"] == set()
    assert work.prepared == []  # what is read ahead might be what kills


@pytest.mark.parametrize(
    ("deaths", "tried"), [(Deaths(2, 2), True), (Deaths(3, 0), True), (Deaths(3, 1), False), (Deaths(7, 7), False)]
)
def test_a_case_is_given_up_only_when_it_also_killed_alone(tmp_path: Path, deaths: Deaths, tried: bool) -> None:
    work = Chores(1, deaths={"c0": deaths})
    loop, _, journal = drain(tmp_path, work)
    loop.run(3)
    record = read_journal(journal.path)[0][-1]
    assert (work.batches == [["c0"]]) is tried
    assert (record.status == "ok") is tried
    if not tried:
        assert record.error.startswith(f"worker died: {deaths.n} workers died at this case")


def test_a_start_line_precedes_each_batch_and_no_done_hint_its_records(tmp_path: Path) -> None:
    work = Chores(6, batch=2, threads=2)
    loop, claims, journal = drain(tmp_path, work)
    loop.run()
    started: set[Key] = set()
    for record in read_journal(journal.path)[0][1:]:
        if isinstance(record, Start):
            started |= set(record.keys)
        else:
            assert (record.case_id, 0) in started
    assert len(started) == 6
    assert sorted(path.name for path in claims.folder.glob("*.done")) == ["0.done", "1.done"]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_chunk_that_was_lost_meanwhile_is_left_and_nothing_is_recorded(tmp_path: Path, threads: int) -> None:
    work = Chores(4, threads=threads)
    loop, claims, journal = drain(tmp_path, work)
    other = Journal(tmp_path, role="worker", stage="infer", worker="other", code="c", config="d")
    working = work.work

    def slow(units: Any) -> list[str]:
        if units[0].key.case_id == "c1":
            until(lambda: len(read_journal(journal.path)[0]) >= 4)
            (claims.folder / "0.2").write_text(other.name)
        return working(units)

    work.work = slow  # type: ignore[method-assign]
    claims.wait = (claims.folder / "0.done").touch  # type: ignore[method-assign,assignment]
    loop.run()
    records = read_journal(journal.path)[0]
    assert [record.case_id for record in records if isinstance(record, Prediction)] == ["c0"]
    given_back = {key.case_id for record in records if isinstance(record, Abandon) for key in record.keys}
    assert "c1" in given_back
    assert given_back == {key.case_id for r in records if isinstance(r, Start) for key in r.keys} - {"c0"}


@pytest.mark.parametrize("threads", [0, 2])
def test_a_full_disk_while_writing_ends_the_loop(tmp_path: Path, threads: int) -> None:
    work = Chores(40, threads=threads)
    work.failing = "c3"
    loop, _, journal = drain(tmp_path, work, size=1)
    with pytest.raises(DiskFull):
        loop.run()
    ids = [record.case_id for record in read_journal(journal.path)[0] if isinstance(record, Prediction)]
    assert "c3" not in ids
    assert len(ids) < 20
    assert [line.keys for line in loop.given_back()] == [[Key("c3", 0)]]


def test_a_bug_in_a_writer_thread_is_not_swallowed(tmp_path: Path) -> None:
    work = Chores(10, threads=1)
    work.failed = None  # type: ignore[assignment,method-assign]
    work.records = lambda unit, result, hold: 1 / 0  # type: ignore[method-assign,assignment]
    with pytest.raises(TypeError):
        drain(tmp_path, work)[0].run()


def test_waiting_outputs_are_bounded(tmp_path: Path) -> None:
    work, most = Chores(60, threads=1), [0]
    records = work.records

    def count(*arguments: Any) -> Any:
        most[0] = max(most[0], len(work.writing))
        return records(*arguments)

    work.records = count  # type: ignore[method-assign]
    drain(tmp_path, work, size=10)[0].run()
    assert 1 < most[0] <= 7


def test_inputs_are_read_ahead_once(tmp_path: Path) -> None:
    work = Chores(12, batch=2, threads=1)
    work.ahead = 1
    drain(tmp_path, work)[0].run()
    assert len(work.prepared) == len(set(work.prepared))
    assert sorted(name for batch in work.batches for name in batch) == sorted(work.names)


def test_no_reader_is_at_a_unit_while_or_after_it_is_worked_on(tmp_path: Path) -> None:
    work, order = Chores(12, threads=1), []
    working = work.work

    def prepare(unit: Chore) -> None:
        time.sleep(0.003)  # a slow disk: the loop would overtake it
        order.append(("read", unit.key))

    work.prepare = prepare  # type: ignore[method-assign]
    work.work = lambda units: order.extend(("work", unit.key) for unit in units) or working(units)  # type: ignore[func-returns-value,method-assign]
    drain(tmp_path, work, size=12)[0].run()
    worked: set[Key] = set()
    for what, key in order:
        assert not (what == "read" and key in worked)
        worked |= {key} if what == "work" else set()
    assert len(worked) == 12


def test_quick_batches_share_a_start_line_and_slow_ones_do_not(tmp_path: Path) -> None:
    work = Chores(64)
    loop, _, journal = drain(tmp_path, work, size=64)
    working = work.work

    def slow_from_20(units: Any) -> list[str]:
        if len(work.batches) >= 20:
            time.sleep(0.021)  # longer than QUICK_S
        return working(units)

    work.work = slow_from_20  # type: ignore[method-assign]
    loop.run()
    lines = read_journal(journal.path)[0][1:]
    groups = [len(line.keys) for line in lines if isinstance(line, Start)]
    assert groups[:4] == [1, 2, 4, 8]
    assert groups[-1] == 1
    assert work.batches == [[f"c{i}"] for i in range(64)]
    assert sum(isinstance(line, Prediction) for line in lines) == 64


def test_what_was_started_and_not_reached_is_given_back(tmp_path: Path) -> None:
    work = Chores(8)
    loop, _, journal = drain(tmp_path, work, size=8)
    working = work.work

    def stop_at_4(units: Any) -> list[str]:
        if units[0].key.case_id == "c4":
            loop._stop.set()
        return working(units)

    work.work = stop_at_4  # type: ignore[method-assign]
    loop.run()
    lines = read_journal(journal.path)[0][1:]
    assert [line.case_id for line in lines if isinstance(line, Prediction)] == [f"c{i}" for i in range(5)]
    assert [key.case_id for line in lines if isinstance(line, Abandon) for key in line.keys] == ["c5", "c6"]


def test_a_metric_that_can_not_be_loaded_ends_the_worker_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = scored_run(tmp_path, "Pictures")

    def load(self: Light, device: str) -> None:
        raise OSError("no such weights")

    monkeypatch.setattr(Light, "load", load)
    assert run.here("eval") == EXIT_FAILED
    assert "no such weights" in capsys.readouterr().err
    assert read_journal(run.store.stage_journals("eval")[0])[0][-1].reason == "failed"
