"""The benchmark of robustness: what light, file and motion may not do to an explanation."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from tqdm import tqdm

from deft_llm.config import Settings
from deft_llm.data.measuring import measure_video
from deft_llm.data.simulated import SimulatedData, head_at_hand, specs
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.robustness.agreement import contradictions
from deft_llm.evaluation.robustness.files import files, one_sided_clip, right
from deft_llm.evaluation.robustness.light import lit, still_specs
from deft_llm.evaluation.tables import markdown
from deft_llm.metrics.figures import Figure
from deft_llm.resources import EMBEDDED
from deft_llm.simulator.head import load_head
from deft_llm.simulator.ict_head.files import head_file
from deft_llm.simulator.render.lighting import LIGHTS
from deft_llm.simulator.scene.clips import SimulatedClip, render_many

logger = logging.getLogger(__name__)
_CRF = 18


class StillFaces(Settings):
    """Faces that do nothing under changing light.

    Attributes:
        faces: Number of faces.
        first_identity: Of the faces.
        seed: Of the clips.
        strength: Largest relative change of the light.
        head: Name of the head model.
    """

    faces: int = Field(ge=1)
    first_identity: int
    seed: int
    strength: float = Field(default=0.5, gt=0, lt=1)
    head: str = "own"


class OneSidedClip(Settings):
    """The clip that is written in every form.

    Attributes:
        identity: Of its face.
        seed: Of the clip.
    """

    identity: int
    seed: int


class RobustnessBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: robustness``.

    Attributes:
        checkpoint: Folder of the model; "embedded" is the one that comes along.
        light: Still faces under changing light.
        files: A clip in many containers, orientations and depths.
        explanations: Simulated clips whose explanations are checked, one set for each head.
        workers: Number of processes.
    """

    checkpoint: str = EMBEDDED
    light: StillFaces
    files: OneSidedClip
    explanations: list[SimulatedData]
    workers: int = Field(default=2, ge=1)
    output: Path = Path("runs/benchmarks/robustness")

    def figure_names(self) -> list[str]:
        """See the base."""
        return [
            *("light_false_alarms", "light_told", "steady_false_alarms"),
            *("frames_right", "sides_right"),
            *("contradictions", "explanations"),
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        light = self._light()
        lines = {kind: row for kind, row in light.items() if kind in LIGHTS}
        clips = sum(row["clips"] for row in lines.values())
        values = {
            "light_false_alarms": sum(row["named"] for row in lines.values()) / clips,
            "light_told": sum(row["told"] for row in lines.values()) / clips,
            "steady_false_alarms": light["steady"]["named"] / light["steady"]["clips"],
        }
        # Told as it is found: each part takes a quarter of an hour, and a later one may be stopped.
        logger.info("light: %s", values)
        written = _files(self.files)
        values["frames_right"] = float(np.mean([row["frames"] for row in written]))
        values["sides_right"] = float(np.mean([row["sides"] for row in written]))
        logger.info("files: %s", _by_kind(written))
        checked, found = 0, Counter[str]()
        for data in self.explanations:
            if not head_at_hand(data.head):
                continue
            for wrong in self._explained(data):
                checked += 1
                found.update(wrong)
            logger.info("%s: %d explanations, contradictions: %s", data.head, checked, dict(found))
        values |= {"contradictions": float(found.total()), "explanations": float(checked)}
        tables = [markdown([{"light": kind, **row} for kind, row in light.items()])]
        tables.append(markdown(_by_kind(written)))
        if found:
            tables.append(markdown([{"contradiction": w, "times": n} for w, n in found.items()]))
        return self.with_bars(values), "\n".join(tables)

    def _light(self) -> dict[str, dict[str, int]]:
        still = self.light
        rows = {k: {"clips": 0, "named": 0, "told": 0} for k in ("steady", *LIGHTS)}
        drawn = still_specs(still.faces, still.first_identity, still.seed, still.head)
        then = partial(_under_lights, strength=still.strength, checkpoint=self.checkpoint)
        for results in _progress(render_many(drawn, then, self.workers), "light", still.faces):
            for kind, (named, told) in results.items():
                rows[kind]["clips"] += 1
                rows[kind]["named"] += named
                rows[kind]["told"] += told
        return rows

    def _explained(self, data: SimulatedData) -> Iterator[list[str]]:
        then = partial(_checked, checkpoint=self.checkpoint)
        head = load_head(data.head, head_file(data.head, data.head_path))
        found = render_many(specs(data), then, self.workers, head)
        yield from _progress(found, f"explain {data.head}", data.clips)


def _files(clip: OneSidedClip) -> list[dict[str, Any]]:
    frames = one_sided_clip(clip.seed, clip.identity)
    rows = []
    with tempfile.TemporaryDirectory(prefix="deft-") as folder:
        for kind, name, path in _progress(files(Path(folder), frames), "files", 0):
            whole, side = right(path, frames)
            rows.append({"kind": kind, "file": name, "frames": whole, "sides": side})
    return rows


def _by_kind(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    table = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        wrong = [row["file"] for row in own if not (row["frames"] and row["sides"])]
        counted = {name: sum(row[name] for row in own) for name in ("frames", "sides")}
        table.append({"files": kind, "of": len(own), **counted, "wrong": ", ".join(wrong)})
    return table


def _progress(items: Iterable[Any], name: str, total: int) -> Iterator[Any]:
    yield from tqdm(items, desc=name, total=total or None, unit="clip", disable=None)


@lru_cache(maxsize=1)
def _explainer(checkpoint: str) -> Explainer:
    return Explainer.load(checkpoint)  # one for each process


def _under_lights(
    simulated: SimulatedClip, strength: float, checkpoint: str
) -> dict[str, tuple[bool, bool]]:
    """Kind of light -> whether an emotion is named, and whether the change is told."""
    results = {}
    for kind in ("steady", *LIGHTS):
        _, measured = measure_video(lit(simulated, kind, strength))
        explanation = _explainer(checkpoint).explain(measured)
        told = "the light changed" in explanation.status
        results[kind] = explanation.emotion is not None, told
    return results


def _checked(simulated: SimulatedClip, checkpoint: str) -> list[str]:
    """The contradictions of one explanation; none for a clip whose face is not found."""
    try:
        _, measured = measure_video(simulated.encoded(_CRF))
    except UserError:
        return []
    return contradictions(measured, _explainer(checkpoint).explain(measured))
