"""A tiny random Llama, against transformers asked token by token, without batch or padding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from workshop import tiny_language_model as tiny

from benchmark.errors import UserError
from benchmark.model import Answer, Checked, Identified, Model, Request, Requiring, Reviewing, Weighted
from benchmark.model.language.causal_lm import CausalLM
from benchmark.model.language.generation import Stop, cut
from benchmark.model.language.likelihood import Pair, encode_pair, likelihoods
from benchmark.model.language.prompting import Prompting
from benchmark.records import Case

torch.set_num_threads(1)
TOLERANCE = 1e-5  # of a log-likelihood in float32, whatever the batch
FRANCE = "Question: What is the capital of France? Answer:"
ASKED: list[tuple[str, list[str]]] = [
    (FRANCE, ["Paris", "Rome"]),
    ("A", ["B", "C plum", "apple on the table"]),
    ("The answer is ", ["A", "B", "C", "D"]),
    ("x" * 300, []),
    ("", ["A"]),
    ("The city\n", ["is", "is the", "Paris 物理"]),
    ("q", []),
    ("A red apple, a green", ["pear", "plum"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("chatty"), template=tiny.TEMPLATE)


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.add_adapter(folder, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(autouse=True)
def own_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def loaded(folder: Path, **arguments: Any) -> CausalLM:
    model = CausalLM(**{"path": str(folder), "max_out_len": 12, "model_kwargs": {"dtype": "float32"}, **arguments})
    assert list(model.problems()) == []
    model.load("cpu")
    return model


def request(prompt: str, choices: Sequence[str] = (), seed: int = 0) -> Request:
    fields = {"choices": list(choices)} if choices else {}
    return Request(Case(id=f"c{seed}", prompt=prompt, fields=fields), 0, prompt, "", seed)


def requests() -> list[Request]:
    return [request(prompt, choices, seed) for seed, (prompt, choices) in enumerate(ASKED)]


def parts(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64), AutoTokenizer.from_pretrained(folder)


def next_scores(network: Any, tokens: list[int]) -> torch.Tensor:
    """The log-probabilities (vocabulary,) float64 of what comes after the tokens."""
    with torch.no_grad():
        return network(torch.tensor([tokens])).logits[0, -1].log_softmax(dim=-1)


def greedy_text(network: Any, tokenizer: Any, prompt: list[int]) -> str:
    """What follows a prompt: the likeliest token, twelve times, or up to the end token."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + 12 and tokens[-1] != tokenizer.eos_token_id:
        tokens.append(int(next_scores(network, tokens).argmax()))
    return str(tokenizer.decode(tokens[len(prompt) :], skip_special_tokens=True))


def test_it_satisfies_the_protocols() -> None:
    protocols = (Model, Checked, Identified, Weighted, Reviewing, Requiring)
    assert all(isinstance(CausalLM(), protocol) for protocol in protocols)


@pytest.mark.parametrize(("prompt", "choices"), [pair for pair in ASKED if pair[1]])
def test_log_likelihoods_are_those_of_a_loop_over_single_tokens(folder: Path, prompt: str, choices: list[str]) -> None:
    network, tokenizer = parts(folder)
    (answer,) = loaded(folder).generate([request(prompt, choices)])
    for choice, found in zip(choices, answer.choices, strict=True):
        continuation = choice if prompt.endswith((" ", "\n")) else f" {choice}"
        tokens = tokenizer.encode(prompt + continuation)  # BOS comes first
        start = len(tokenizer.encode(prompt.rstrip()))
        total, greedy = 0.0, True
        for place in range(start, len(tokens)):
            scores = next_scores(network, tokens[:place])
            total += float(scores[tokens[place]])
            greedy = greedy and int(scores.argmax()) == tokens[place]
        assert (found.text, found.tokens, found.greedy) == (choice, len(tokens) - start, greedy)
        assert found.log_likelihood == pytest.approx(total, abs=1e-4)


