"""The transformers tokenizer is the sentencepiece model, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from deft_llm.answers import PIECES
from deft_llm.deft.processing_deft import CHAT_TOKENS, CLIP_TOKEN
from deft_llm.deft.tokenizer import END, PAD, UNKNOWN, train_sentencepiece, wrap

TEXTS = [
    "The left inner brow moves up and outward, slight.",
    " leading, two  spaces and trailing ",
    "AU12 lip corner puller, AU9 nose wrinkler",
    "numbers 3.14 -> 2048",
    "line\nbreak\tand tab\r\n",
    "Ünïcödé — 表情 😀 e\u0301 \u200b",
    '{"a": [1, 2]}',
    "supercalifragilistic",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_equal_to_sentencepiece(pieces: SentencePieceProcessor, text: str) -> None:
    tokenizer = wrap(pieces)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == pieces.encode(text)


def test_equal_to_sentencepiece_on_the_training_text(
    pieces: SentencePieceProcessor, corpus: list[str]
) -> None:
    ids = wrap(pieces)(corpus, add_special_tokens=False)["input_ids"]
    assert ids == pieces.encode(corpus)


@pytest.mark.parametrize("text", [*TEXTS, *PIECES, "".join(PIECES)])
def test_nothing_is_lost(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids


def test_the_fixed_parts_of_an_answer_are_one_token_each(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    for piece in PIECES:
        assert len(tokenizer(piece)["input_ids"]) == 1
    answer = '{"class": "negative", "emotion": "fear"'
    assert tokenizer.tokenize(answer)[0] == PIECES[0]
    # They are words of the answer, not markup: they stay when special tokens are dropped.
    assert tokenizer.decode(tokenizer(answer)["input_ids"], skip_special_tokens=True) == answer


def test_special_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    for token in (*CHAT_TOKENS, CLIP_TOKEN, PAD):
        ids = tokenizer(f"a{token}b")["input_ids"]
        assert tokenizer.convert_tokens_to_ids(token) in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == "ab"
    assert (tokenizer.eos_token, tokenizer.pad_token) == (END, PAD)
    assert tokenizer.unk_token == UNKNOWN
    assert tokenizer.padding_side == "left"
    assert len(set(tokenizer.convert_tokens_to_ids(list(CHAT_TOKENS)))) == len(CHAT_TOKENS)


def test_a_saved_tokenizer_is_the_same(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    texts = [*TEXTS, *PIECES, f"<|user|>{CLIP_TOKEN}a<|end|>"]
    assert loaded(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    for ids in tokenizer(texts)["input_ids"]:
        assert loaded.decode(ids) == tokenizer.decode(ids)
        assert loaded.decode(ids, skip_special_tokens=True) == tokenizer.decode(
            ids, skip_special_tokens=True
        )
    messages = [{"role": "user", "content": "a"}]
    assert loaded.apply_chat_template(messages, tokenize=False) == "<|user|>a<|end|>"
    assert (loaded.eos_token_id, loaded.pad_token_id, loaded.padding_side) == (
        *(tokenizer.eos_token_id, tokenizer.pad_token_id, "left"),
    )


def test_training_is_deterministic(corpus: list[str], pieces: SentencePieceProcessor) -> None:
    """A checkpoint that is trained again must get the same token ids."""
    again = train_sentencepiece(corpus, vocab_size=400)
    assert again.serialized_model_proto() == pieces.serialized_model_proto()


def test_a_small_corpus_gives_fewer_pieces_not_an_error() -> None:
    assert train_sentencepiece(["up and down", "down and up"], 5000).vocab_size() < 5000
