"""transformers' Auto classes, chat templates and pipelines take a DEFT-LLM as any other model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForImageTextToText,
    AutoProcessor,
    pipeline,
)

from deft_llm.clip import Clip
from deft_llm.data.features import Features, FeatureSizes, pack
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.feature_extraction_deft import DeftFeatureExtractor
from deft_llm.deft.modeling_deft import CLIP_INPUTS
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.errors import UserError
from deft_llm.motion.measure import Measurement

ROOT = Path(__file__).resolve().parents[2]
MakeFeatures = Callable[[int], Features]
KNOWN = """
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForImageTextToText
from transformers import AutoProcessor
folder = {folder!r}
config = AutoConfig.from_pretrained(folder)
model = AutoModelForImageTextToText.from_config(config)
for known in (config, model, *(a.from_pretrained(folder) for a in (AutoFeatureExtractor,
    AutoProcessor))):
    assert type(known).__module__.startswith("deft_llm."), known
"""


def in_its_own_process(code: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_else(tmp_path: Path) -> None:
    heavy = ("torch", "transformers", "numpy", "pydantic")
    code = f"import deft_llm, sys; assert not {{*{heavy}}} & sys.modules.keys()"
    in_its_own_process(code, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "import deft_llm",
        "import transformers, deft_llm",
        "from transformers import AutoModel, AutoProcessor; import deft_llm",
        "import deft_llm; from transformers import AutoProcessor",
        "import deft_llm; from transformers import GenerationMixin, Trainer, pipeline",
        "import deft_llm, peft",
        # Each module asks for the Auto classes while it is being imported itself.
        "import deft_llm.deft.backbones",
        "import deft_llm.deft.backbone_entries",
        "import deft_llm.deft.experts",
        "import deft_llm.deft.feature_extraction_deft",
        "import deft_llm.deft.processing_deft",
        "import deft_llm.deft.tuning.train",
    ],
)
def test_in_whatever_order_the_packages_are_imported(
    first: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    in_its_own_process(first + KNOWN.format(folder=str(tiny_checkpoint)), tmp_path)


@torch.no_grad()
def test_auto_classes_save_and_load_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).to_diff_dict() == model.config.to_diff_dict()
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], values) for name, values in model.state_dict().items())
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert extractor.to_dict() == loaded.feature_extractor.to_dict()
    assert loaded.to_dict() == processor.to_dict()


# -------------------------------------------------------------------------- content parts


def talk(*parts: Any, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": list(parts)}]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize("kind", ["video", "clip"])
@pytest.mark.parametrize("source", ["path", "video", "clip", "url"])
def test_parts_and_the_marked_text_are_the_same_input(
    processor: DeftProcessor, make_features: MakeFeatures, kind: str, source: str
) -> None:
    messages = talk({"type": kind, source: make_features(0)}, text("What moved?"))
    found = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    marked = processor.chat([{"role": "user", "content": "<clip>What moved?"}])
    expected = processor(marked, make_features(0))
    assert found.keys() == expected.keys() == {"input_ids", "attention_mask", *CLIP_INPUTS}
    assert all(torch.equal(found[name], values) for name, values in expected.items())
    options: dict[str, Any] = {"add_generation_prompt": True}
    assert processor.apply_chat_template(messages, **options) == marked
    ids = processor.apply_chat_template(messages, tokenize=True, **options)
    assert torch.equal(ids, expected["input_ids"])


def test_several_conversations_with_several_clips_each(
    processor: DeftProcessor, make_features: MakeFeatures
) -> None:
    one = talk(
        {"type": "video", "path": make_features(0)},
        {"type": "video", "path": make_features(1)},
        text("Do both clips show the same class of expression?"),
    )
    two = [
        *talk({"type": "clip", "clip": make_features(2)}, text("Why?")),
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "What moved?"},
    ]
    found = processor.apply_chat_template([one, two], tokenize=True, return_dict=True)
    assert found["input_ids"].shape[0] == 2 and found["structure"].shape[0] == 3
    expected = processor.feature_extractor([make_features(i) for i in range(3)])
    assert all(torch.equal(found[name], expected[name]) for name in CLIP_INPUTS)
    assert not found["attention_mask"][1, 0] and found["attention_mask"][1, -1], "on the left"
    right = processor.apply_chat_template(
        [one, two], tokenize=True, return_dict=True, processor_kwargs={"padding_side": "right"}
    )
    assert right["attention_mask"][1, 0] and not right["attention_mask"][1, -1]
    direct: dict[str, Any] = {"padding": True, "padding_side": "right"}
    again = processor.apply_chat_template([one, two], tokenize=True, return_dict=True, **direct)
    assert torch.equal(again["input_ids"], right["input_ids"])


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"type": "image", "path": "face.png"}, "no single images"),
        ({"type": "audio", "path": "voice.wav"}, "no sound"),
        ({"type": "text"}, "expected {'type': 'text'"),
        (3, "expected {'type': 'text'"),
        ({"type": "video"}, "1 <clip> marks in the text, but 0 clips"),
        ({"type": "video", "path": "no/such.mp4"}, "no such file"),
        ({"type": "video", "url": "https://example.org/a.mp4"}, "nothing is downloaded"),
        ({"type": "video", "path": 3}, "expected the path of a video"),
        (text("<clip>"), "1 <clip> marks in the text, but 0 clips"),
    ],
)
def test_a_wrong_part_is_one_line(processor: DeftProcessor, part: Any, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        processor.apply_chat_template(talk(part, text("Why?")), tokenize=True)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_message_without_content_is_one_line(processor: DeftProcessor) -> None:
    with pytest.raises(UserError, match="expected a mapping with role and content"):
        processor.apply_chat_template([{"role": "user"}])
    # As OpenAI writes an answer that is a call; the keys of a mapping were taken for its text.
    for content in (None, 3, {"type": "text", "text": "Why?"}):
        with pytest.raises(UserError, match=r"content .*expected a text, or a list of parts"):
            processor.apply_chat_template([{"role": "user", "content": content}])


# --------------------------------------------------------------------------------- clips


def test_whatever_stands_for_a_clip_gives_the_same_features(
    make_measurement: Callable[..., Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    measurement = make_measurement()
    clip = Clip("a", measurement.aligned.frames, measurement.aligned.timestamps)
    measured = "deft_llm.data.measuring.measure_video"
    monkeypatch.setattr(measured, lambda source: (clip, measurement))
    extractor = DeftFeatureExtractor()
    expected = extractor(pack(measurement))
    for source in (measurement, clip, "a.mp4", Path("a.mp4")):
        found = extractor(source)
        assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_a_clip_has_the_sizes_that_the_model_reads(
    make_measurement: Callable[..., Measurement], tmp_path: Path
) -> None:
    """A processor is saved with its sizes, as it measures without the model at hand."""
    config = DeftConfig(structure_size=32, texture_size=24, texture_frames=4, map_size=28)
    DeftFeatureExtractor.for_model(config).save_pretrained(tmp_path)
    features = DeftFeatureExtractor.from_pretrained(tmp_path).features(make_measurement())
    expected = pack(make_measurement(), FeatureSizes(32, 24, 4, 28))
    assert all(np.array_equal(features[name], values) for name, values in expected.items())


# ------------------------------------------------------------------------------ pipelines


def test_a_pipeline_answers_as_generate_does(
    tiny_checkpoint: Path, make_features: MakeFeatures
) -> None:
    pipe: Any = pipeline("image-text-to-text", model=str(tiny_checkpoint), device="cpu")
    chats = [
        talk({"type": "video", "path": make_features(seed)}, text("What moved?")) for seed in (0, 1)
    ]
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
    answers = pipe(text=chats, return_full_text=False, **options)
    inputs = pipe.processor.apply_chat_template(
        chats, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    written = pipe.model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    expected = pipe.processor.batch_decode(written, skip_special_tokens=True)
    assert [answer[0]["generated_text"] for answer in answers] == expected
