"""Answers of an untrained model about features of noise: streams, the clip in hand, the grammar."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deft_llm.answers import COARSE_LABELS, NOTHING, coarse_label, parse_structured_answer
from deft_llm.data.features import Features
from deft_llm.deft.inference import explainer as explain_module
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.processing_deft import CLIP_TOKEN
from deft_llm.errors import UserError
from deft_llm.motion.measure import NO_MOTION
from deft_llm.motion.regions import RegionTable

from .test_claims import SMILE, table

QUESTION = "Which action units are active?"


def clip(features: Features, regions: RegionTable = SMILE) -> Any:
    """A measurement as far as answering reads it."""
    return SimpleNamespace(features=features, table_apex=regions, found=True, status="ok")


@pytest.fixture
def explainer(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Explainer:
    """With weights large enough that every token depends on every input.

    An output layer of its own keeps it from repeating the last token for ever, and from bytes that
    are no text.
    """
    monkeypatch.setattr(explain_module, "pack", lambda measurement, sizes: measurement.features)
    monkeypatch.setattr(explain_module, "MAX_NEW_TOKENS", 12)
    explainer = Explainer.load(tiny_checkpoint)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in explainer.model.parameters():
            parameter.mul_(4 if parameter.ndim > 1 else 1)
        head = explainer.model.get_output_embeddings()
        head.weight = torch.nn.Parameter(torch.randn_like(head.weight))
        vocabulary = explainer.processor.tokenizer.get_vocab()
        head.weight[[i for token, i in vocabulary.items() if token.startswith("<0x")]] = 0
    return explainer


@pytest.fixture
def make_clip(make_features: Callable[[int], Features]) -> Callable[[int], Any]:
    return lambda seed: clip(make_features(seed))


def test_a_stream_grows_into_what_generate_writes(
    explainer: Explainer, make_clip: Callable[[int], Any]
) -> None:
    measurement = make_clip(0)
    turns = [("What moved?", "The chin moves up."), ("And why?", "No reason.")]
    parts = list(explainer.stream(measurement, turns, QUESTION))
    assert 1 < len(parts) <= 12
    assert all(b.startswith(a) for a, b in pairwise(parts))
    answers = [text for turn in turns for text in turn]
    roles = ("user", "assistant") * 2
    messages = [{"role": r, "content": c} for r, c in zip(roles, answers, strict=True)]
    messages[0]["content"] = CLIP_TOKEN + messages[0]["content"]
    messages.append({"role": "user", "content": QUESTION})
    whole = explainer.generate(explainer.encode([measurement.features]), messages)[0]
    assert parts[-1] == whole.rstrip("\ufffd")
    assert explainer.chat(measurement, turns, QUESTION) == parts[-1]
    assert explainer.chat(make_clip(1), turns, QUESTION) != parts[-1]
    assert explainer.chat(measurement, [], QUESTION) != parts[-1]


def test_a_clip_is_encoded_once_for_all_questions(
    explainer: Explainer, make_clip: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[tuple[str, ...]] = []
    encode = explainer.encode

    def counted(clips: Any, ablate: tuple[str, ...] = ()) -> Any:
        encoded.append(ablate)
        return encode(clips, ablate)

    monkeypatch.setattr(explainer, "encode", counted)
    first, second = make_clip(0), make_clip(1)
    explainer.explain(first)
    fresh = explainer.chat(first, [], QUESTION)
    assert encoded == [()]
    blanked = list(explainer.stream(first, [], QUESTION, ablate=("motion",)))[-1]
    assert blanked != fresh
    assert explainer.chat(second, [], QUESTION) != fresh
    assert explainer.chat(first, [], QUESTION) == fresh
    assert encoded == [(), ("motion",), (), ()]


def test_temperature_draws_and_zero_does_not(
    explainer: Explainer, make_clip: Callable[[int], Any]
) -> None:
    measurement = make_clip(0)

    def drawn(seed: int, temperature: float) -> str:
        torch.manual_seed(seed)
        return list(explainer.stream(measurement, [], QUESTION, temperature))[-1]

    assert drawn(0, 0.0) == drawn(1, 0.0)
    assert drawn(0, 2.0) == drawn(0, 2.0) != drawn(1, 2.0)
    assert drawn(0, 1e-6) == drawn(0, 0.0)


def test_the_oldest_turns_make_room(explainer: Explainer, make_clip: Callable[[int], Any]) -> None:
    measurement = make_clip(0)
    turns = [(f"Question {i}: which side?", "left " * 400) for i in range(4)]
    long = explainer.chat(measurement, turns, QUESTION)
    assert long in {explainer.chat(measurement, turns[first:], QUESTION) for first in (1, 2, 3)}
    with pytest.raises(UserError, match=r"tokens; expected at most \d+; ask something shorter"):
        explainer.chat(measurement, turns, "why " * 2000)


def test_a_stream_may_be_left(explainer: Explainer, make_clip: Callable[[int], Any]) -> None:
    stream = explainer.stream(make_clip(0), [], QUESTION)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert torch.is_inference_mode_enabled() is False


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"question": "  "}, "question is empty"),
        ({"temperature": -1.0}, "temperature -1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"ablate": ("motoin",)}, "'motoin': expected one of structure, texture, motion"),
    ],
)
def test_wrong_requests_are_named(
    explainer: Explainer, make_clip: Callable[[int], Any], change: dict[str, Any], word: str
) -> None:
    with pytest.raises(UserError, match=word):
        next(explainer.stream(make_clip(0), [], **{"question": QUESTION, **change}))


def test_nothing_is_said_about_a_face_that_did_not_move(
    explainer: Explainer, make_features: Callable[[int], Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the language model was asked")

    monkeypatch.setattr(explainer.model, "forward", asked)
    still = clip(make_features(0), table())
    assert list(explainer.stream(still, [], QUESTION)) == [f"{NO_MOTION} from onset to apex"]
    assert explainer.explain(still).emotion is None


def test_explain_writes_under_the_grammar(
    explainer: Explainer, make_clip: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even an untrained model's report can be read; its claims are checked against the motion."""
    monkeypatch.setattr(explain_module, "MAX_NEW_TOKENS", 900)
    monkeypatch.setattr("deft_llm.deft.inference.grammar.RATIONALE_BYTES", 40)
    measurement = make_clip(2)
    explanation = explainer.explain(measurement)
    assert explanation.parsed and parse_structured_answer(explanation.raw) is not None
    assert explanation.rationale == parse_structured_answer(explanation.raw)["rationale"]  # type: ignore[index]
    right = {("left mouth corner", "up and outward"), ("right mouth corner", "up and outward")}
    assert set(explanation.unsupported) <= set(explanation.claims)
    assert not set(explanation.unsupported) & right
    tokens = explainer.encode([measurement.features])
    monkeypatch.setattr(explain_module, "MAX_NEW_TOKENS", 40)
    free = explainer.answers(tokens).texts[0]
    assert (
        parse_structured_answer(free) is None
    )  # claims are scored on raw text: without the grammar


