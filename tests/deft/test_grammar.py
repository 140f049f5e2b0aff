"""Whatever the scores are, a structured answer under the grammar is one that can be read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.decoders import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, PIECES, Facts, coarse_label, parse_structured_answer
from deft_llm.clip import Evidence
from deft_llm.deft.inference import grammar as grammar_module
from deft_llm.deft.inference.grammar import (
    END,
    START,
    TEXT,
    AuLimits,
    GrammarState,
    State,
    StructuredAnswerGrammar,
    StructuredAnswerLogits,
    advance,
    options,
)
from deft_llm.deft.tokenizer import wrap
from deft_llm.errors import UserError
from deft_llm.unimer.answer_writer import AnswerWriter, Templates

TEMPLATES = Path(__file__).resolve().parents[2] / "deft_llm" / "unimer" / "templates"


@pytest.fixture(params=["pieces", "sentencepiece", "byte level"])
def any_tokenizer(
    request: pytest.FixtureRequest, pieces: SentencePieceProcessor, corpus: list[str]
) -> PreTrainedTokenizerBase:
    """The tiny model's own, the same without whole pieces, and GPT-2's kind."""
    if request.param != "byte level":
        return wrap(pieces, PIECES if request.param == "pieces" else ())
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|end|>", "<|user|>"]
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=alphabet, special_tokens=special)
    backend.train_from_iterator([*corpus, *_answers()], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")


def _answers() -> Iterator[str]:
    writer = AnswerWriter(Templates(TEMPLATES))
    rows = tuple(
        Evidence(name, facs.directions(region.side)[i % 8], 0.1 + 0.1 * i, 5.0, ("12",))
        for i, (name, region) in enumerate(facs.REGIONS.items())
    )
    for emotion in (*facs.EMOTIONS, *facs.THREE_CLASSES, None):
        for aus in (("12",), ("L1", "R4", "17"), ()):
            yield writer.answer("structured_answer", Facts(emotion, aus, rows[: 3 * len(aus)]))


def test_every_answer_of_the_instruction_data_is_allowed(
    any_tokenizer: PreTrainedTokenizerBase,
) -> None:
    """And the grammar reads the tokens as the tokenizer writes them."""
    grammar = StructuredAnswerGrammar(any_tokenizer, (any_tokenizer.eos_token_id,))
    for text in _answers():
        state = START
        ids = any_tokenizer(text, add_special_tokens=False)["input_ids"]
        for token in ids:
            assert token in grammar.allowed(state)
            after = advance(state, grammar.bytes[token])
            assert after is not None
            state = after
        assert state.stage == END
        assert grammar.allowed(state).tolist() == [any_tokenizer.eos_token_id]


@pytest.mark.parametrize("seed", range(3))
def test_random_scores_give_a_readable_answer(
    any_tokenizer: PreTrainedTokenizerBase, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows at once, each with its own state; the prompt is none of the grammar's business."""
    monkeypatch.setattr(grammar_module, "RATIONALE_BYTES", 60)
    end = any_tokenizer.eos_token_id
    grammar = StructuredAnswerGrammar(any_tokenizer, (end,))
    bound = StructuredAnswerLogits(grammar, prompt_length=2)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([[5, 6], [7, 8]])
    for _ in range(3000):
        scores = torch.randn(2, len(any_tokenizer) + 7, generator=generator)  # a padded vocabulary
        ids = torch.cat([ids, bound(ids, scores).argmax(-1, keepdim=True)], dim=1)
        if (ids == end).any(1).all():
            break
    for row in ids[:, 2:].tolist():
        text = any_tokenizer.decode(row[: row.index(end)])
        record = parse_structured_answer(text)
        assert record is not None, text
        assert facs.to_three(record["emotion"] if record["class"] != "none" else None) in (
            *(record["class"], None),
        )
        regions = [r["region"] for r in record["evidence"]]
        numbers = [facs.au_number(code) for code in record["aus"]]
        assert len(set(regions)) == len(regions) and len(set(numbers)) == len(numbers)
        assert all(r["strength"] in ("slight", "moderate", "marked") for r in record["evidence"])


