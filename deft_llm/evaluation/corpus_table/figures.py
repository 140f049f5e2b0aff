"""Figures of a table of recognition: scores, and gains that are paired by subject."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np

from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.results import FigureSource, Result
from deft_llm.recognizers.base import LANGUAGE_MODELS

#: In place of an entry: the best one without a language model. It is chosen by the scores that it
#: is compared by, which favours it.
BEST = "best_recognizer"


def scheme_figures(scheme: str, entries: Iterable[str]) -> dict[str, FigureSource]:
    """Every figure of a label scheme -> how it is computed.

    ``<entry>_<scheme>_uf1`` is a mean over seeds. ``<entry>_<scheme>_gain_over_<entry>``, also over
    ``best_recognizer``, has the ends of its interval as ``_low`` and ``_high``.

    Args:
        scheme: A key of ``facs.SCHEMES``.
        entries: Names of the entries.
    """
    entries = list(entries)
    found = {f"{n}_{scheme}_uf1": FigureSource("uf1", f"{n}_{scheme}_uf1", n) for n in entries}
    for name in entries:
        for other in (*entries, BEST):
            gain = FigureSource("gain", f"{name}_{scheme}_gain_over_{other}", name, other)
            # A bar may name an end of the interval; it comes with its gain.
            found |= {f"{gain.figure}{end}": gain for end in ("", "_low", "_high")}
    return found


def scheme_values(
    scheme: str, results: Mapping[str, Result], wanted: Collection[str]
) -> dict[str, float]:
    """The score of every entry, and the other figures that are wanted.

    Args:
        scheme: A key of ``facs.SCHEMES``.
        results: Entry -> its rows.
        wanted: Names of figures, of this scheme or of others.
    """
    rivals = list(_rivals(results))
    compared = dict(results)
    if rivals:
        compared[BEST] = max(rivals, key=lambda r: float(np.mean(r.scores())))
    values: dict[str, float] = {}
    for figure, source in scheme_figures(scheme, results).items():
        if source.kind == "uf1" or figure in wanted:
            values |= source.values(compared, {})
    return values


def _rivals(results: Mapping[str, Result]) -> Iterator[Result]:
    return (r for r in results.values() if not has_language_model(r.entry))


def has_language_model(entry: ModelEntry) -> bool:
    """Whether an entry is DEFT-LLM or another language model."""
    return entry.recognizer in LANGUAGE_MODELS
