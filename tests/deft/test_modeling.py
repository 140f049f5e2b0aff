"""DEFT-LLM behaves as one transformers model: cache, saving, loss, and experts kept apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText

from deft_llm import facs
from deft_llm.data.features import Features
from deft_llm.deft.configuration_deft import EXPERTS, DeftConfig
from deft_llm.deft.modeling_deft import CLIP_INPUTS, DeftForConditionalGeneration
from deft_llm.deft.processing_deft import IGNORE_INDEX, DeftProcessor
from deft_llm.deft.tuning.datasets import Collator

MakeFeatures = Callable[[int], Features]
Inputs = dict[str, Tensor]
INPUTS_OF = {
    "structure": ("structure",),
    "texture": ("texture",),
    "motion": ("flow", "flow_scale", "regions"),
}
QUESTIONS = ["<clip>Why?", "<clip>Which action units are active?"]


def ask(processor: DeftProcessor, make_features: MakeFeatures, clips: int = 2) -> Inputs:
    texts = [processor.chat([{"role": "user", "content": q}]) for q in QUESTIONS[:clips]]
    return dict(processor(texts, [make_features(i) for i in range(clips)]))


@pytest.fixture
def inputs(processor: DeftProcessor, make_features: MakeFeatures) -> Inputs:
    return ask(processor, make_features)


@pytest.fixture
def rows(
    processor: DeftProcessor, config: DeftConfig, make_features: MakeFeatures
) -> list[dict[str, Any]]:
    """Four training samples whose answers have equally many tokens, one without an emotion."""
    turns = [
        {"role": "user", "content": "<clip>Is AU4 brow lowerer active?"},
        {"role": "assistant", "content": "yes"},
    ]
    ids, labels = processor.encode_conversation(turns)
    generator = torch.Generator().manual_seed(0)
    aus = torch.randint(0, 2, (4, len(config.aus), 2), generator=generator).float().numpy()
    regions = torch.randint(0, 9, (4, len(facs.REGIONS)), generator=generator).numpy()
    return [
        {
            "input_ids": ids,
            "labels": labels,
            "features": make_features(i),
            "emotion_labels": i,
            "au_labels": aus[i],
            "region_labels": regions[i],
        }
        for i in range(4)
    ]


@pytest.fixture
def collator(processor: DeftProcessor) -> Collator:
    return Collator(processor.feature_extractor, processor.tokenizer.pad_token_id)


def clip_of(inputs: Inputs) -> dict[str, Any]:
    """The clips without the words."""
    return {name: inputs[name] for name in CLIP_INPUTS}


def with_other(inputs: Inputs, names: tuple[str, ...]) -> Inputs:
    """The same inputs with random values under some names."""
    generator = torch.Generator().manual_seed(1)
    noise = {name: 3 * torch.randn(inputs[name].shape, generator=generator) for name in names}
    return inputs | noise


# -------------------------------------------------------------------------- generation


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 2])
def test_cached_generation_equals_uncached(
    model: DeftForConditionalGeneration, inputs: Inputs, beams: int
) -> None:
    options: dict[str, Any] = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    cached = model.generate(**inputs, **options, num_beams=beams, use_cache=True)
    uncached = model.generate(**inputs, **options, num_beams=beams, use_cache=False)
    assert torch.equal(cached, uncached)
    other = model(**with_other(inputs, CLIP_INPUTS)).logits
    assert not torch.allclose(model(**inputs).logits, other)  # else the clip would not matter


@torch.no_grad()
def test_a_step_with_the_cache_has_the_logits_of_the_whole(
    model: DeftForConditionalGeneration, inputs: Inputs
) -> None:
    whole = model(**inputs).logits[:, -1]
    first = {k: v[:, :-1] if k in ("input_ids", "attention_mask") else v for k, v in inputs.items()}
    cache = model(**first, use_cache=True).past_key_values
    mask = inputs["attention_mask"]
    step = model(input_ids=inputs["input_ids"][:, -1:], attention_mask=mask, past_key_values=cache)
    torch.testing.assert_close(step.logits[:, -1], whole, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_clip_in_a_batch_answers_as_it_does_alone(
    model: DeftForConditionalGeneration, processor: DeftProcessor, make_features: MakeFeatures
) -> None:
    """Left padding and the order of the clips must not leak into an answer."""
    batch = model(**ask(processor, make_features, clips=2)).logits[0, -1]
    alone = model(**ask(processor, make_features, clips=1)).logits[0, -1]
    torch.testing.assert_close(batch, alone, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_expert_tokens_may_be_encoded_once(
    model: DeftForConditionalGeneration, inputs: Inputs
) -> None:
    """Several questions about one clip share its expert tokens."""
    tokens = model.get_clip_features(**clip_of(inputs))
    words = {k: v for k, v in inputs.items() if k not in CLIP_INPUTS}
    assert torch.equal(model(**words, expert_tokens=tokens).logits, model(**inputs).logits)
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
    assert torch.equal(
        model.generate(**words, expert_tokens=tokens, **options),
        model.generate(**inputs, **options),
    )


@torch.no_grad()
@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("options", [{"num_beams": 2}, {"num_beams": 2, "use_cache": False}])
def test_rows_with_several_clips_keep_them_through_generation(
    model: DeftForConditionalGeneration,
    processor: DeftProcessor,
    make_features: MakeFeatures,
    encoded: bool,
    options: dict[str, Any],
) -> None:
    """Each beam sees its row's clips in order; no clips, one, and two in one batch."""
    questions = ["<clip><clip>Why?", "Why?", "<clip>What moved?"]
    texts = [processor.chat([{"role": "user", "content": q}]) for q in questions]
    options = {"max_new_tokens": 5, "do_sample": False, "output_scores": True, **options}

    def scores(texts: list[str], seeds: list[int]) -> Tensor:
        inputs: dict[str, Any] = dict(processor(texts, [make_features(i) for i in seeds]))
        if encoded and seeds:
            tokens = model.get_clip_features(**clip_of(inputs))
            inputs = {k: v for k, v in inputs.items() if k not in CLIP_INPUTS}
            inputs["expert_tokens"] = tokens
        found: Any = model.generate(**inputs, **options, return_dict_in_generate=True)
        return found.sequences_scores

    together = scores(texts, [0, 1, 2])
    for row, seeds in enumerate(([0, 1], [], [2])):
        alone = scores(texts[row : row + 1], seeds)
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-4)
    assert (together[0] - scores(texts[:1], [1, 0])[0]).abs() > 1e-3, "the order matters"


