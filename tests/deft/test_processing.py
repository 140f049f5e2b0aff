"""Clips expand into exactly the experts' tokens, and only answers are learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.deft.configuration_deft import EXPERTS, DeftConfig
from deft_llm.deft.processing_deft import (
    IGNORE_INDEX,
    SPECIAL_TOKENS,
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
    placeholder,
)
from deft_llm.errors import UserError

MakeFeatures = Callable[[int], Features]
CONVERSATION = [
    {"role": "user", "content": "<clip>What moved?"},
    {"role": "assistant", "content": "The chin moves up, slight."},
    {"role": "user", "content": "Which action units are active?"},
    {"role": "assistant", "content": "AU17 chin raiser"},
]


def question(processor: DeftProcessor, text: str = "<clip>Why?") -> str:
    return processor.chat([{"role": "user", "content": text}])


def test_placeholders_are_as_many_as_tokens(
    processor: DeftProcessor, config: DeftConfig, make_features: MakeFeatures
) -> None:
    texts = [question(processor), question(processor, "<clip>What is the coarse class?")]
    inputs = processor(texts, [make_features(0), make_features(1)])
    for name, count in config.token_counts().items():
        token = config.placeholder_ids()[name]
        assert token == processor.tokenizer.convert_tokens_to_ids(placeholder(name))
        assert (inputs["input_ids"] == token).sum(1).tolist() == [count, count]
    assert config.token_counts()["motion"] == len(config.aus) + 20
    assert len(set(config.placeholder_ids().values())) == len(EXPERTS)


def test_padding_is_on_the_left_and_masked(
    processor: DeftProcessor, make_features: MakeFeatures
) -> None:
    inputs = processor(
        [question(processor), question(processor, "<clip>Explain the expression.")],
        [make_features(0), make_features(1)],
    )
    mask = inputs["attention_mask"]
    assert mask[1].all()
    assert not mask[0, 0]
    assert mask[:, -1].all()
    assert (inputs["input_ids"][mask == 0] == processor.tokenizer.pad_token_id).all()
    assert inputs["structure"].shape == (2, 3, 64, 64)


def test_the_chat_ends_where_the_answer_begins(processor: DeftProcessor) -> None:
    assert question(processor, "Why?") == "<|user|>Why?<|end|><|assistant|>"


@pytest.mark.parametrize(("text", "clips"), [("<clip>a", 0), ("a", 1), ("<clip><clip>a", 1)])
def test_clips_and_marks_must_agree(
    processor: DeftProcessor, make_features: MakeFeatures, text: str, clips: int
) -> None:
    with pytest.raises(UserError) as caught:
        processor(text, [make_features(i) for i in range(clips)])
    assert f"{text.count('<clip>')} <clip> marks" in str(caught.value)
    assert f"but {clips} clips" in str(caught.value)


def test_words_alone_need_no_clip(processor: DeftProcessor) -> None:
    assert set(processor("Why?")) == {"input_ids", "attention_mask"}


def test_only_answers_are_learned(processor: DeftProcessor) -> None:
    ids, labels = processor.encode_conversation(CONVERSATION)
    assert len(ids) == len(labels)
    assert all(label in (IGNORE_INDEX, token) for token, label in zip(ids, labels, strict=True))
    learned = processor.tokenizer.decode([label for label in labels if label != IGNORE_INDEX])
    assert learned == "The chin moves up, slight.<|end|>AU17 chin raiser<|end|>"


def test_a_conversation_is_the_chat_template_with_clips_in_place(processor: DeftProcessor) -> None:
    ids, _ = processor.encode_conversation(CONVERSATION)
    text = processor.tokenizer.apply_chat_template(CONVERSATION, tokenize=False)
    assert processor.tokenizer.decode(ids) == text.replace("<clip>", processor.span)


def test_the_prompt_in_training_is_the_prompt_in_use(
    processor: DeftProcessor, make_features: MakeFeatures
) -> None:
    """A different split at the border would ask the model for something it never saw."""
    ids, labels = processor.encode_conversation(CONVERSATION[:2])
    asked = processor(processor.chat(CONVERSATION[:1]), make_features(0))["input_ids"][0].tolist()
    assert ids[: len(asked)] == asked
    assert labels[: len(asked)] == [IGNORE_INDEX] * len(asked)
    assert labels[len(asked)] == ids[len(asked)]


@pytest.mark.parametrize(
    "words", [("end", "Why?", "user"), ("no", "no", "no"), ("|", "|", "|>"), ("", "<clip", "")]
)
def test_answers_are_found_whatever_their_words(
    processor: DeftProcessor, words: tuple[str, str, str]
) -> None:
    """They may stand in the template, or in a question."""
    roles = ("assistant", "user", "assistant")
    turns = [{"role": r, "content": w} for r, w in zip(roles, words, strict=True)]
    talk = [CONVERSATION[0], *turns]
    ids, labels = processor.encode_conversation(talk)
    text = processor.tokenizer.apply_chat_template(talk, tokenize=False)
    assert processor.tokenizer.decode(ids) == text.replace("<clip>", processor.span)
    learned = processor.tokenizer.decode([label for label in labels if label != IGNORE_INDEX])
    assert learned == f"{words[0]}<|end|>{words[2]}<|end|>"


def test_a_question_without_an_answer_teaches_nothing(processor: DeftProcessor) -> None:
    assert processor.encode_conversation(CONVERSATION[:1]) == ([], [])


def test_adding_the_experts_tokens_twice_adds_nothing(
    processor: DeftProcessor, config: DeftConfig
) -> None:
    before, ids = len(processor.tokenizer), config.placeholder_ids()
    assert add_expert_tokens(processor.tokenizer, config) == 0
    assert (len(processor.tokenizer), config.placeholder_ids()) == (before, ids)
    for token in SPECIAL_TOKENS:
        assert len(processor.tokenizer(token)["input_ids"]) == 1


def test_the_chat_tokens_outlive_the_experts_tokens(processor: DeftProcessor) -> None:
    for token in ("<|user|>", "<|assistant|>", "<|end|>"):
        assert len(processor.tokenizer(token)["input_ids"]) == 1
        assert (
            processor.tokenizer.decode(
                processor.tokenizer(token)["input_ids"], skip_special_tokens=True
            )
            == ""
        )


def test_a_saved_processor_is_the_same(
    processor: DeftProcessor, config: DeftConfig, make_features: MakeFeatures, tmp_path: Path
) -> None:
    processor.feature_extractor.texture_scale = 5.0
    processor.save_pretrained(tmp_path)
    config.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, DeftProcessor)
    assert loaded.span == processor.span == clip_span(config)
    assert loaded.prompts == processor.prompts
    assert loaded.encode_conversation(CONVERSATION) == processor.encode_conversation(CONVERSATION)
    expected = processor(question(processor), make_features(0))
    found = loaded(question(loaded), make_features(0))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


def test_features_are_finite_and_of_one_size(make_features: MakeFeatures) -> None:
    """Stillness and a violent clip both stay in the range that a network can read."""
    still = {name: np.zeros_like(array) for name, array in make_features(0).items()}
    loud = {name: (array * 100).astype(array.dtype) for name, array in make_features(0).items()}
    columns = [REGION_COLUMNS.index(name) for name in ("coherence", "active")]
    loud["regions"][..., columns] = 1.0
    features = DeftFeatureExtractor()([still, make_features(1), loud])
    for name, values in features.items():
        assert values.dtype == torch.float32
        assert values.isfinite().all(), name
        assert values.abs().max() < 30, name


def test_an_unplaced_region_does_not_spoil_a_clip(make_features: MakeFeatures) -> None:
    features = make_features(0)
    features["regions"][:, 3] = np.nan
    regions = DeftFeatureExtractor()(features)["regions"]
    assert regions.isfinite().all()
    assert (regions[0, :, 3] == 0).all()


def test_flow_encoding_forgets_size_and_the_scale_keeps_it(make_features: MakeFeatures) -> None:
    features = make_features(0)
    features["flow"] = features["flow"].astype(np.float32)
    double = features | {"flow": 2 * features["flow"]}
    one, two = DeftFeatureExtractor()(features), DeftFeatureExtractor()(double)
    torch.testing.assert_close(one["flow"], two["flow"], atol=5e-3, rtol=0)
    assert (two["flow_scale"][..., :3] > one["flow_scale"][..., :3] + 0.5).all()
    assert (one["flow_scale"][..., 3] == 1).all()


def test_a_drift_of_the_whole_face_is_removed(make_features: MakeFeatures) -> None:
    features = make_features(0)
    features["flow"] = features["flow"].astype(np.float32)
    drift = features["flow"] + np.array([0.7, -0.3, 0.0], np.float32)[:, None, None]
    one, two = (DeftFeatureExtractor()(p) for p in (features, features | {"flow": drift}))
    torch.testing.assert_close(one["flow"], two["flow"], atol=2e-3, rtol=0)


def test_the_sign_of_motion_survives(make_features: MakeFeatures) -> None:
    features = make_features(0)
    mirrored = features | {"regions": features["regions"].copy()}
    mirrored["regions"][..., REGION_COLUMNS.index("u")] *= -1
    one, two = (DeftFeatureExtractor()(p)["regions"] for p in (features, mirrored))
    torch.testing.assert_close(one[..., 0], -two[..., 0])
    assert torch.equal(one[..., 1:], two[..., 1:])
