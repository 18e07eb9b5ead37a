"""Small CLIP models with random weights, as the package `clip` and as transformers keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def random_clip(seed: int = 0) -> Any:
    """Return a network of the package `clip` for pictures of 32 x 32 pixels; it knows the whole vocabulary."""
    import torch
    from clip.model import CLIP

    torch.manual_seed(seed)
    sizes = {"embed_dim": 32, "image_resolution": 32, "context_length": 77, "vocab_size": 49408}
    vision = {"vision_layers": 2, "vision_width": 64, "vision_patch_size": 8}
    text = {"transformer_width": 64, "transformer_heads": 1, "transformer_layers": 2}
    network = CLIP(**sizes, **vision, **text).eval()
    with torch.no_grad():  # as they begin, position and content weigh so little that all texts are alike
        network.token_embedding.weight.normal_(0, 1)
    return network


def save_state_dict(path: Path, seed: int = 0) -> Path:
    """Write the tensors alone."""
    import torch

    torch.save(random_clip(seed).state_dict(), path)
    return path


def save_archive(path: Path, seed: int = 0) -> Path:
    """Write a TorchScript archive, as the released checkpoints are."""
    import torch

    network = random_clip(seed)
    torch.jit.trace(network, (torch.zeros(1, 3, 32, 32), torch.zeros(1, 77, dtype=torch.int))).save(str(path))
    return path


def save_folder(folder: Path, seed: int = 0) -> Path:
    """Write a folder for transformers, with a tokenizer that knows single bytes and no merges."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder.mkdir(parents=True)
    own = [chr(byte) for byte in (*range(33, 127), *range(161, 173), *range(174, 256))]
    letters = own + [chr(256 + n) for n in range(256 - len(own))]  # a printable character for each byte
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: index for index, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(seed)
    config = CLIPConfig(text_config=size | ends, vision_config=size | {"image_size": 32, "patch_size": 8})
    network = CLIPModel(config)
    with torch.no_grad():
        network.text_model.embeddings.token_embedding.weight.normal_(0, 1)
        network.vision_model.embeddings.patch_embedding.weight.normal_(0, 0.1)
    network.save_pretrained(folder)
    return folder