# ------------------------------------------------------------------------------ saving


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_model_gives_equal_logits(
    config: DeftConfig, inputs: Inputs, tmp_path: Path, tied: bool
) -> None:
    text: Any = config.text_config
    text.tie_word_embeddings = tied
    config = DeftConfig.from_dict(config.to_dict() | {"tie_word_embeddings": tied})
    model = DeftForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    loaded, report = DeftForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected, found = model(**inputs), loaded(**inputs)
    for name in ("logits", "emotion_logits", "au_logits"):
        assert torch.equal(found[name], expected[name]), name
    embeddings, output = loaded.get_input_embeddings(), loaded.get_output_embeddings()
    assert (embeddings.weight is output.weight) == tied
    assert {p.name for p in tmp_path.glob("*.safetensors")} == {"model.safetensors"}


@torch.no_grad()
def test_auto_classes_load_it(
    model: DeftForConditionalGeneration, inputs: Inputs, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), DeftConfig)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert isinstance(loaded, DeftForConditionalGeneration)
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


def test_a_saved_configuration_is_the_same(config: DeftConfig, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    for name in ("aus", "emotions", "expert_dim", "expert_dropout", "motion_tokens"):
        assert getattr(loaded, name) == getattr(config, name)
    assert loaded.placeholder_ids() == config.placeholder_ids()
    text: Any = config.text_config
    assert loaded.text_config.to_dict() == text.to_dict()


# ----------------------------------------------------------------------------- experts


@torch.no_grad()
def test_heads_run_without_words(model: DeftForConditionalGeneration, inputs: Inputs) -> None:
    clip = clip_of(inputs)
    alone, whole = model(**clip), model(**inputs)
    assert alone.logits is None
    assert alone.loss is None
    assert torch.equal(alone.emotion_logits, whole.emotion_logits)
    assert torch.equal(alone.au_logits, whole.au_logits)
    assert alone.emotion_logits.shape == (2, len(model.config.emotions))
    assert alone.au_logits.shape == (2, len(model.config.aus), 2)


@torch.no_grad()
def test_words_run_without_a_clip(model: DeftForConditionalGeneration, inputs: Inputs) -> None:
    output = model(input_ids=inputs["input_ids"][:, -4:])
    assert output.emotion_logits is None
    assert output.logits.shape[:2] == (2, 4)


@torch.no_grad()
@pytest.mark.parametrize("expert", EXPERTS)
def test_experts_read_their_own_inputs_alone(
    model: DeftForConditionalGeneration, inputs: Inputs, expert: str
) -> None:
    """Identity and motion are kept apart by what each expert gets to see."""
    before = model.get_clip_features(**clip_of(inputs))
    changed = with_other(inputs, INPUTS_OF[expert])
    after = model.get_clip_features(**clip_of(changed))
    for name in EXPERTS:
        assert before[name].shape == (2, model.config.token_counts()[name], 16)
        assert torch.equal(before[name], after[name]) == (name != expert)


@torch.no_grad()
@pytest.mark.parametrize("expert", EXPERTS)
def test_a_blanked_expert_sees_nothing(
    model: DeftForConditionalGeneration, inputs: Inputs, expert: str
) -> None:
    changed = with_other(inputs, INPUTS_OF[expert])
    one = model(**inputs, ablate=(expert,))
    two = model(**changed, ablate=(expert,))
    for name in ("logits", "emotion_logits", "au_logits"):
        assert torch.equal(one[name], two[name]), name
    assert not torch.equal(model(**inputs).logits, model(**changed).logits)
    assert not torch.equal(model(**inputs).logits, one.logits)


@torch.no_grad()
@pytest.mark.parametrize("expert", EXPERTS)
def test_given_tokens_are_blanked_as_well(
    model: DeftForConditionalGeneration, inputs: Inputs, expert: str
) -> None:
    tokens = model.get_clip_features(**clip_of(inputs))
    words = {k: v for k, v in inputs.items() if k not in CLIP_INPUTS}
    found = model(**words, expert_tokens=tokens, ablate=(expert,))
    expected = model(**inputs, ablate=(expert,))
    for name in ("logits", "emotion_logits", "au_logits", "region_logits"):
        assert torch.equal(found[name], expected[name]), name
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "ablate": (expert,)}
    assert torch.equal(
        model.generate(**words, expert_tokens=tokens, **options),
        model.generate(**inputs, **options),
    )


