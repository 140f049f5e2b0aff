"""Answers of an untrained model about features of noise: streams, the clip in hand, the grammar."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deft_llm import facs
from deft_llm.answers import (
    COARSE_LABELS,
    NOTHING,
    coarse_label,
    parse_structured_answer,
    stated_aus,
    stated_claims,
)
from deft_llm.clip import Interval
from deft_llm.data.features import Features
from deft_llm.deft.inference import explainer as explain_module
from deft_llm.deft.inference.claims import check_sentences, contradicting
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.judging import macro_expression
from deft_llm.deft.processing_deft import CLIP_TOKEN
from deft_llm.errors import UserError
from deft_llm.motion.evidence import moved_aus
from deft_llm.motion.regions import RegionTable
from deft_llm.motion.remarks import NO_MOTION

from .test_claims import SMILE, table

QUESTION = "Which action units are active?"
Turns = list[tuple[str, str]]


def clip(features: Features, regions: RegionTable = SMILE) -> Any:
    """A measurement as far as answering reads it."""
    return SimpleNamespace(
        features=features,
        table_apex=regions,
        interval=Interval(1, 5, 9),
        found=True,
        remarks=(),
        head_shift=1.0,
        trajectory=None,
    )


def whole(explainer: Explainer, measurement: Any, turns: Turns, question: str) -> str:
    """The complete greedy answer of the language model."""
    return max(explainer.stream(measurement, turns, question), key=len, default="")


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
    generated = explainer.generate(explainer.encode([measurement.features]), messages)[0]
    assert parts[-1] == generated.rstrip("\ufffd")
    assert whole(explainer, measurement, turns, QUESTION) == parts[-1]
    assert whole(explainer, make_clip(1), turns, QUESTION) != parts[-1]
    assert whole(explainer, measurement, [], QUESTION) != parts[-1]


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
    fresh = whole(explainer, first, [], QUESTION)
    assert encoded == [()]
    blanked = list(explainer.stream(first, [], QUESTION, ablate=("motion",)))[-1]
    assert blanked != fresh
    assert whole(explainer, second, [], QUESTION) != fresh
    assert whole(explainer, first, [], QUESTION) == fresh
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
    long = whole(explainer, measurement, turns, QUESTION)
    assert long in {whole(explainer, measurement, turns[first:], QUESTION) for first in (1, 2, 3)}
    with pytest.raises(UserError, match=r"tokens; expected at most \d+; ask something shorter"):
        whole(explainer, measurement, turns, "\u8868" * 500)


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


def test_claims_are_scored_on_raw_text(
    explainer: Explainer, make_clip: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_module, "MAX_NEW_TOKENS", 40)
    free = explainer.answers(explainer.encode([make_clip(2).features])).texts[0]
    assert parse_structured_answer(free) is None  # without the grammar


@pytest.mark.parametrize("label", COARSE_LABELS)
def test_class_aus_and_reasons_agree_whatever_the_model_would_write(
    explainer: Explainer,
    make_clip: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
    label: str,
) -> None:
    chosen = torch.zeros(1, len(COARSE_LABELS))
    chosen[0, COARSE_LABELS.index(label)] = 5.0
    monkeypatch.setattr(explainer, "likelihoods", lambda *_: chosen)
    monkeypatch.setattr(explain_module, "MAX_NEW_TOKENS", 900)
    explanation = explainer.explain(make_clip(0))
    assert explanation.raw.lstrip().startswith(f'{{"class": "{label}", "emotion": "')
    assert explanation.raw.endswith('], "evidence": [')  # the words are not the model's
    assert label == (explanation.emotion or NOTHING)
    assert coarse_label(explanation.fine_emotion or NOTHING) == label
    assert set(explanation.aus) <= moved_aus(SMILE)
    assert contradicting(explanation.rationale, label) == ()
    checked = check_sentences(explanation.rationale, SMILE)
    assert "unsupported" not in {sentence.verdict for sentence in checked}
    stated = {region for region, _ in stated_claims(explanation.rationale)}
    assert stated == {row.region for row in explanation.evidence}
    assert {str(n) for n in stated_aus(explanation.rationale)} == {
        str(facs.au_number(code)) for code in explanation.aus
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"table_apex": table(left_mouth_corner=(16.0, -16.0))},
            "described, not judged: regions moved up to 22.6 px, further than the model knows",
        ),
        ({"head_shift": 9.0}, "described, not judged: the head moved by 9.0 px meanwhile"),
    ],
)
def test_large_motion_is_described_and_not_judged(
    explainer: Explainer,
    make_clip: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setattr(explainer, "likelihoods", lambda *_: pytest.fail("the model was asked"))
    large: Any = SimpleNamespace(**{**vars(make_clip(0)), **change})
    explanation = explainer.explain(large)
    assert (explanation.emotion, explanation.aus, explanation.status) == (None, {}, reason)
    assert explanation.evidence and "12" in explanation.evidence[0].aus
    assert "moves up and outward" in explanation.rationale or "Both mouth" in explanation.rationale
    said = f"{reason[0].upper()}{reason[1:]}."
    assert explainer.answer(large, [], "Which emotion is it?").text == said


def test_a_macro_expression_is_judged_and_called_one(
    explainer: Explainer, make_clip: Callable[[int], Any]
) -> None:
    smile = {"left_mouth_corner": (4.0, -4.0), "right_mouth_corner": (-4.0, -4.0)}
    large: Any = SimpleNamespace(**{**vars(make_clip(0)), "table_apex": table(**smile)})
    explanation = explainer.explain(large)
    assert explanation.probabilities and explanation.remarks[0].startswith(
        "a macro-expression, up to 5.7 px"
    )
    assert not macro_expression(make_clip(0))


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Is he lying?", "cannot be told from a face"),
        ("Should I hire this person?", "cannot be told from a face"),
        ("quux the flibber?", "did not understand"),
        ("AU 12?", "AU12 lip corner puller"),
        ("AU 4?", "AU4 brow lowerer is not named"),
        ("Is AU99 active?", "FACS has no AU99"),
        ("What moved?", "Both mouth corners move up and outward, moderate (0.71 and 0.71 px"),
    ],
)
def test_a_question_is_answered_declined_or_not_understood(
    explainer: Explainer, make_clip: Callable[[int], Any], question: str, words: str
) -> None:
    """The vocabulary of the tiny model is that of the instruction data: it cannot talk freely."""
    assert words in explainer.answer(make_clip(0), [], question).text


def test_a_language_model_that_talks_calls_the_engine(
    explainer: Explainer, make_clip: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for a query alone, and only where the question is not understood otherwise."""
    question, measurement = "quux the flibber?", make_clip(0)
    call = '<tool_call>{"name": "look_at_clip", "arguments": {"kind": "moved"}}</tool_call>'
    written = [call[:20], call]
    monkeypatch.setattr(explainer, "stream", lambda *_: iter(written))
    assert "did not understand" in explainer.answer(measurement, [], question).text
    monkeypatch.setattr(explain_module, "_TALKS", 10)
    answer = explainer.answer(measurement, [], question)
    assert answer.query == "moved" and "mouth corners" in answer.text
    written[:] = ["He is lying, I am sure."]
    assert "did not understand" in explainer.answer(measurement, [], question).text
    assert "cannot be told" in explainer.answer(measurement, [], "Is he lying?").text


