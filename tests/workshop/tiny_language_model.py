"""Tiny language models with random weights, saved as transformers saves real ones: 40 kB, no network, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CORPUS = (
    "Question: What is the capital of France? Answer: Paris",
    "Question: What is the capital of Italy? Answer: Rome",
    "Question: Which city lies on the river Seine? Answer: Paris is the city on the Seine",
    "The answer is A. The answer is B. The answer is C. The answer is D.",
    "A red apple, a green pear and a blue plum lie on the table in the kitchen.",
)
BOS, EOS = "<s>", "</s>"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% if shout is defined %} {{ shout }}{% endif %}{% endif %}"
)


def build(
    folder: Path, *, seed: int = 0, positions: int = 256, template: str | None = None, shards: bool = False
) -> Path:
    """Save a Llama of two layers and a byte-level BPE tokenizer that puts BOS first; return the folder.

    Its weights are drawn wide, so that logits are well apart and greedy answers don't hang on rounding.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = save_tokenizer(folder, template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        initializer_range=0.4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    model.generation_config.update(temperature=0.1, do_sample=True, repetition_penalty=5.0)  # must not count
    model.save_pretrained(folder, max_shard_size="40KB" if shards else "1GB")
    return folder


def save_tokenizer(folder: Path, template: str | None = None) -> Any:
    """Save a tokenizer in a folder and return it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=[BOS, EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(f"{BOS} $A", special_tokens=[(BOS, 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)
    fast.chat_template = template
    fast.save_pretrained(folder)
    return fast


def add_adapter(model: Path, folder: Path, seed: int = 1) -> Path:
    """Save a LoRA adapter of the model that changes its answers; return its folder."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model),
        LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM"),
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder)
    return folder
