"""Spotting on long simulated videos of people never trained on, decoders and baselines beside.

Each trained spotter reads each video once; its curve is decoded in all ways. Thresholds, and the
length of a typical expression, come from training subjects alone: they are stored with the
weights. Videos without expressions are scored as well. Gains are paired: both sides are drawn with
the same subjects (``metrics.subjects``).

Decoders are also compared on perfect curves, where only they lose anything, and on noise.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.megc_spotting import write_spotting
from deft_llm.data.long_videos import LongVideoData, video_specs
from deft_llm.data.video_sources import VideoSource
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.spotting.ceiling import FIGURES as CEILING
from deft_llm.evaluation.spotting.ceiling import ceiling
from deft_llm.evaluation.spotting.entries import (
    Found,
    SpottingEntry,
    found_by_mdmd,
    found_by_network,
    found_by_returning,
    found_on_windows,
    require_entries,
)
from deft_llm.evaluation.spotting.perfect_curves import (
    NOISES,
    alarms_on_noise,
    coded_videos,
    decoder_f1,
    decoders,
    drawn_videos,
)
from deft_llm.evaluation.spotting.scores import ScoredVideo, spotting_scores
from deft_llm.evaluation.spotting.tables import score_row, write_tables
from deft_llm.leaks import require_disjoint
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.spot_then_recognize import spotting_f1, subject_tables
from deft_llm.metrics.subjects import ConfidenceInterval, paired_difference
from deft_llm.simulator.scene.video_spec import VideoSpec
from deft_llm.spotters.registry import DECODERS, OWN, load_spotter

logger = logging.getLogger(__name__)
#: Scores of ``spotting_scores`` that are figures: of each entry by itself, and of each decoder.
OF_ENTRY = (
    *("f1", "f1_1px", "strs_3", "strs_4", "strs_3_1px", "strs_4_1px"),
    *("false_alarms_without", "false_alarms_speech", "border_error"),
)
OF_DECODER = ("f1", "f1_1px")
DECODERS_OFF = "decoders_off"

Searched = dict[str, dict[str, Found]]
"""Entry -> decoder -> what was found; entries without a network have ``OWN`` alone."""


class SpottingBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: spotting``.

    Figures are ``<entry>_<score>`` with our decoder (``OF_ENTRY``), ``<entry>_<decoder>_f1`` and
    ``..._f1_1px``, ``<entry>_gain_over_<entry>`` of F1, with ``_low`` and ``_high``,
    ``<entry>_<decoder>_gain_over_<decoder>``, ``ceiling_<score>`` (``ceiling.FIGURES``),
    ``perfect_<decoder>_sd<noise>``,
    ``noise_<decoder>_alarms_an_hour``, and ``decoders_off``, the largest difference from
    ``replayed``. An entry whose folder is missing is left out; its figures that have a bar miss it.

    Attributes:
        data: The test videos.
        cache: Folder for measured videos, the one of the recipes: videos are rendered once.
        entries: What can be compared.
        models: Names of entries to run; empty runs all.
        gains: Pairs of entries, the better one first.
        decoder_gains: The same of decoders, for each trained spotter.
        ceiling: Expressions that the rule of the ceiling is fitted on; 0 for no ceiling.
        coding: A sheet of CAS(ME)3, relative to the environment variable DEFT_DATA, on whose
            durations ``replayed`` was measured.
        replayed: Decoder and noise -> F1 on perfect curves by an independent implementation.
        perfect_videos: Perfect curves that decoders are compared on.
        noise_minutes: Minutes of noise that decoders are tried on.
    """

    data: LongVideoData
    cache: Path = Path("runs/videos")
    entries: dict[str, SpottingEntry] = Field(min_length=1)
    models: list[str] = []
    gains: list[tuple[str, str]] = []
    decoder_gains: list[tuple[str, str]] = []
    ceiling: int = Field(default=0, ge=0)
    coding: Path | None = None
    replayed: dict[str, float] = {}
    perfect_videos: int = Field(default=80, ge=1)
    noise_minutes: int = Field(default=60, ge=1)

    def figure_names(self) -> list[str]:
        """See the base."""
        networks = [name for name, entry in self.entries.items() if entry.spotter]
        gains = [f"{a}_gain_over_{b}" for a, b in self.gains]
        alone = decoders(drawn_videos(1))
        return [
            *(f"{name}_{score}" for name in self.entries for score in OF_ENTRY),
            *(f"{n}_{d}_{s}" for n in networks for d in DECODERS for s in OF_DECODER),
            *(f"{gain}{end}" for gain in gains for end in ("", "_low", "_high")),
            *(f"{n}_{a}_gain_over_{b}" for n in networks for a, b in self.decoder_gains),
            *(f"ceiling_{score}" for score in CEILING),
            *(f"perfect_{name}_sd{noise:g}" for noise in NOISES for name in alone),
            *(f"noise_{name}_alarms_an_hour" for name in alone),
            DECODERS_OFF,
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        self._require_names()
        specs = list(video_specs(self.data))
        self._require_unseen(specs)
        values = self._decoders_alone()
        chosen = {name: self.entries[name] for name in self.models or self.entries}
        entries = {name: entry for name, entry in chosen.items() if _at_hand(name, entry)}
        source = VideoSource(simulated=self.data)
        videos = [
            ScoredVideo(video, speech_of(spec))
            for video, spec in zip(source.open(self.cache), specs, strict=True)
        ]
        if self.ceiling:
            best = ceiling(videos, specs, self.ceiling)
            values |= {f"ceiling_{name}": value for name, value in best.items()}
        searched = {name: self._searched(entry, videos) for name, entry in entries.items()}
        rows, scored = self._scored(searched, videos)
        values |= scored
        gains = self._gains(searched, videos)
        for name, gain in gains.items():
            values |= {name: gain.value, f"{name}_low": gain.low, f"{name}_high": gain.high}
        values |= self._decoder_gains(values)
        # What was asked for and is not there misses its bar.
        missed = {} if self.models else {n: math.nan for n in self.bars if n not in values}
        self._write(searched, videos)
        return self.with_bars(values | missed), write_tables(self.output, rows, gains)

    def _require_names(self) -> None:
        require_entries(self.entries, self.models, self.gains)
        for name in {name for pair in self.decoder_gains for name in pair} - set(DECODERS):
            raise UserError(
                f"decoder_gains: no decoder {name!r}; expected some of {', '.join(DECODERS)}"
            )

    def _require_unseen(self, specs: Sequence[VideoSpec]) -> None:
        """Before anything is rendered."""
        tested = {spec.subject for spec in specs}
        for name, entry in self.entries.items():
            if (recipe := entry.training()) is not None:
                require_disjoint(
                    {"subject": recipe.data.subjects()},
                    {"subject": tested},
                    f"training videos of {name} and test videos",
                    "set data.first_identity apart from the recipe's",
                )

    def _searched(self, entry: SpottingEntry, videos: Sequence[ScoredVideo]) -> dict[str, Found]:
        coded = [each.video for each in videos]
        if entry.spotter:
            return found_by_network(load_spotter(entry.spotter), coded, DECODERS)
        if entry.method == "returning":
            return {OWN: found_by_returning(self.data, self.output)}
        recipe = entry.training()
        assert recipe is not None
        train = recipe.data.open(self.cache)
        if entry.method == "mdmd":
            return {OWN: found_by_mdmd(train, coded)}
        assert entry.method is not None
        ours = VideoSource(simulated=self.data).windows(self.cache)
        theirs = recipe.data.windows(self.cache)
        return {OWN: found_on_windows(entry.method, train, theirs, coded, ours)}

    def _scored(
        self, searched: Searched, videos: Sequence[ScoredVideo]
    ) -> tuple[list[dict[str, object]], dict[str, float]]:
        """The table's row of each decoder of each entry, and the scores as figures."""
        rows: list[dict[str, object]] = []
        values: dict[str, float] = {}
        for name, ways in searched.items():
            for decoder, found in ways.items():
                scores = spotting_scores(videos, found)
                # A method without a network has one decoder, whose scores stand under OF_ENTRY.
                values |= {f"{name}_{decoder}_{s}": scores[s] for s in OF_DECODER if len(ways) > 1}
                if decoder == OWN:
                    values |= {f"{name}_{score}": scores[score] for score in OF_ENTRY}
                rows.append(score_row(name, decoder, scores, self.entries[name].note))
        return rows, values

    def _gains(
        self, searched: Searched, videos: Sequence[ScoredVideo]
    ) -> dict[str, ConfidenceInterval]:
        found = {}
        for ours, theirs in self.gains:
            if ours in searched and theirs in searched:
                tables = [
                    subject_tables(
                        [
                            v.video.spotted(f)
                            for v, f in zip(videos, searched[name][OWN], strict=True)
                        ]
                    )
                    for name in (ours, theirs)
                ]
                gain = paired_difference([tables[0]], [tables[1]], spotting_f1)
                found[f"{ours}_gain_over_{theirs}"] = gain
        return found

    def _decoder_gains(self, values: Mapping[str, float]) -> dict[str, float]:
        return {
            f"{name}_{a}_gain_over_{b}": values[f"{name}_{a}_f1"] - values[f"{name}_{b}_f1"]
            for name in self.entries
            for a, b in self.decoder_gains
            if f"{name}_{a}_f1" in values
        }

    def _decoders_alone(self) -> dict[str, float]:
        """Decoders without a network: on perfect curves and on noise."""
        perfect = decoder_f1(drawn_videos(self.perfect_videos))
        values = {f"perfect_{name}": value for name, value in perfect.items()}
        noise = alarms_on_noise(self.noise_minutes)
        values |= {f"noise_{name}_alarms_an_hour": 60 * value for name, value in noise.items()}
        return values | self._replayed()

    def _replayed(self) -> dict[str, float]:
        if self.coding is None or not self.replayed:
            return {}  # there is no replay to compare with
        root = os.environ.get("DEFT_DATA")
        if not root:
            logger.warning("decoders are not compared with their replay: set DEFT_DATA")
            return {}
        sheet = Path(root) / self.coding
        if not sheet.is_file():
            raise UserError(f"coding: {sheet}: no such file; expected a sheet of CAS(ME)3")
        with tempfile.TemporaryDirectory() as folder:
            # Beside sheets of other corpora, a reader could not tell which one is meant.
            (Path(folder) / sheet.name).symlink_to(sheet.resolve())
            annotations = load_corpus("casme3", Path(folder)).read(frames=False).annotations
        found = decoder_f1(coded_videos(annotations))
        if unknown := set(self.replayed) - set(found):
            raise UserError(f"replayed: no decoder and noise {min(unknown)!r}")
        return {DECODERS_OFF: max(abs(found[k] - v) for k, v in self.replayed.items())}

    def _write(self, searched: Searched, videos: Sequence[ScoredVideo]) -> None:
        """MEGC's table of what each entry found."""
        for name, ways in searched.items():
            keys = [(each.video.subject, each.video.video) for each in videos]
            found = dict(zip(keys, ways[OWN], strict=True))
            self.output.mkdir(parents=True, exist_ok=True)
            write_spotting(self.output / f"found-{name}.csv", found)


def speech_of(spec: VideoSpec) -> tuple[tuple[float, float], ...]:
    """First and last second of each movement of speech."""
    return tuple(
        (movement.start, movement.start + movement.duration)
        for movement in spec.rest.movements
        if movement.kind == "speech"
    )


def _at_hand(name: str, entry: SpottingEntry) -> bool:
    if entry.spotter is None or entry.spotter.is_dir():
        return True
    logger.warning("entry %r is left out: no folder %s", name, entry.spotter)
    return False
