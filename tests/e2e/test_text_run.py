"""Questions with choices, from a table to accuracies: a tiny language model, in worker processes and in this one."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from workshop import tiny_language_model as tiny

CHOICES = ["Paris", "Rome", "pear", "plum"]
MEASURES = ("exact_match", "choice_accuracy", "acc", "acc_norm", "acc_bytes", "acc_perplexity")


@pytest.fixture
def asked(bench: Bench) -> tuple[str, ...]:
    """The words of a command about a table of twelve questions, in the folder that it is given in."""
    tiny.build(bench.folder / "tiny")
    rows = [
        {
            "id": f"q{i}",
            "category": ("city", "fruit")[i % 2],
            "prompt": f"{tiny.CORPUS[i % 3]} {'so ' * i}Answer:",
            "choices": CHOICES[: 2 + i % 3],
            "answer": "AB"[i % 2],
        }
        for i in range(12)
    ]
    (bench.folder / "questions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return (
        "model=causal_lm", "model.path=tiny", "model.max_out_len=6", "model.model_kwargs.dtype=float32",
        "dataset=manifest", "dataset.path=questions.jsonl", "metrics=[text]",
    )  # fmt: skip


def by_hand(prediction: dict[str, Any], measure: str) -> float:
    """Whether the likeliest choice is the right one, from the prediction's record alone."""
    sizes = {
        "acc": lambda choice: 1,
        "acc_norm": lambda choice: len(choice["text"]),
        "acc_bytes": lambda choice: len(choice["text"].encode()),
        "acc_perplexity": lambda choice: choice["tokens"],
    }
    scores = [choice["log_likelihood"] / sizes[measure](choice) for choice in prediction["choices"]]
    return float(scores.index(max(scores)) == int(prediction["case_id"][1:]) % 2)


@pytest.mark.slow
def test_questions_with_choices_in_worker_processes(bench: Bench, lab: Any, asked: tuple[str, ...]) -> None:
    code, output = bench.run(*asked, "model.batch_size=8", studio=False)
    assert code == 0, output
    predictions = {record["case_id"]: record for record in bench.records("predictions")}
    assert len(predictions) == 12 and max(record["batch_size"] for record in predictions.values()) == 8
    for case_id, record in predictions.items():
        offered = CHOICES[: 2 + int(case_id[1:]) % 3]
        assert [choice["text"] for choice in record["choices"]] == offered and isinstance(record["text"], str)
    scores = {(record["case_id"], record["metric"]): record["value"] for record in bench.records("scores")}
    for measure in MEASURES[2:]:
        expected = {case_id: by_hand(record, measure) for case_id, record in predictions.items()}
        assert {case_id: scores[case_id, f"text/{measure}"] for case_id in predictions} == expected
        overall = bench.summary()["metrics"][f"text/{measure}"]["overall"]
        assert overall["mean"] == pytest.approx(statistics.fmean(expected.values())) and overall["coverage"] == 1.0

    said = lab.bare(*asked, "model.batch_size=1", "name=alone", "debug=true")
    assert said.code == 0, said
    alone = {record["case_id"]: record for record in bench.records("predictions", latest(bench, "alone"))}
    for case_id, record in predictions.items():
        other = alone[case_id]
        assert (other["text"], other["fingerprint"], other["batch_size"]) == (record["text"], record["fingerprint"], 1)
        for one, two in zip(record["choices"], other["choices"], strict=True):
            assert one["log_likelihood"] == pytest.approx(two["log_likelihood"], abs=1e-5)

    run = latest(bench, "causal_lm-manifest")
    before = {record["fingerprint"] for record in bench.records("scores", run)}
    code, output = bench.run(*asked, "metrics.text.ignore_case=true", "mode=eval", studio=False)
    assert code == 0, output
    assert bench.records("predictions", run) == list(predictions.values()), "scored anew, not made anew"
    again = [record for record in bench.records("scores", run) if record["fingerprint"] not in before]
    assert len(again) == 12 * len(MEASURES)


def latest(bench: Bench, name: str) -> Path:
    return (bench.folder / "outputs" / name / "latest").resolve()


def test_without_choices_there_is_exact_match_alone(bench: Bench, asked: tuple[str, ...]) -> None:
    rows = [{"id": str(i), "prompt": f"What is {i} + {i}?", "answer": 2 * i} for i in range(3)]
    (bench.folder / "sums.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    code, output = bench.run(*asked, "dataset.path=sums.jsonl", "dry_run=true", studio=False)
    assert code == 0, output
    assert "text/exact_match" in output and "no case has fields.choices" in output
    code, output = bench.run(*asked, "dataset.path=sums.jsonl", "model.answer_by=likelihood", studio=False)
    assert code == 2 and "can't weigh the choices of 3 cases" in output


def test_what_can_not_be_loaded_or_scored_is_refused_before_anything_starts(
    bench: Bench, asked: tuple[str, ...]
) -> None:
    tiny.build(bench.folder / "shards", shards=True)
    lost = sorted(bench.folder.glob("shards/model-*.safetensors"))[1]
    lost.unlink()
    wrong = ("model.path=shards", "model.generation.top_p=0.5", "metrics.text.answer_as=text")
    code, output = bench.run(*asked, *wrong, studio=False)
    assert code == 2, output
    assert "3 problems, nothing was started" in output
    for words in (f"lacks {lost.name}", "model.generation.do_sample=true", "right answer of 12 of 12 cases"):
        assert words in output
    assert not (bench.folder / "outputs").exists()