def test_a_choice_that_greedy_decoding_gives_is_said_to_be_greedy(folder: Path) -> None:
    network, tokenizer = parts(folder)
    likeliest = tokenizer.decode([int(next_scores(network, tokenizer.encode(FRANCE)).argmax())])
    assert likeliest.startswith(" ")
    (answer,) = loaded(folder).generate([request(FRANCE, [likeliest.strip(), "Rome"])])
    assert [choice.greedy for choice in answer.choices] == [True, False]


def test_text_is_that_of_a_greedy_loop_and_the_checkpoints_own_sampling_does_not_count(folder: Path) -> None:
    network, tokenizer = parts(folder)
    assert json.loads((folder / "generation_config.json").read_text())["repetition_penalty"] == 5.0
    for prompt in (FRANCE, "A", "The city\n"):
        expected = greedy_text(network, tokenizer, tokenizer.encode(prompt))
        assert loaded(folder).generate([request(prompt)]) == [Answer(expected, [])]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"generation": {"do_sample": True, "temperature": 2.0}},
        {"generation": {"num_beams": 3}},
        {
            "generation": {"repetition_penalty": 1.8},
            "tokenizer_kwargs": {"pad_token": "b"},
        },  # padding must not be penalised
        {"stop": ["a", "the"]},
        {"with_adapter": True},
    ],
    ids=str,
)
def test_a_batch_of_one_equals_a_batch_of_eight(folder: Path, adapter: Path, arguments: dict[str, Any]) -> None:
    paths = {"peft_path": str(adapter)} if arguments.get("with_adapter") else {}
    model = loaded(folder, **paths, **{key: value for key, value in arguments.items() if key != "with_adapter"})
    alone = [model.generate([one])[0] for one in requests()]
    together = model.generate(requests())
    backwards = model.generate(requests()[::-1])[::-1]
    for one, other, third in zip(alone, together, backwards, strict=True):
        assert one.text == other.text == third.text
        for a, b, c in zip(one.choices, other.choices, third.choices, strict=True):
            assert (a.text, a.tokens, a.greedy) == (b.text, b.tokens, b.greedy) == (c.text, c.tokens, c.greedy)
            assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=TOLERANCE)
            assert a.log_likelihood == pytest.approx(c.log_likelihood, abs=TOLERANCE)
    assert len({answer.text for answer in alone}) > 4, "answers that are all the same prove nothing"


@pytest.mark.parametrize(
    ("settings", "rows"),
    [({}, [8]), ({"num_beams": 2}, [8]), ({"do_sample": True}, [1] * 8), ({"repetition_penalty": 1.8}, [1] * 8)],
)
def test_requests_are_generated_together_unless_padding_or_chance_would_tell(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], rows: list[int]
) -> None:
    model = loaded(folder, generation=settings)
    asked = []
    generate = model._model.generate
    monkeypatch.setattr(model._model, "generate", lambda **k: asked.append(len(k["input_ids"])) or generate(**k))
    model.generate(requests())
    assert asked == rows