def test_nothing_that_is_given_goes_unread(
    model: DeftForConditionalGeneration, inputs: Inputs
) -> None:
    clip = clip_of(inputs)
    tokens = model.get_clip_features(**clip)
    with pytest.raises(ValueError, match="'eyes' is no expert; expected structure"):
        model(**clip, ablate=("eyes",))
    with pytest.raises(ValueError, match="give one or the other"):
        model(**clip, expert_tokens=tokens)
    for name in CLIP_INPUTS:
        with pytest.raises(ValueError, match=f"clip inputs without {name}"):
            model(**{k: v for k, v in clip.items() if k != name})


@torch.no_grad()
def test_generation_blanks_experts_too(model: DeftForConditionalGeneration, inputs: Inputs) -> None:
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "ablate": EXPERTS}
    one = model.generate(**inputs, **options)
    assert torch.equal(one, model.generate(**with_other(inputs, CLIP_INPUTS), **options))


def test_drop_out_blanks_whole_experts_in_training_alone(
    model: DeftForConditionalGeneration, inputs: Inputs
) -> None:
    clip = clip_of(inputs)
    model.experts.expert_dropout = 1.0
    assert not torch.equal(
        model.eval().get_clip_features(**clip)["motion"],
        model.train().get_clip_features(**clip)["motion"],
    )
    for name, tokens in model.train().get_clip_features(**clip).items():
        assert torch.equal(tokens, model.experts.blank[name].expand_as(tokens))


@pytest.mark.parametrize("expert", EXPERTS)
def test_a_wrong_number_of_placeholders_names_both_numbers(
    model: DeftForConditionalGeneration, inputs: Inputs, expert: str
) -> None:
    token, count = model.config.placeholder_ids()[expert], model.config.token_counts()[expert]
    ids = inputs["input_ids"].clone()
    ids[1, (ids[1] == token).nonzero()[0]] = model.config.text_config.eos_token_id
    with pytest.raises(ValueError, match=expert) as caught:
        model(**inputs | {"input_ids": ids})
    assert f"[{count}, {count - 1}]" in str(caught.value)
    assert f"2 clips with {count} tokens" in str(caught.value)


