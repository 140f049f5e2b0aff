"""Scores of generated text against a reference: BLEU (sacrebleu) and ROUGE-1 (rouge-score).

Both on lower-cased text, 0..1. ME-VQA names the two scores without settings; ours are sacrebleu's
defaults (13a tokens, 4-grams, exponential smoothing) over the whole set, and ROUGE-1's F1 with
stemming, averaged over answers.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from deft_llm.errors import UserError


def _module(name: str, package: str) -> ModuleType:
    # Imported on use: both packages are optional.
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"scoring text needs {package}, which is not installed; run: pip install {package}"
        ) from error


def _lower(texts: Sequence[str]) -> list[str]:
    return [text.strip().lower() for text in texts]


def bleu(predicted: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 of N texts against one reference each, 0..1.

    NaN if no reference has four tokens: BLEU-4 is the geometric mean of the precisions of 1- to
    4-grams, and where there is no 4-gram to match, even the reference itself gets 0.

    Raises:
        UserError: If sacrebleu is not installed.
        ValueError: If the lengths differ or nothing is given.
    """
    _check(predicted, references)
    scorer = _module("sacrebleu", "sacrebleu").BLEU()
    wanted = _lower(references)
    if all(len(scorer.tokenizer(text).split()) < scorer.max_ngram_order for text in wanted):
        return math.nan
    # The references of all texts are one list in a list: sacrebleu takes several a text.
    score = scorer.corpus_score(_lower(predicted), [wanted])
    # sacrebleu gives per cent.
    return float(score.score) / 100.0


def rouge1(predicted: Sequence[str], references: Sequence[str]) -> float:
    """Mean F1 of unigrams of N texts against one reference each, 0..1.

    Raises:
        UserError: If rouge-score is not installed.
        ValueError: If the lengths differ or nothing is given.
    """
    _check(predicted, references)
    module = _module("rouge_score.rouge_scorer", "rouge-score")
    # It logs which tokenizer it takes, each time.
    logging.getLogger("absl").setLevel(logging.WARNING)
    scorer = module.RougeScorer(["rouge1"], use_stemmer=True)
    # The scorer takes the reference first, unlike sacrebleu.
    pairs = zip(_lower(references), _lower(predicted), strict=True)
    return float(np.mean([scorer.score(r, p)["rouge1"].fmeasure for r, p in pairs]))


def _check(predicted: Sequence[str], references: Sequence[str]) -> None:
    if len(predicted) != len(references) or not references:
        raise ValueError(f"{len(predicted)} texts for {len(references)} references")