def test_the_seed_decides_what_is_sampled(folder: Path) -> None:
    model = loaded(folder, generation={"do_sample": True})
    texts = [model.generate([request("A", seed=seed)])[0].text for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_an_adapter_changes_answers_and_shards_and_places_do_not(folder: Path, adapter: Path, tmp_path: Path) -> None:
    plain = loaded(folder).generate(requests())
    assert loaded(tiny.build(tmp_path / "shards", shards=True)).generate(requests()) == plain
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    changed = loaded(folder, peft_path=str(adapter)).generate(requests())
    assert changed[0].choices[0].log_likelihood != pytest.approx(plain[0].choices[0].log_likelihood, abs=0.1)


def test_another_tokenizer_and_dtype(folder: Path, tmp_path: Path) -> None:
    tiny.save_tokenizer(tmp_path / "only_tokens", tiny.TEMPLATE)
    model = loaded(folder, tokenizer_path=str(tmp_path / "only_tokens"), model_kwargs={"dtype": "bfloat16"})
    assert model._prompting.chat and model._model.dtype is torch.bfloat16
    assert loaded(folder, model_kwargs={})._model.dtype is torch.float32, "auto: as it was saved"


def test_an_answer_ends_at_a_stop_text_and_generation_with_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = loaded(folder).generate([request(FRANCE)])[0].text
    stop = free[5:7]
    model = loaded(folder, stop=["never to be seen", stop])
    steps = []
    forward = model._model.forward
    monkeypatch.setattr(model._model, "forward", lambda *a, **k: steps.append(1) or forward(*a, **k))
    assert model.generate([request(FRANCE)])[0].text == free[: free.index(stop)]
    assert len(steps) < 12
    assert cut("one two", ["two", "ne"]) == "o" and cut("one", []) == "one"


def test_a_stop_text_of_the_command_line_has_new_lines_in_words(folder: Path) -> None:
    assert loaded(folder, stop=["\\n\\n", "\n", "a\\tb"])._stop == ["\n\n", "\n", "a\tb"]


def test_rows_stop_one_by_one_even_if_the_stop_text_stands_in_the_prompt(folder: Path) -> None:
    tokenizer = loaded(folder)._tokenizer
    rows = [tokenizer.encode(text, add_special_tokens=False) for text in ("the city is red", "the city is blue")]
    longest = max(map(len, rows))
    tokens = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    start = longest - len(tokenizer.encode(" blue", add_special_tokens=False))
    assert Stop(tokenizer, ["blu"], start)(tokens, None).tolist() == [False, True]
    assert Stop(tokenizer, ["city"], start)(tokens, None).tolist() == [False, False]


def test_an_answer_ends_at_any_of_the_checkpoints_end_tokens(folder: Path, tmp_path: Path) -> None:
    network, tokenizer = parts(folder)
    tokens = tokenizer.encode(FRANCE)
    for _ in range(3):
        tokens.append(int(next_scores(network, tokens).argmax()))
    other = shutil.copytree(folder, tmp_path / "other")
    settings = json.loads((other / "generation_config.json").read_text())
    settings["eos_token_id"] = [tokenizer.eos_token_id, tokens[-1]]
    (other / "generation_config.json").write_text(json.dumps(settings))
    alone = loaded(other).generate([request(FRANCE)])[0].text
    assert alone == tokenizer.decode(tokens[-3:-1])
    assert loaded(other).generate(requests())[0].text == alone


def test_a_long_prompt_loses_its_beginning_and_the_log_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    prompt = "A green pear. " * 30 + FRANCE
    model = loaded(folder, max_seq_len=40)
    tokens = model._prompting.encode(prompt)[-28:]
    (long,) = model.generate([request(prompt, ["Paris"])])
    assert f"c0: the first {1 + len(model._prompting.encode(prompt)) - 28} tokens" in caplog.text
    network, tokenizer = parts(folder)
    assert long.text == greedy_text(network, tokenizer, tokens)
    whole = model._prompting.encode(f"{prompt} Paris")
    expected = float(next_scores(network, whole[-41:-1])[whole[-1]])
    assert long.choices[0].log_likelihood == pytest.approx(expected, abs=1e-4)


def test_a_chat_is_rendered_and_a_long_one_keeps_its_frame(chatty: Path) -> None:
    model = loaded(chatty, system="Be brief.", chat_kwargs={"shout": "So:"})
    prompting = model._prompting
    text = "<s>[system] Be brief.\n[user] Which city?\n[assistant] So:"
    assert prompting.render("Which city?") == text
    tokens, left_out = prompting.tokens("Which city?", 100)
    assert (tokens, left_out) == (prompting.encode(text), 0)
    assert tokens.count(prompting.tokenizer.bos_token_id) == 1
    shorter, left_out = prompting.tokens("Which city? " * 50, 60)
    assert len(shorter) <= 60 < left_out
    kept = prompting.tokenizer.decode(shorter)
    assert kept.startswith("<s>[system] Be brief.\n[user] ") and kept.endswith("city? \n[assistant] So:")
    with pytest.raises(ValueError, match="the chat template alone has"):
        prompting.tokens("Which city?", 5)


def test_a_choice_follows_a_chat_without_a_space(chatty: Path) -> None:
    tokenizer = loaded(chatty)._tokenizer
    chat = Prompting(tokenizer, chat=True)
    (pair,) = chat.pairs("Q", ["Paris"], None)
    assert tokenizer.decode(pair.context + pair.continuation) == "<s>[user] Q\n[assistant]Paris"
    (pair,) = chat.pairs("Q", ["Paris"], " ")
    assert tokenizer.decode(pair.continuation) == " Paris"


def test_whether_it_chats(folder: Path, chatty: Path) -> None:
    chats = [loaded(place, chat=chat)._prompting.chat for place, chat in
             ((folder, "auto"), (chatty, "auto"), (chatty, False), (chatty, True))]  # fmt: skip
    assert chats == [False, True, False, True]
    assert Prompting(loaded(folder)._tokenizer).tokens("<s>A", 9)[0].count(0) == 1, (
        "a BOS that is spelled out is the only one"
    )


def test_the_boundary_between_prompt_and_choice() -> None:
    def encode(text: str) -> list[int]:
        return [ord(c) for c in text]

    assert encode_pair("ab ", "c", encode, [1], 2) == Pair([1, 97, 98], [32, 99])
    assert encode_pair("", "c", encode, [], 2) == Pair([2], [99])
    assert encode_pair(" ", "c", encode, [1], 2) == Pair([1], [32, 99])
    with pytest.raises(ValueError, match="neither a BOS nor an EOS"):
        encode_pair("", "c", encode, [], None)
    with pytest.raises(ValueError, match="'' has no token of its own"):
        encode_pair("ab", "", encode, [1], 2)


class Counting(torch.nn.Module):
    """A model whose next token is surely the last one plus 1; it writes down the shapes it is asked for."""

    def __init__(self, overflow: bool = False) -> None:
        super().__init__()
        self.asked: list[tuple[int, ...]] = []
        self.overflow = overflow

    def forward(self, input_ids: Any, attention_mask: Any, use_cache: bool) -> Any:
        self.asked.append(tuple(input_ids.shape))
        logits = 5.0 * torch.nn.functional.one_hot((input_ids + 1) % 10, 10)
        return type("Output", (), {"logits": logits * (float("nan") if self.overflow else 1.0)})


def test_choices_of_one_token_cost_one_row_and_batches_hold_what_they_may() -> None:
    model = Counting()
    pairs = [Pair([1, 2], [3]), Pair([1, 2], [4]), Pair([1, 2], [3, 4]), Pair([7], [8])]
    found = likelihoods(model, pairs, 100, 2, "cpu")
    assert model.asked == [(2, 3), (1, 1)], "longest first, [1, 2] once for two choices"
    sure, other = (float(torch.tensor([5.0] + [0.0] * 9).log_softmax(0)[i]) for i in (0, 1))
    assert [one.log_likelihood for one in found] == pytest.approx([sure, other, 2 * sure, sure])
    assert [one.greedy for one in found] == [True, False, True, True]
    split = likelihoods(Counting(), [Pair([1], [2, 3]), Pair([1, 2], [3])], 100, 2, "cpu")
    assert [one.log_likelihood for one in split] == pytest.approx([2 * sure, sure])


def test_what_can_not_be_weighed() -> None:
    with pytest.raises(ValueError, match="a choice has 3 tokens, more than max_seq_len=2"):
        likelihoods(Counting(), [Pair([1], [2, 3, 4])], 2, 1, "cpu")
    with pytest.raises(ValueError, match=r"log-likelihood is nan.*float32"):
        likelihoods(Counting(overflow=True), [Pair([1], [2])], 9, 1, "cpu")
    assert likelihoods(Counting(), [], 9, 1, "cpu") == []


def test_which_answers_are_asked_for(folder: Path) -> None:
    case = request(FRANCE, ["Rome", "Paris"])
    both = loaded(folder).generate([case])[0]
    weighed = loaded(folder, answer_by="likelihood").generate([case])[0]
    spoken = loaded(folder, answer_by="generation").generate([case])[0]
    assert spoken == Answer(both.text, [])
    assert weighed.choices == both.choices
    assert weighed.text == max(both.choices, key=lambda choice: choice.log_likelihood).text


def test_review_of_the_cases() -> None:
    cases = [Case(id="a", prompt="p", fields={"choices": ["x", "y"]}), Case(id="b", prompt="p")]
    assert list(CausalLM().review(cases, 1)) == []
    (problem,) = CausalLM(answer_by="likelihood").review(cases, 1)
    assert "of 1 cases: `b`: it has no field choices" in problem.wrong  # type: ignore[union-attr]
    (problem,) = CausalLM(choices_field="choice").review(cases, 1)
    assert problem.where == "model.choices_field" and "choices" in problem.fix  # type: ignore[union-attr]
    bad = [
        Case(id=str(i), fields={"choices": given}) for i, given in enumerate(("AB", [], ["x", "x"], ["x", {}], [" "]))
    ]
    (problem,) = CausalLM().review(bad, 1)
    assert "of 5 cases" in problem.wrong  # type: ignore[union-attr]
    assert list(CausalLM(answer_by="generation").review(bad, 1)) == []
    (note,) = CausalLM().review([], 3)
    assert str(note).startswith("all 3 samples of a case will be the same")
    assert list(CausalLM(generation={"do_sample": True}).review([], 3)) == []


def test_problems_of_settings(folder: Path, chatty: Path) -> None:
    def wheres(**arguments: Any) -> list[tuple[str, str]]:
        model = CausalLM(**{"path": str(folder), "max_out_len": 8, **arguments})
        return [(problem.where, problem.fix or problem.allowed) for problem in model.problems()]

    assert wheres() == []
    assert wheres(path=None)[0][0] == "model.path"
    assert wheres(generation={"temprature": 1}) == [("model.generation.temprature", "did you mean `temperature`?")]
    assert wheres(generation={"max_new_tokens": 1}) == [("model.generation.max_new_tokens", "model.max_out_len=...")]
    assert wheres(generation={"top_p": 0.5}) == [("model.generation.top_p", "model.generation.do_sample=true")]
    assert wheres(generation={"top_p": 0.5, "do_sample": True}) == []
    assert wheres(max_out_len=256) == [("model.max_out_len", "less than 256")]
    assert wheres(max_out_len=9, max_seq_len=9) == [("model.max_out_len", "less than 9")]
    assert wheres(max_out_len=256, answer_by="likelihood") == []
    assert wheres(model_kwargs={"dtype": "float8"})[0][0] == "model.model_kwargs.dtype"
    assert wheres(stop=[""]) == [("model.stop", "remove it")]
    assert wheres(chat=True) == [("model.chat", "model.chat=false")]
    assert wheres(chat=False, system="Be brief.") == [("model.system", "model.chat=true")]
    assert wheres(path=str(chatty), chat=True, system="Be brief.") == []


def test_problems_of_folders(folder: Path, adapter: Path, tmp_path: Path) -> None:
    def said(**arguments: Any) -> list[str]:
        return [
            problem.wrong for problem in CausalLM(**{"path": str(folder), "max_out_len": 8, **arguments}).problems()
        ]

    empty = tmp_path / "empty"
    empty.mkdir()
    assert said(path=str(empty)) == ["has no config.json"]
    assert said(path=str(tmp_path / "nowhere")) == ["no such folder, and no name of a repository"]
    assert said(peft_path=str(empty)) == ["has no adapter_config.json, so it is no adapter of PEFT"]
    assert said(tokenizer_path=str(empty)) == ["holds no tokenizer"]
    shards = tiny.build(tmp_path / "shards", shards=True)
    first, second, *_ = sorted(shards.glob("model-*.safetensors"))
    first.rename(tmp_path / "away")
    assert said(path=str(shards)) == [f"lacks {first.name}"]
    second.write_bytes(second.read_bytes()[:-100])
    assert [words.split(",")[0] for words in said(path=str(shards))] == [f"lacks {first.name}", f"holds {second.name}"]
    whole = shutil.copytree(folder, tmp_path / "whole")
    (whole / "model.safetensors").unlink()
    assert said(path=str(whole)) == ["lacks model.safetensors (or its shards, or pytorch_model.bin)"]
    (whole / "config.json").write_text("{")
    assert said(path=str(whole))[0].startswith("has a config.json that can't be read")
    half = shutil.copytree(adapter, tmp_path / "half")
    (half / "adapter_model.safetensors").unlink()
    assert said(peft_path=str(half)) == ["lacks adapter_model.safetensors (or adapter_model.bin)"]


def test_identity_is_the_content_and_not_the_place(folder: Path, adapter: Path, tmp_path: Path) -> None:
    known = CausalLM(path=str(folder)).identity()
    moved = shutil.copytree(folder, tmp_path / "moved")
    (moved / "trainer_state.json").write_text("{}")
    assert CausalLM(path=str(moved)).identity() == known
    assert {"path", "peft_path", "tokenizer_path"} <= set(CausalLM.execution_only)
    content = bytearray((moved / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (moved / "model.safetensors").write_bytes(content)
    changed = CausalLM(path=str(moved)).identity()
    assert changed["checkpoint"] != known["checkpoint"] and changed["tokenizer"] == known["tokenizer"]
    tiny.save_tokenizer(tmp_path / "tokens", tiny.TEMPLATE)
    chatting = CausalLM(path=str(folder), tokenizer_path=str(tmp_path / "tokens")).identity()
    assert chatting["checkpoint"] == known["checkpoint"] and chatting["tokenizer"] != known["tokenizer"]
    with_adapter = CausalLM(path=str(folder), peft_path=str(adapter)).identity()
    settings = shutil.copytree(adapter, tmp_path / "adapter") / "adapter_config.json"
    settings.write_text(settings.read_text().replace('"lora_alpha": 32', '"lora_alpha": 16'))
    weaker = CausalLM(path=str(folder), peft_path=str(settings.parent)).identity()
    assert len({known.get("adapter"), with_adapter["adapter"], weaker["adapter"]}) == 3


def test_weights_of_the_hub(folder: Path, tmp_path: Path, own_hub_cache: Path) -> None:
    assert list(CausalLM(path=str(folder)).weights()) == []
    (absent,) = CausalLM(path="lab/tiny").weights()
    assert (absent.repository, absent.wrong(), absent.fetchable) == ("lab/tiny", "is missing", True)
    cached = own_hub_cache / "models--lab--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("c0ffee")
    shards = tiny.build(cached / "snapshots" / "c0ffee", shards=True)
    model = CausalLM(path="lab/tiny", max_out_len=8)
    assert [one.wrong() for one in model.weights()] == [""] and list(model.problems()) == []
    assert model.identity() == CausalLM(path=str(shards)).identity()
    (first, *_) = sorted(shards.glob("model-*.safetensors"))
    first.unlink()
    assert [one.wrong() for one in model.weights()] == [f"lacks {first.name}"] and list(model.problems()) == []
    two = CausalLM(path=str(folder), peft_path="lab/lora", tokenizer_path="lab/tokens").weights()
    assert [(one.repository, one.wrong()) for one in two] == [("lab/lora", "is missing"), ("lab/tokens", "is missing")]


def test_the_packages_that_it_takes() -> None:
    assert CausalLM().requires == ("torch", "transformers")
    assert CausalLM(peft_path="a", gpus_per_worker=2).requires == ("torch", "transformers", "peft", "accelerate")


def test_too_few_gpus_say_which_setting_gives_more(folder: Path) -> None:
    with pytest.raises(UserError, match=r"the worker has 0 GPUs(.|\n)*compute.infer.gpus_per_worker=2"):
        CausalLM(path=str(folder), gpus_per_worker=2).load("cpu")