# -------------------------------------------------------------------------------- loss


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_accumulated_gradients_equal_those_of_one_batch(
    model: DeftForConditionalGeneration, rows: list[dict[str, Any]], collator: Collator
) -> None:
    """Language model and heads; ``num_items_in_batch`` is what Trainer passes."""
    tokens = sum(label != IGNORE_INDEX for row in rows for label in row["labels"])
    whole = model(**collator(rows))
    whole.loss.backward()
    expected = gradients(model)
    model.zero_grad()
    parts = [model(**collator(rows[i : i + 2]), num_items_in_batch=tokens) for i in (0, 2)]
    for part in parts:
        part.loss.backward()
    torch.testing.assert_close(parts[0].loss + parts[1].loss, whole.loss, atol=1e-5, rtol=1e-4)
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_every_part_is_trained_by_the_hybrid_loss(
    model: DeftForConditionalGeneration, rows: list[dict[str, Any]], collator: Collator
) -> None:
    model.train()(**collator(rows)).loss.backward()
    still = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    }
    assert still == {f"experts.blank.{name}" for name in EXPERTS}  # reached by drop-out alone


def test_padding_on_the_right_changes_no_loss(
    model: DeftForConditionalGeneration, rows: list[dict[str, Any]], collator: Collator
) -> None:
    alone = model(**collator(rows[:1])).loss
    batch = collator(rows[:1])
    longer = batch | {
        name: torch.nn.functional.pad(batch[name], (0, 5), value=value)
        for name, value in (("input_ids", 0), ("attention_mask", 0), ("labels", IGNORE_INDEX))
    }
    torch.testing.assert_close(model(**longer).loss, alone, atol=1e-5, rtol=1e-4)


def test_unknown_labels_carry_no_loss(model: DeftForConditionalGeneration, inputs: Inputs) -> None:
    clip = clip_of(inputs)
    unknown = torch.full((2, len(model.config.aus), 2), -1.0)
    unspoken = torch.full((2, len(facs.REGIONS)), IGNORE_INDEX)
    output = model(
        **clip,
        emotion_labels=torch.tensor([IGNORE_INDEX, IGNORE_INDEX]),
        au_labels=unknown,
        region_labels=unspoken,
    )
    assert output.loss == 0
    one = model(**clip, emotion_labels=torch.tensor([3, IGNORE_INDEX])).loss
    first = {name: values[:1] for name, values in clip.items()}
    torch.testing.assert_close(one, model(**first, emotion_labels=torch.tensor([3])).loss)


def test_the_loss_is_the_sum_of_its_weighted_parts(
    model: DeftForConditionalGeneration, rows: list[dict[str, Any]], collator: Collator
) -> None:
    batch = collator(rows)
    words = {k: v for k, v in batch.items() if not k.endswith("_labels")}
    clip = {k: v for k, v in words.items() if k in CLIP_INPUTS}
    language = model(**words).loss
    emotion = model(**clip, emotion_labels=batch["emotion_labels"]).loss
    aus = model(**clip, au_labels=batch["au_labels"]).loss
    model.config.region_weight = 1.0
    regions = model(**clip, region_labels=batch["region_labels"]).loss
    model.config.emotion_weight, model.config.au_weight = 2.0, 0.5
    model.config.region_weight = 0.25
    whole = language + 2.0 * emotion + 0.5 * aus + 0.25 * regions
    torch.testing.assert_close(model(**batch).loss, whole, atol=1e-5, rtol=1e-4)


def test_motion_tokens_carry_their_own_word(
    model: DeftForConditionalGeneration, inputs: Inputs, processor: DeftProcessor
) -> None:
    tokens = model.get_clip_features(**clip_of(inputs))
    named = model._projected("motion", tokens)
    names, model.config.motion_names = model.config.motion_names, []
    words = model.get_input_embeddings().weight
    assert isinstance(words, Tensor)
    difference = (named - model._projected("motion", tokens))[0]
    spoken = [processor.tokenizer.decode(ids).strip() for ids in names]
    assert spoken == [*(f"AU{n}" for n in model.config.aus), *facs.REGIONS]
    for row, ids in zip(difference, names, strict=True):
        torch.testing.assert_close(row, words[ids].mean(0), atol=1e-5, rtol=1e-4)


def test_verdicts_are_what_the_heads_say(
    model: DeftForConditionalGeneration, inputs: Inputs
) -> None:
    output, tokens = model(**clip_of(inputs)), model.get_clip_features(**clip_of(inputs))
    verdicts, units = model.heads.verdicts(tokens), len(model.config.aus)
    torch.testing.assert_close(verdicts[:, :units, :2], output.au_logits.sigmoid())
    torch.testing.assert_close(verdicts[:, units:, 2:], output.region_logits.softmax(-1))
    assert not verdicts[:, :units, 2:].any() and not verdicts[:, units:, :2].any()
