"""Pipelines of diffusers with random weights, small enough to run within a second on one core; saved as real ones are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

WORDS = ["a", "an", "the", "of", "in", "on", "cat", "dog", "red", "cup", "rocket", "camera", "pans", "zooms", "still"]


def clip_tokenizer(length: int = 16) -> Any:
    """Return a word-level tokenizer with the special tokens and the interface of CLIP's."""
    return _tokenizer(["<|startoftext|>", "<|endoftext|>"], "<|endoftext|>", "<|endoftext|>", length)


def t5_tokenizer(length: int = 16) -> Any:
    """Return a word-level tokenizer with the special tokens of T5's."""
    return _tokenizer(["<pad>", "</s>", "<unk>"], "<pad>", "</s>", length, unknown="<unk>")


def _tokenizer(special: list[str], pad: str, end: str, length: int, unknown: str = "<|endoftext|>") -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(WordLevel(words, unk_token=unknown))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=unknown, pad_token=pad, eos_token=end, model_max_length=length
    )


def stable_diffusion(seed: int = 0) -> Any:
    """Return a StableDiffusionPipeline that makes 32x32 pictures; of its folder, image-to-image is loaded just as well."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
    )
    text = CLIPTextConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=clip_tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def cogvideox(seed: int = 0, image_to_video: bool = False) -> Any:
    """Return a CogVideoXPipeline (or the one that begins with a picture) for 16x16 clips of 8 frames."""
    import torch
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXImageToVideoPipeline,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4, attention_head_dim=16 if image_to_video else 8,
        in_channels=8 if image_to_video else 4, out_channels=4,
        time_embed_dim=2, text_embed_dim=32, num_layers=1, sample_width=2, sample_height=2, sample_frames=9,
        patch_size=2, temporal_compression_ratio=4, max_text_seq_length=16,
        use_rotary_positional_embeddings=image_to_video, use_learned_positional_embeddings=image_to_video,
    )  # fmt: skip
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4,
    )  # fmt: skip
    text = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, pad_token_id=0)
    make = CogVideoXImageToVideoPipeline if image_to_video else CogVideoXPipeline
    return make(
        tokenizer=t5_tokenizer(),
        text_encoder=T5EncoderModel(text).eval(),
        vae=vae,
        transformer=transformer,
        scheduler=CogVideoXDDIMScheduler(),
    )


def ddpm(seed: int = 0) -> Any:
    """Return a DDPMPipeline, which makes 8x8 pictures of nothing but noise."""
    import torch
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(seed)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(sample_size=8, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=2, **blocks)
    return DDPMPipeline(unet=unet, scheduler=DDPMScheduler())


def save(pipeline: Any, folder: Path, shards: Iterable[str] = (), **arguments: Any) -> Path:
    """Save a pipeline and return its folder; the components named in `shards` are split into several files of weights."""
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder, **arguments)
    for name in shards:
        component = getattr(pipeline, name)
        for path in (folder / name).glob("*.safetensors"):
            path.unlink()
        size = sum(parameter.numel() * parameter.element_size() for parameter in component.parameters())
        component.save_pretrained(folder / name, max_shard_size=size // 3, **arguments)
    return folder
