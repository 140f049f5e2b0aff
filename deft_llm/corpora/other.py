"""A folder of another corpus than the one that was named: say which it is."""

from __future__ import annotations

from pathlib import Path

from deft_llm.corpora.base import CORPORA, Corpus, load_corpus
from deft_llm.corpora.reading import Reading
from deft_llm.errors import UserError


def read_named(
    name: str, folder: Path, frames: bool = True, advice: str = "take --name "
) -> Reading:
    """Read the folder of a corpus that the user named.

    Args:
        name: A key of ``CORPORA``.
        folder: The folder.
        frames: See ``Corpus.read``.
        advice: See :func:`other_corpus`.

    Raises:
        UserError: As for ``Corpus.read``; says so if the folder holds another corpus.
    """
    corpus = load_corpus(name, folder)
    try:
        return corpus.read(frames)
    except UserError as error:
        if said := other_corpus(corpus, advice):
            raise UserError(said) from error
        raise


def other_corpus(corpus: Corpus, advice: str) -> str:
    """A line that names the corpus that a folder holds instead; empty if it holds none.

    Args:
        corpus: The expected one.
        advice: What else to do, up to the other's name: an option such as "take --name ".
    """
    if _sheet_of(corpus) is not None:
        return ""
    for name in CORPORA:
        other = load_corpus(name, corpus.root)
        if (sheet := _sheet_of(other)) is not None:
            return (
                f"{corpus.root}: expected {corpus.title}, found {other.title} ({sheet.name}); give "
                f"the folder of {corpus.title}, or {advice}{name}"
            )
    return ""


def _sheet_of(corpus: Corpus) -> Path | None:
    try:
        return corpus.sheets()[0]
    except UserError:
        return None
