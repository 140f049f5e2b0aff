"""Leave one subject out on a corpus of long videos, beside the published numbers.

In each fold, everything that is learned or counted comes from the other subjects: weights, the
thresholds of the decoder (from those of them that are held out for it), the length of a typical
expression, and MDMD's threshold. All videos of the subject are searched, those without expressions
too. What was found is kept by entry and fold, so a stopped run goes on; scores come from that
alone.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from accelerate.utils import set_seed
from pydantic import Field, model_validator

from deft_llm.clip import Expression
from deft_llm.config import Settings
from deft_llm.corpora.megc_spotting import write_spotting
from deft_llm.data.corpus_videos import corpus_videos
from deft_llm.data.long_videos import CodedVideo
from deft_llm.data.video_sources import CorpusFolder
from deft_llm.data.window_pictures import windows_of
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.spotting.entries import (
    Found,
    Method,
    found_by_mdmd,
    found_on_windows,
    read_found,
    require_entries,
    search_returning,
    write_found,
)
from deft_llm.evaluation.spotting.tables import counter_row, score_row, write_tables
from deft_llm.evaluation.tables import markdown
from deft_llm.files import digest
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.spot_then_recognize import (
    REPORTED,
    score_videos,
    spotting_f1,
    strs,
    subject_tables,
)
from deft_llm.metrics.spotting import SpottedVideo
from deft_llm.metrics.subjects import ConfidenceInterval, bootstrap, paired_difference
from deft_llm.protocols import Split, loso, require_disjoint_subjects
from deft_llm.spotters.registry import LoadedSpotter, load_spotter
from deft_llm.spotters.returning import ReturningFinder
from deft_llm.spotters.task import SpotterSettings, SpottingTask
from deft_llm.training.loop import fit
from deft_llm.training.run_folder import claimed_folder

logger = logging.getLogger(__name__)
OF_ENTRY = (
    *("f1", "recognition_f1_3", "recognition_f1_4", "uf1_3", "uf1_4", "uar_3", "uar_4"),
    *("strs_3", "strs_4", "strs_7", "false_alarms_a_minute"),
)


class LosoEntry(Settings):
    """One row: a network that every fold trains, or a method, which learns in every fold as well.

    Attributes:
        recipe: How the network is trained.
        method: "mdmd", "softnet", "mean" or "returning"; see ``entries.SpottingEntry``.
        note: Note for the table.
    """

    recipe: SpotterSettings | None = None
    method: Method | None = None
    note: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> LosoEntry:
        if (self.recipe is None) == (self.method is None):
            raise ValueError("give one of recipe and method")
        return self


class PublishedSpotting(Settings):
    """Numbers from a paper, or of somebody's replay of its code.

    Attributes:
        entry: Its name.
        f1: F1 of spotting.
        recognition_f1: F1 of recognition, if known.
        strs: Spot-then-recognize score, if known.
        source: Where they are from, and how they were counted.
    """

    entry: str
    f1: float
    recognition_f1: float | None = None
    strs: float | None = None
    source: str


class SpottingLoso(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: spotting_loso``.

    Figures are ``<entry>_<score>`` (``OF_ENTRY``), and ``<entry>_gain_over_<entry>`` of F1 with
    ``_low`` and ``_high``, paired by subject.

    Attributes:
        corpus: The corpus; a relative root is looked for in DEFT_DATA.
        cache: Folder for measured videos.
        entries: What can be compared.
        models: Names of entries to run; empty runs all.
        gains: Pairs of entries, the better one first.
        published: Numbers to show beside ours.
    """

    corpus: CorpusFolder
    cache: Path = Path("runs/videos")
    entries: dict[str, LosoEntry] = Field(min_length=1)
    models: list[str] = []
    gains: list[tuple[str, str]] = []
    published: list[PublishedSpotting] = []

    def figure_names(self) -> list[str]:
        """See the base."""
        gains = [f"{a}_gain_over_{b}" for a, b in self.gains]
        return [
            *(f"{name}_{score}" for name in self.entries for score in OF_ENTRY),
            *(f"{gain}{end}" for gain in gains for end in ("", "_low", "_high")),
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        require_entries(self.entries, self.models, self.gains)
        for name, entry in self.entries.items():
            if entry.recipe is not None:
                entry.recipe.network(f"entries.{name}.recipe")
        videos = corpus_videos(self.corpus.name, self._root(), self.cache)
        subjects = [video.subject for video in videos]
        splits = loso(subjects)
        for split in splits:
            require_disjoint_subjects(split, subjects)
        results = {
            name: self._result(name, self.entries[name], videos, splits)
            for name in self.models or self.entries
        }
        return self._scored(results)

    def _root(self) -> Path:
        return Path(os.environ.get("DEFT_DATA", "")) / self.corpus.root

    def _result(
        self, name: str, entry: LosoEntry, videos: Sequence[CodedVideo], splits: Sequence[Split]
    ) -> list[SpottedVideo]:
        """What an entry finds in all videos, each in the fold that tests it."""
        tracks = (
            np.ascontiguousarray(getattr(video.track, name)).data
            for video in videos
            for name in ("motion", "shots", "timestamps")  # curves depend on all of them
        )
        codings = json.dumps([(v.subject, v.video, repr(v.coded)) for v in videos])
        settings = entry.model_dump_json(exclude={"note"})
        # By measurements and codings too: what was found is valid for these alone.
        key = digest(settings, ReturningFinder.key, codings, *tracks)[:12]
        folder = self.output / f"{name}-{key}"
        found: dict[int, SpottedVideo] = {}
        for split in splits:
            test = [int(row) for row in split.test]
            files = [folder / f"fold{split.fold:03d}-video{k:03d}.json" for k in range(len(test))]
            if not all(file.is_file() for file in files):
                logger.info("%s: fold %d of %d", name, split.fold + 1, len(splits))
                train = [videos[row] for row in split.train]
                own = folder / f"fold{split.fold:03d}"
                here = self._searched(entry, train, [videos[row] for row in test], own)
                folder.mkdir(parents=True, exist_ok=True)
                for file, expressions in zip(files, here, strict=True):
                    write_found(file, expressions)
            for row, file in zip(test, files, strict=True):
                found[row] = videos[row].spotted(read_found(file))
        keys = [(video.subject, video.video) for video in videos]
        # At the full rate, in which the table is exchanged.
        rows = [videos[k].in_frames(found[k].found) for k in range(len(videos))]
        write_spotting(self.output / f"found-{name}.csv", dict(zip(keys, rows, strict=True)))
        return [found[k] for k in range(len(videos))]

    def _searched(
        self,
        entry: LosoEntry,
        train: Sequence[CodedVideo],
        test: Sequence[CodedVideo],
        folder: Path,
    ) -> Found:
        """What one fold finds in the videos of its subject."""
        if entry.method == "mdmd":
            return found_by_mdmd(train, test)
        if entry.method == "returning":
            return [_returning(video) for video in test]
        if entry.method is not None:
            windows = partial(windows_of, cache=self.cache)
            return found_on_windows(entry.method, train, windows, test, windows)
        assert entry.recipe is not None
        spotter = train_fold(entry.recipe, train, folder)
        return [tuple(spotter.spot(video.curves(spotter.rois))) for video in test]

    def _scored(self, results: Mapping[str, list[SpottedVideo]]) -> tuple[list[Figure], str]:
        values: dict[str, float] = {}
        rows, counters = [], []
        for name, spotted in results.items():
            scores = score_videos(spotted, REPORTED)
            values |= {f"{name}_{score}": scores[score] for score in OF_ENTRY}
            tables = subject_tables(spotted)
            ends = {"F1": bootstrap([tables], spotting_f1), "STRS 3": bootstrap([tables], strs)}
            note = "; ".join([*(f"{head} {end}" for head, end in ends.items()), ""])
            rows.append(score_row(name, "own", scores, note + self.entries[name].note))
            counters.append(counter_row(name, spotted))
        gains = self._gains(results)
        for name, gain in gains.items():
            values |= {name: gain.value, f"{name}_low": gain.low, f"{name}_high": gain.high}
        parts = [write_tables(self.output, rows, gains), markdown(counters)]
        if self.published:
            parts.append(markdown([_published_row(each) for each in self.published]))
        return self.with_bars(values), "\n".join(parts)

    def _gains(self, results: Mapping[str, list[SpottedVideo]]) -> dict[str, ConfidenceInterval]:
        tables = {name: [subject_tables(spotted)] for name, spotted in results.items()}
        return {
            f"{a}_gain_over_{b}": paired_difference(tables[a], tables[b], spotting_f1)
            for a, b in self.gains
            if a in tables and b in tables
        }


def _published_row(each: PublishedSpotting) -> dict[str, object]:
    values = each.model_dump()
    return {name: "" if value is None else value for name, value in values.items()}


def _returning(video: CodedVideo) -> tuple[Expression, ...]:
    assert video.source is not None
    return video.of_track(search_returning(video.source, video.reading))


def train_fold(
    settings: SpotterSettings, train: Sequence[CodedVideo], folder: Path
) -> LoadedSpotter:
    """Train a spotter on the videos of a fold's training subjects, or load it.

    Args:
        settings: How it is trained; every fold has the same seed.
        train: Their videos. Thresholds, and the length of a typical expression, are from them.
        folder: The fold's own folder; a stopped training goes on.

    Raises:
        UserError: If there are fewer than two training subjects, or nothing of theirs is coded.
    """
    with claimed_folder(folder, settings):
        set_seed(settings.seed)
        final = fit(SpottingTask(settings.network(), settings, train), settings.schedule, folder)
    return load_spotter(final)