def test_a_question_may_be_too_long(explainer: Explainer, make_clip: Callable[[int], Any]) -> None:
    with pytest.raises(UserError, match="question of 10000 characters; expected 1 to 500"):
        explainer.answer(make_clip(0), [], "a" * 10_000)


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


def test_a_model_without_a_chat_template_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="its tokenizer has no chat template; expected"):
        Explainer.load(folder)


def test_the_best_of_several_answers_is_taken_and_told(
    tiny_checkpoint: Path, make_clip: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_module, "pack", lambda measurement, sizes: measurement.features)
    # Enough for emotion and AUs; an untrained model hardly ends its rationale.
    monkeypatch.setattr(explain_module, "MAX_NEW_TOKENS", 150)
    explainer = Explainer.load(tiny_checkpoint)
    usual = explainer.explain(make_clip(0))
    assert "sampled" not in usual.to_dict()
    clip = make_clip(0)
    found = explainer.explain(clip, samples=2)
    assert "sampled" not in explainer.explain(clip).to_dict(), "samples are a request's, not kept"
    told = found.to_dict()["sampled"]
    assert told["samples"] == 2
    assert told["reward"] >= told["reward_of_likeliest"]
    assert (told["taken"] == "a sample") is (told["reward"] > told["reward_of_likeliest"])
    assert set(found.aus) <= moved_aus(SMILE)
    assert found.emotion == usual.emotion  # the class is by likelihood, as before
    torch.manual_seed(5)  # the draw of others changes nothing
    again = Explainer.load(tiny_checkpoint)
    assert again.explain(make_clip(0), samples=2).raw == found.raw
