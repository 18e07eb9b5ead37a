"""From a prompt to the tokens that a language model reads: chat template, opening tokens, and what is too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.model.language.likelihood import Pair, encode_pair


@dataclass
class Prompting:
    """How prompts are put to a tokenizer; `chat` renders its chat template, with `system` as the first message if given.

    Without a template a text begins with those special tokens that the tokenizer puts first (BOS). Those that it puts last
    are left out, for the model is to go on. `options` are handed to the template.
    """

    tokenizer: Any
    chat: bool = False
    system: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bare, whole = self.encode("a"), self.tokenizer.encode("a")
        starts = [i for i in range(len(whole) - len(bare) + 1) if whole[i : i + len(bare)] == bare]
        self._opening: list[int] = whole[: starts[0]] if starts else []

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, special ones only where they are spelled out."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def render(self, prompt: str) -> str:
        """Return the text that stands for a prompt: in a chat, up to where the answer begins."""
        if not self.chat:
            return prompt
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": prompt})
        return str(
            self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **self.options)
        )

    def opening(self, text: str) -> list[int]:
        """Return the tokens that come before a rendered text: none if it spells them out."""
        bos = self.tokenizer.bos_token
        return [] if self.chat or (bos and text.startswith(bos)) else self._opening

    @property
    def empty(self) -> int | None:
        """The token that stands for an empty prompt: BOS, else EOS, as in lm-evaluation-harness."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return eos if bos is None else bos

    def tokens(self, prompt: str, most: int) -> tuple[list[int], int]:
        """Return a prompt's tokens, at most `most`, and how many were left out.

        The beginning of a long prompt is left out; in a chat that of its content, so that the template stays whole.
        Raises: ValueError if the template alone is too long, or the prompt is empty and nothing stands for it.
        """
        text = self.render(prompt)
        whole = found = [*self.opening(text), *self.encode(text)]
        if not found and self.empty is None:
            raise ValueError("the prompt is empty and the tokenizer has neither a BOS nor an EOS token")
        if len(found) > most and not self.chat:
            found = found[-most:]
        kept = self.encode(prompt)
        while len(found) > most:
            if not kept:
                raise ValueError(f"the chat template alone has {len(found)} tokens, and the prompt may have {most}")
            kept = kept[len(found) - most :]
            found = self.encode(self.render(self.tokenizer.decode(kept)))
        return found or [self.empty], len(whole) - len(found)  # type: ignore[list-item]

    def pairs(self, prompt: str, choices: Sequence[str], delimiter: str | None) -> list[Pair]:
        """Return the prompt with each choice after it.

        `delimiter` stands between them unless the prompt ends in white space; None: a space, or nothing in a chat.
        """
        text = self.render(prompt)
        between = ("" if self.chat else " ") if delimiter is None else delimiter
        between = "" if text[-1:].isspace() else between
        opening = self.opening(text)
        return [encode_pair(text, between + choice, self.encode, opening, self.empty) for choice in choices]
