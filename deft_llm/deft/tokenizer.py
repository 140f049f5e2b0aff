"""Tokenizer of the tiny default model: sentencepiece BPE, trained on the instruction text.

Pre-trained language models have their own tokenizer; this one is for the text model that is built
from a configuration and trained from scratch. BPE is used because, on template text, a unigram
model splits words into syllables (a conversation has 40 % more tokens).
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

from deft_llm.deft.processing_deft import CHAT_TEMPLATE, CHAT_TOKENS, CLIP_TOKEN
from deft_llm.errors import UserError

PAD, UNKNOWN, END = "<pad>", "<unk>", "<|end|>"
SPACE = "\u2581"  # sentencepiece writes a space as this character


def train_sentencepiece(
    texts: Iterable[str], vocab_size: int = 1000
) -> sentencepiece.SentencePieceProcessor:
    """Train a BPE model with byte fallback, spaces kept as they are.

    Args:
        texts: Training lines.
        vocab_size: Upper bound of the number of pieces.

    Raises:
        UserError: If the texts have more different characters.
    """
    buffer = io.BytesIO()
    try:
        _train(texts, vocab_size, buffer)
    except RuntimeError as error:
        raise UserError(
            f"text_model.vocab_size {vocab_size}: too few pieces for the characters of the "
            f"conversations ({str(error).rpartition('] ')[2]}); give more"
        ) from error
    return sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())


def _train(texts: Iterable[str], vocab_size: int, buffer: io.BytesIO) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=buffer,
        model_type="bpe",
        vocab_size=vocab_size,
        # A small corpus may not have enough different pairs for vocab_size pieces.
        hard_vocab_limit=False,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        # One thread, so that the result cannot depend on the number of cores.
        num_threads=1,
        bos_id=-1,
        eos_id=-1,
        pad_id=0,
        unk_id=1,
        minloglevel=2,
    )


def wrap(
    model: sentencepiece.SentencePieceProcessor, whole_pieces: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    """Convert a sentencepiece model to a transformers tokenizer with a chat template.

    Args:
        model: A trained sentencepiece model.
        whole_pieces: Strings to encode as one token each (the fixed parts of a JSON answer).
    """
    ids = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    # Bytes, unknown and control pieces are never the result of a merge.
    scores = {
        piece: model.get_score(i)
        for piece, i in ids.items()
        if not (model.is_byte(i) or model.is_unknown(i) or model.is_control(i))
    }
    merges = generate_merges(ids, scores)
    backend = Tokenizer(models.BPE(ids, merges, unk_token=UNKNOWN, byte_fallback=True))
    # As in training (add_dummy_prefix): no space is put before a text.
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_tokens([AddedToken(piece, normalized=False) for piece in whole_pieces])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        extra_special_tokens=[t for t in (*CHAT_TOKENS, CLIP_TOKEN) if t != END],
        # Left, so that generation continues directly after the prompt in every row.
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
