"""Simulated corpora in place of licensed folders, and the rule that no table mixes the two."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from deft_llm.config import Settings
from deft_llm.corpora.base import SIMULATED_MARK, Corpus
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.errors import UserError
from deft_llm.files import replacing_folder

logger = logging.getLogger(__name__)


class SimulatedCorpus(Settings):
    """How a corpus is simulated in its real layout.

    Attributes:
        subjects: Number of subjects.
        clips: Clips of each.
        seed: Number of people before the first. Corpora of one table need different people.
    """

    subjects: int = Field(ge=2)
    clips: int = Field(ge=2)
    seed: int = Field(default=0, ge=0)


def simulated_folder(reader: str, drawn: SimulatedCorpus, folder: Path, workers: int) -> Path:
    """The folder of a simulated corpus, which is rendered the first time.

    Args:
        reader: A key of ``CORPORA``.
        drawn: What to render.
        folder: Parent of the corpus.
        workers: Processes that render.

    Returns:
        The folder, named after what is in it: other settings are another corpus.
    """
    path = folder / f"{reader}-{drawn.subjects}x{drawn.clips}-{drawn.seed}"
    if not (path / SIMULATED_MARK).is_file():
        count = drawn.subjects * drawn.clips
        logger.info("%s: %d clips are simulated first, into %s", reader, count, path)
        with replacing_folder(path) as half:
            write_corpus(reader, half, **drawn.model_dump(), workers=workers)
    return path


def require_one_kind(corpora: Sequence[Corpus]) -> None:
    """Refuse a table of simulated and real corpora together.

    Raises:
        UserError: If there are both.
    """
    simulated = [each for each in corpora if each.simulated]
    real = [each for each in corpora if not each.simulated]
    if simulated and real:
        raise UserError(
            f"{simulated[0].root}: simulated ({SIMULATED_MARK} is there), and {real[0].root} is "
            "not; a table is of one kind: simulate the others too, or leave the simulated out"
        )
