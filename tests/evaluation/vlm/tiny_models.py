"""Tiny vision-language models that have learnt nothing, in the files of the published ones.

The files are those of the models on the hub: configuration, weights, ``preprocessor_config.json``,
``video_preprocessor_config.json``, tokenizer and chat template.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    InternVLConfig,
    LlavaOnevisionConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
)

KINDS = ("qwen2_5_vl", "qwen3_vl", "internvl", "llava_onevision")
_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>", "<image>", "<video>", "<img>", "</img>", "<IMG_CONTEXT>"),
)
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% for p in m.content %}{% if p.type == 'image' %}PICTURE{% else %}{{ p.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 4096,
    "bos_token_id": None,
    "eos_token_id": 258,
    "pad_token_id": 256,
}
_EYE: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48}
_QWEN_EYE = {**_EYE, "depth": 2, "num_heads": 4, "out_hidden_size": 32}
_VIT = {**_EYE, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 14}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
_HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_PATCHES = {"temporal_patch_size": 2, "merge_size": 2, **_HALF}
_SQUARE = {"size": {"height": 56, "width": 56}, "do_resize": True, "do_rescale": True, **_HALF}
_GRID = [[56, 56], [112, 56]]


def tiny_vlm(kind: str, folder: Path, template: bool = True) -> Path:
    """Write a model of a kind into a folder, with its chat template or without."""
    tokenizer = _tokenizer(kind)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(_config(kind, tokenizer.convert_tokens_to_ids))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor, picture, pictures, videos = _processing(kind)
    if template:
        (folder / "chat_template.jinja").write_text(_TEMPLATE.replace("PICTURE", picture))
    _write(folder / "preprocessor_config.json", {"processor_class": processor, **pictures})
    _write(folder / "video_preprocessor_config.json", {**pictures, "video_processor_type": videos})
    own: dict[str, dict[str, Any]] = {
        "internvl": {"image_seq_length": 4},
        "llava_onevision": {
            "num_image_tokens": 16,
            "vision_feature_select_strategy": "full",
            "vision_aspect_ratio": "anyres_max_9",
        },
    }
    if kind in own:
        _write(folder / "processor_config.json", {"processor_class": processor, **own[kind]})
    return folder


def _tokenizer(kind: str) -> PreTrainedTokenizerFast:
    letters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        **({"extra_special_tokens": named} if kind == "internvl" else {}),
    )


def _config(kind: str, number: Any) -> Any:
    tokens = {
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
    }
    if kind == "qwen2_5_vl":
        eye = {**_QWEN_EYE, "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 56}
        text = {**_TEXT, "rope_parameters": _ROPE}
        return Qwen2_5_VLConfig(text_config=text, vision_config=eye, **tokens)
    if kind == "qwen3_vl":
        eye = {**_QWEN_EYE, "patch_size": 16, "num_position_embeddings": 64}
        text = {**_TEXT, "head_dim": 8, "rope_parameters": {**_ROPE, "mrope_interleaved": True}}
        eye |= {"deepstack_visual_indexes": [0]}
        return Qwen3VLConfig(text_config=text, vision_config=eye, **tokens)
    text = {**_TEXT, "model_type": "qwen2"}
    if kind == "internvl":
        eye = {**_VIT, "image_size": [56, 56], "patch_size": [14, 14]}
        return InternVLConfig(
            text_config=text,
            vision_config=eye,
            image_token_id=number("<IMG_CONTEXT>"),
            image_seq_length=4,
        )
    eye = {**_VIT, "model_type": "siglip_vision_model", "image_size": 56, "vision_use_head": False}
    return LlavaOnevisionConfig(
        text_config=text,
        vision_config=eye,
        image_token_index=number("<image>"),
        video_token_index=number("<video>"),
        image_grid_pinpoints=_GRID,
        vision_feature_layer=-1,
    )


def _processing(kind: str) -> tuple[str, str, dict[str, Any], str]:
    """Processor, place of a picture in the template, its settings, and processor of videos."""
    qwen = "<|vision_start|><|image_pad|><|vision_end|>"
    if kind == "qwen2_5_vl":
        own = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, **_PATCHES}
        own |= {"min_pixels": 3136, "max_pixels": 6272}
        return "Qwen2_5_VLProcessor", qwen, own, "Qwen2VLVideoProcessor"
    if kind == "qwen3_vl":
        own = {"image_processor_type": "Qwen2VLImageProcessorFast", "patch_size": 16, **_PATCHES}
        own |= {"size": {"shortest_edge": 4096, "longest_edge": 8192}}
        return "Qwen3VLProcessor", qwen, own, "Qwen3VLVideoProcessor"
    if kind == "internvl":
        own = {"image_processor_type": "GotOcr2ImageProcessorFast", **_SQUARE}
        own |= {"crop_to_patches": False, "min_patches": 1, "max_patches": 4}
        return "InternVLProcessor", "<IMG_CONTEXT>\n", own, "InternVLVideoProcessor"
    own = {"image_processor_type": "LlavaOnevisionImageProcessor", **_SQUARE}
    own |= {"image_grid_pinpoints": _GRID, "do_pad": True, "resample": 3}
    return "LlavaOnevisionProcessor", "<image>", own, "LlavaOnevisionVideoProcessor"


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values))