@pytest.mark.parametrize("label", COARSE_LABELS)
def test_a_given_class_is_the_one_that_is_named(
    any_tokenizer: PreTrainedTokenizerBase, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the emotion is one of that class, whatever the scores prefer."""
    monkeypatch.setattr(grammar_module, "RATIONALE_BYTES", 20)
    end = any_tokenizer.eos_token_id
    bound = StructuredAnswerLogits(
        StructuredAnswerGrammar(any_tokenizer, (end,)), prompt_length=1, label=label
    )
    generator = torch.Generator().manual_seed(0)
    ids = torch.tensor([[5]])
    while ids.shape[1] < 3000 and ids[0, -1] != end:
        scores = torch.randn(1, len(any_tokenizer), generator=generator)
        ids = torch.cat([ids, bound(ids, scores).argmax(-1, keepdim=True)], dim=1)
    record = parse_structured_answer(any_tokenizer.decode(ids[0, 1:-1]))
    assert record is not None and record["class"] == label
    assert coarse_label(record["emotion"]) == label


def test_several_answers_to_one_clip_keep_its_limits(
    any_tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two answers to each of two clips: `generate` sets those to one clip side by side."""
    only = [AuLimits(frozenset({code})) for code in ("1", "12")]
    grammar = StructuredAnswerGrammar(any_tokenizer, (any_tokenizer.eos_token_id,))
    seen: list[AuLimits] = []

    def allowed(state: State) -> torch.Tensor:
        seen.append(state.stage.aus)
        return torch.tensor([0])

    monkeypatch.setattr(grammar, "allowed", allowed)
    bound = StructuredAnswerLogits(grammar, prompt_length=1, label="positive", aus=only)
    bound(torch.tensor([[5]] * 4), torch.zeros(4, len(any_tokenizer)))
    assert seen == [only[0], only[0], only[1], only[1]]


def test_allowed_tokens_are_those_that_do_not_break_the_answer(
    any_tokenizer: PreTrainedTokenizerBase,
) -> None:
    """The shortcut through the sorted vocabulary finds what trying every token finds."""
    grammar = StructuredAnswerGrammar(any_tokenizer, (any_tokenizer.eos_token_id,))
    text = json.dumps(json.loads(next(_answers())) | {"rationale": 'a "b" \\ \u00e9'}).encode()
    rng = random.Random(0)
    for cut in rng.sample(range(len(text)), 40):
        state = advance(START, text[:cut])
        assert state is not None
        tried = [i for i, data in grammar.bytes.items() if advance(state, data) is not None]
        assert grammar.allowed(state).tolist() == sorted(tried)


def test_special_tokens_are_never_allowed(any_tokenizer: PreTrainedTokenizerBase) -> None:
    grammar = StructuredAnswerGrammar(any_tokenizer, (any_tokenizer.eos_token_id,))
    assert not set(any_tokenizer.all_special_ids) & grammar.bytes.keys()


def test_no_option_begins_with_another() -> None:
    """Otherwise the automaton would not know where it is."""
    stages, seen = [START.stage], set[GrammarState]()
    while stages and len(seen) < 400:
        stage = stages.pop()
        if stage in seen:
            continue
        seen.add(stage)
        written = sorted(options(stage))
        assert not any(b.startswith(a) for a, b in pairwise(written))
        stages += options(stage).values()


@pytest.mark.parametrize(
    "text",
    [
        '{"class": "happy',
        '{"class": "positive", "emotion": "anger',
        '{"class": "positive", "emotion": "happiness", "aus": ["3"',
        '{"class": "positive", "emotion": "happiness", "aus": ["12", "L12"',
        '{"class": "none", "emotion": "none", "aus": [], "evidence": [{"region": "chin", '
        '"direction": "outward',
        '{"class": "none", "emotion": "none", "aus": [], "evidence": [], "rationale": "a\n',
        '{"class": "none", "emotion": "none", "aus": [], "evidence": [], "rationale": "\\x',
        '{"class": "none", "emotion": "none", "aus": [], "evidence": [], "rationale": "a"} ',
    ],
)
def test_illegal_values_are_refused(text: str) -> None:
    data = text.encode()
    assert advance(START, data) is None
    assert any(advance(START, data[:k]) for k in range(len(data) // 2, len(data)))


def test_the_rationale_is_utf8() -> None:
    """Against Python's own decoder, over all pairs of bytes and some longer strings."""
    rng = random.Random(0)
    some = [bytes(rng.choices(range(128, 256), k=rng.choice((3, 4)))) for _ in range(3000)]
    some += [chr(rng.randrange(0x80, 0xD800)).encode() for _ in range(300)]
    some += [chr(rng.randrange(0x10000, 0x110000)).encode() for _ in range(300)]
    inside = State(TEXT)
    for data in [bytes([a, b]) for a in range(128, 256) for b in range(128, 256)] + some:
        after = advance(inside, data)
        try:
            data.decode()
            assert after is not None and after.written == b""
        except UnicodeDecodeError as error:
            cut = error.reason == "unexpected end of data"
            assert (after is not None and after.written != b"") is cut, data


@pytest.mark.parametrize(
    ("escapes", "allowed"),
    [
        *((r"\u00e9", True), (r"\uD7ff\ue000", True), (r"\ud83d\uDE00", True)),
        *((r"\ud800x", False), (r"\ud800\n", False), (r"\udc00", False)),
        *((r"\ud83d\u00e9", False), (r"\ud83d\ud83d", False)),
    ],
)
def test_escapes_are_whole_characters(escapes: str, allowed: bool) -> None:
    """Half of a surrogate pair reads as JSON, and then no file or page can be written with it."""
    data = escapes.encode()
    after = advance(State(TEXT), data)
    assert (after is not None and after.written == b"") is allowed
    if allowed:
        assert json.loads(f'"{escapes}"').encode()
        # Byte by byte it is allowed as well, and every part can be gone on with.
        states = [advance(State(TEXT), data[:k]) for k in range(1, len(data))]
        assert all(state is not None for state in states)


def test_an_escape_never_leads_nowhere() -> None:
    """Every allowed part of an escape can be gone on with."""
    parts = [b"\\"]
    while parts:
        part = parts.pop()
        after = {
            b: advance(State(TEXT), part + b) for b in (b"\\", b"u", b"n", b"0", b"8", b"d", b"e")
        }
        assert any(after.values()), part
        parts += [part + b for b, state in after.items() if state is not None and state.written]


def test_an_au_of_both_sides_is_written_once() -> None:
    """As the grammar wants it, and its motion stays its own."""
    rows = tuple(
        Evidence(f"{side} mouth corner", "up and outward", 0.5, 5.0, (f"{side[0].upper()}12",))
        for side in ("left", "right")
    )
    writer = AnswerWriter(Templates(TEMPLATES))
    for aus in (("L12", "R12"), ("12", "L12"), ("12", "L12", "R12")):
        text = writer.answer("structured_answer", Facts("happiness", aus, rows))
        after = advance(START, text.encode())
        assert after is not None and after.stage == END
        record = json.loads(text)
        assert record["aus"] == ["12"]
        assert record["rationale"].startswith("Both mouth corners move up and outward: AU12")


def test_a_vocabulary_that_cannot_write_json_is_named() -> None:
    backend = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1, "</s>": 2}, unk_token="<unk>"))
    poor = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    with pytest.raises(UserError, match=r"no token for the start of '.*class"):
        StructuredAnswerGrammar(poor, (2,)).allowed(START)