@pytest.mark.parametrize("label", COARSE_LABELS)
def test_the_text_is_written_for_the_class_of_the_likelihoods(
    explainer: Explainer,
    make_clip: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
    label: str,
) -> None:
    """Whatever the model would write by itself; a conclusion on another class is named."""
    chosen = torch.zeros(1, len(COARSE_LABELS))
    chosen[0, COARSE_LABELS.index(label)] = 5.0
    monkeypatch.setattr(explainer, "likelihoods", lambda *_: chosen)
    monkeypatch.setattr(explain_module, "MAX_NEW_TOKENS", 900)
    monkeypatch.setattr("deft_llm.deft.inference.grammar.RATIONALE_BYTES", 40)
    explanation = explainer.explain(make_clip(0))
    record = parse_structured_answer(explanation.raw)
    assert record is not None and record["class"] == label == (explanation.emotion or NOTHING)
    assert coarse_label(record["emotion"]) == label

    wrong = record | {"rationale": "Read as fear, happiness. Together this is read as surprise."}
    monkeypatch.setattr(explainer, "structured_answers", lambda *_, **__: [json.dumps(wrong)])
    others = {"fear": "negative", "surprise": "surprise"}
    expected = tuple(name for name, coarse in others.items() if coarse != label)
    assert explainer.explain(make_clip(1)).contradicting == expected


def test_weights_in_several_files_are_read(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As large models are saved."""
    explainer = Explainer.load(tiny_checkpoint)
    explainer.model.save_pretrained(tmp_path, max_shard_size="100KB")
    explainer.processor.save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    again = Explainer.load(tmp_path).model.state_dict()
    for name, value in explainer.model.state_dict().items():
        assert torch.equal(value, again[name]), name


def test_adapters_alone_are_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"adapters alone; .* export RUN -o DIR --merge") as caught:
        Explainer.load(tmp_path)
    assert "\n" not in str(caught.value)
