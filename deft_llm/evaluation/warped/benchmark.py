"""The benchmark of known motion on real skin: photos and clips, warped exactly by AUs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from tqdm import tqdm

from deft_llm.config import Settings
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.tables import markdown
from deft_llm.evaluation.warped import natural as natural_clips
from deft_llm.evaluation.warped.clips import Condition, Order, Row, rows_of
from deft_llm.evaluation.warped.faces import files_in, real_faces, rendered_faces
from deft_llm.evaluation.warped.scores import by_class, by_condition, figure_names, figures
from deft_llm.evaluation.warped.unfinished import UnfinishedRows
from deft_llm.files import write_lines
from deft_llm.metrics.figures import Figure
from deft_llm.parallel import parallel_map
from deft_llm.resources import EMBEDDED
from deft_llm.simulator.warped.portrait import Portrait

logger = logging.getLogger(__name__)
KINDS = ("real", "rendered")
_ROWS = "clips.jsonl"


class OurVideos(Settings):
    """Clips in the folder ``video`` of DEFT_DATA, for runs without the user's own.

    Attributes:
        files: Their names.
        people: How many different people they show.
    """

    files: list[str]
    people: int = Field(ge=1)


class WarpedBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: warped``.

    Attributes:
        checkpoint: Folder of the model; "embedded" is the one that comes along.
        source: Photos and clips to warp, a file or a folder; None for ``videos``.
        resting: The clips of ``source`` show faces at rest: frames in a row are warped, with
            their own noise. Otherwise each face is one frame, with noise of a simulated sensor.
        videos: The real clips that are warped without a ``source``.
        kinds: Which faces: "real", "rendered".
        faces: Number of faces of each kind.
        first_identity: Of the rendered faces.
        seed: Of everything that is drawn.
        peak_px: Least and largest displacement of the skin at the apex, log-uniform between,
            canonical pixels.
        conditions: Name -> what happens; each face gets one clip of each.
        natural: Real clips with what is to be named.
        workers: Number of processes.
        output: Folder of ``clips.jsonl``, a line for each clip: what moved and what was named. A
            stopped run leaves what it has found there, and goes on from it.
    """

    checkpoint: str = EMBEDDED
    source: Path | None = None
    resting: bool = False
    videos: OurVideos
    kinds: list[Literal["real", "rendered"]] = ["real", "rendered"]
    faces: int = Field(default=60, ge=1)
    first_identity: int
    seed: int
    peak_px: tuple[float, float] = (0.5, 3.0)
    conditions: dict[str, Condition]
    natural: list[natural_clips.NaturalClip] = []
    workers: int = Field(default=2, ge=1)
    output: Path = Path("runs/benchmarks/warped")

    @field_validator("peak_px")
    @classmethod
    def _amplitudes(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("expected two lengths above 0, the smaller one first")
        return value

    def figure_names(self) -> list[str]:
        """See the base."""
        of_faces = (figure_names(kind, self.conditions) for kind in KINDS)
        return [*chain(*of_faces), "natural_right"]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        values: dict[str, float] = {}
        tables, rows = [], []
        unfinished = UnfinishedRows(self.output)
        # First, so that a missing clip is told before anything is rendered.
        clips = [(clip, natural_clips.find(clip)) for clip in self.natural]
        for kind in self.kinds:
            portraits = self._portraits(kind)
            if not portraits:
                continue
            tables.append(self._told(kind, portraits))
            own = list(self._rows(kind, portraits, unfinished))
            rows += own
            values |= figures(kind, own, self.conditions)
            # Told as it is found: the other kind takes as long, and may be stopped.
            logger.info("%s: %s", kind, {name: round(value, 3) for name, value in values.items()})
        if rows:
            lines = (json.dumps({**asdict(row), "right": row.right}) for row in rows)
            write_lines(self.output / _ROWS, lines)
            unfinished.remove()
            logger.info("each clip: %s", self.output / _ROWS)
            # Of faces that keep still, no class is to be named.
            tables += [markdown(told) for told in (by_condition(rows), by_class(rows)) if told]
        found = [natural_clips.read(clip, path, self.checkpoint) for clip, path in clips if path]
        if found:
            values["natural_right"] = sum(line["right"] for line in found) / len(found)
            tables.append(markdown(found))
        return self.with_bars(values), "\n".join(tables)

    def _portraits(self, kind: str) -> list[Portrait]:
        if kind == "rendered":
            return list(rendered_faces(self.first_identity, self.seed, self.faces))
        if self.source is not None:
            return real_faces(files_in(self.source), self.faces, self.resting)
        data = os.environ.get("DEFT_DATA")
        if data is None:
            logger.warning(
                "real faces are left out: give source=FOLDER with photos or clips, or set "
                "DEFT_DATA to the folder around video/"
            )
            return []
        return real_faces([Path(data) / "video" / name for name in self.videos.files], self.faces)

    def _told(self, kind: str, portraits: list[Portrait]) -> str:
        """Which faces these are, in a sentence."""
        if kind == "rendered":
            return f"Rendered: {len(portraits)} faces, each of another head.\n"
        files = len({face.name for face in portraits})
        people = "" if self.source else f", which show {self.videos.people} person(s)"
        return (
            f"Real: {len(portraits)} faces from {files} file(s){people}; every second mirrored.\n"
        )

    def _rows(
        self, kind: str, portraits: list[Portrait], unfinished: UnfinishedRows
    ) -> Iterator[Row]:
        orders = [
            Order(kind, i, face, self.conditions, self.seed, self.peak_px, self.checkpoint)
            for i, face in enumerate(portraits)
        ]
        left = [order for order in orders if unfinished.of(order) is None]
        if len(left) < len(orders):
            logger.info("%s: %d faces are done already", kind, len(orders) - len(left))
        made = parallel_map(rows_of, left, self.workers)
        shown = tqdm(made, desc=kind, total=len(left), unit="face", disable=None)
        for order, rows in zip(left, shown, strict=True):
            unfinished.add(order, rows)
        for order in orders:
            yield from unfinished.of(order) or ()
