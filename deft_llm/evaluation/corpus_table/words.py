"""How a table was made, in words for a paper, and as a script that makes it again."""

from __future__ import annotations

import platform
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deft_llm import __version__
from deft_llm.evaluation.corpus_table.material import CorpusClips
from deft_llm.evaluation.corpus_table.schemes import SchemeClips
from deft_llm.evaluation.recognition.results import Result

_PROTOCOLS = {
    "loso": "leave-one-subject-out evaluation",
    "kfold": "{folds}-fold evaluation with disjoint subjects",
    "cross_dataset": "leave-one-dataset-out evaluation",
    "hold_out": "a hold-out set of {share:.0%} of the subjects",
}
_GAP = (
    "The gap to an unseen corpus is UF1 as above minus UF1 of the same model trained on all other "
    "corpora, a mean over corpora."
)
_SCRIPT = """#!/bin/sh
# Makes these tables again, in the folder "again" beside this file; changes may follow:
#   sh reproduce.sh {example}
# Takes the deft-llm of the environment that is active, or another one:
#   DEFT_LLM=.venv/bin/deft-llm sh reproduce.sh
# Written by deft-llm {version} on Python {python} with torch {torch}.
deft=${{DEFT_LLM:-deft-llm}}
if ! command -v "$deft" > /dev/null; then
  echo "reproduce.sh: $deft: not found; activate its environment, or give it: DEFT_LLM=…" >&2
  exit 127
fi
here=$(cd "$(dirname "$0")" && pwd)
exec "$deft" eval "$here/benchmark.yaml" "output=$here/again" "$@"
"""


@dataclass(frozen=True)
class Protocol:
    """What the words need to know of the settings."""

    name: str
    folds: int
    share: float
    flow: str
    landmarks: str
    unseen: bool

    @property
    def words(self) -> str:
        """For example "leave-one-subject-out evaluation"."""
        return _PROTOCOLS[self.name].format(folds=self.folds, share=self.share)


def paragraph(
    protocol: Protocol,
    corpora: Sequence[CorpusClips],
    tables: Sequence[tuple[SchemeClips, Sequence[Result]]],
) -> str:
    """The protocol as a paragraph for a paper, in Markdown."""
    # A model may be missing from one of the tables.
    results = list({r.name: r for _, of_table in tables for r in of_table}.values())
    several = any(len(r.seeds) > 1 for r in results)
    sentences = [
        f"We use {listed([_corpus(each) for each in corpora])}.",
        *(_scheme(made, len(corpora) > 1) for made, _ in tables),
        f"Scores come from {protocol.words}; training in the run, and every choice, sees the "
        "training subjects of a fold alone.",
        "Motion is measured between the coded onset, apex and offset on aligned faces, with head "
        f"motion removed (flow: {protocol.flow}; landmarks: {protocol.landmarks}).",
        *_models(results),
        *([_GAP] if protocol.unseen else []),
        "UF1 and UAR are unweighted means over the classes, from counts pooled over all folds"
        f"{', and means over seeds' if several else ''}; intervals (95 %) are bootstraps over "
        "subjects (2,000 draws), and gains over the baseline are paired by subject; p is that of "
        f"McNemar's exact test on the clips{', of the first seed' if several else ''}.",
        _audit(results),
    ]
    return " ".join(sentences) + "\n"


def _corpus(each: CorpusClips) -> str:
    count = len(each.clips)
    unmeasured = len(each.reading.entries) - count
    dropped = [note for note in each.reading.report if note.action == "dropped"]
    rows = len({(note.file, note.row) for note in dropped if note.row is not None})
    # The coded rows as well: "of 12 clips" would say that the sheet has no more.
    gone = [
        *([_of(rows, "row") + " of its sheet"] if rows else []),
        *([_of(unmeasured, "clip") + " that cannot be measured"] if unmeasured else []),
    ]
    left_out = f"; without {listed(gone)}" if gone else ""
    return f"{each.title} ({_of(count, 'clip')} of {_of(each.subjects, 'subject')}{left_out})"


def _of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _scheme(made: SchemeClips, several: bool) -> str:
    counts = [row for row in made.counts if not str(row["class"]).endswith("(left out)")]
    classes = ", ".join(
        f"{row['class']} ({row['clips']} clips: {row['emotions']})" for row in counts
    )
    used = len(made.data)
    words = Counter(clip.what.removeprefix("emotion ") for clip in made.left_out)
    without = ", ".join(f"{word} {n}" for word, n in sorted(words.items()))
    left = f"; {len(made.left_out)} clips are in none of them ({without})" if without else ""
    people = made.data.clips.people
    if len(tested := made.tested) < used:
        count = len(np.unique(people[tested]))
        left += f"; the test set is {len(tested)} clips of {count} subject{'s' * (count > 1)}"
    return (
        f"For {made.title} we map the coded emotions to {classes}: {used} clips of "
        f"{len(np.unique(people))} subjects{left}."
    )


def _models(results: Sequence[Result]) -> list[str]:
    """How epochs and settings were chosen, by model."""
    how: dict[str, list[str]] = {}
    for result in results:
        runs = f", {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
        how.setdefault(result.entry.selection + runs, []).append(result.name)
    notes = [f"{r.name}: {r.entry.remark}." for r in results if r.entry.remark]
    return [*(f"{listed(names)}: {selection}." for selection, names in how.items()), *notes]


def _audit(results: Sequence[Result]) -> str:
    """What the audit found, and of which models it cannot speak."""
    names = [r.name for r in results if r.entry.unchecked]
    beyond = f"; it does not cover what {listed(names)} learned from before" if names else ""
    return (
        "An audit found no clip in the training and the test part of a fold, neither by name nor "
        f"by content{beyond}."
    )


def listed(words: Sequence[str]) -> str:
    """Words as in a sentence: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def script(example: str) -> str:
    """``reproduce.sh``; ``example`` is a change of settings that somebody may want."""
    return _SCRIPT.format(
        example=shlex.quote(example),
        version=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
    )
