"""The work of ``deft-llm recognize``: read the support set, measure clips, name their classes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.cli.clips import FoundClip, find_clips
from deft_llm.cli.console import Progress
from deft_llm.cli.light_start import use_one_thread
from deft_llm.cli.reading import Reading
from deft_llm.clip import Interval
from deft_llm.data.inputs import magnified_volume
from deft_llm.data.measuring import measure_video
from deft_llm.errors import UserError
from deft_llm.files import naming_disk_errors, write_bytes
from deft_llm.motion.measure import Measurement
from deft_llm.recognizers.few_shot import (
    FewShot,
    MotionFewShot,
    Shot,
    SupportSet,
    region_motion_vectors,
)
from deft_llm.recognizers.measured import answer, inputs_for, raw_key_frames
from deft_llm.recognizers.mpfnet import MPFNet
from deft_llm.recognizers.mpfnet_cam import grad_cam
from deft_llm.recognizers.psyau import PsyAU, carried
from deft_llm.recognizers.saved import SavedRecognizer, open_model
from deft_llm.viz.attention import attention_picture
from deft_llm.viz.overlay import encode_png
from deft_llm.viz.report_folder import safe_name, source_mark

logger = logging.getLogger(__name__)
_PAIRS = 3  # pairs of AUs that are told
_COLUMNS = ("file", "predicted", "probability", "onset", "apex", "offset", "remark", "error")
_PAIRS_COLUMN = "AU pairs"  # of a network with a graph of AUs
MOTION = "motion"
"""The model that compares measured motion, and needs no network."""


def clips_of_classes(folder: Path) -> list[tuple[str, FoundClip]]:
    """Class and clip of everything in a support set.

    Raises:
        UserError: If it is no folder of classes, or a class has no clip.
    """
    expected = "expected SUPPORT/CLASS/ with some five clips each, two classes or more"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {expected}")
    # Hidden folders are those of tools, such as .git or .ipynb_checkpoints.
    places = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not places:
        raise UserError(f"{folder}: no folder of a class in it; {expected}")
    found = []
    for place in places:
        # A class may hold folders of its own, one a person.
        clips = find_clips([place])
        if clips[0].problem:
            raise UserError(
                f"support: class {place.name!r} has no clip; give at least one (five are usual), "
                "or remove its folder"
            )
        found += [(place.name, clip) for clip in clips]
    return found


@dataclass(frozen=True)
class Recognizing:
    """Names the classes of clips with one network, or by their measured motion.

    Attributes:
        saved: The network; None for measured motion.
        few: The classes of a support set; None for those that the network was trained on.
        classes: Names of the classes.
        reading: How videos are read.
        heatmaps: Folder for a picture a clip of where the network looked; None for no pictures.
    """

    saved: SavedRecognizer | None
    few: SupportSet | None
    classes: tuple[str, ...]
    reading: Reading
    heatmaps: Path | None = None

    @classmethod
    def of(
        cls,
        model: str | None,
        weights: Path | None,
        labelled: list[tuple[str, FoundClip]],
        reading: Reading,
        progress: Progress,
        heatmaps: Path | None = None,
    ) -> Recognizing:
        """Open the network, and measure the support set if there is one.

        Raises:
            UserError: If the network is not there, or takes no examples or draws no heat map, the
                folder for heat maps cannot be made, a support clip cannot be measured, or the
                support set cannot answer.
        """
        # Before the network is loaded, which loads torch.
        use_one_thread()
        saved = None
        if weights is not None or model not in (None, MOTION):
            saved = open_model(model, weights)
        elif not labelled:
            raise UserError(
                "nothing to compare the clips with; give labelled ones (--support), or a trained "
                "network (--weights)"
            )
        _check_abilities(saved, bool(labelled), heatmaps is not None)
        if heatmaps is not None:
            with naming_disk_errors(heatmaps):
                heatmaps.mkdir(parents=True, exist_ok=True)
        # Without examples the classes are those of the training.
        if saved is not None and not labelled:
            return cls(saved, None, tuple(saved.config.classes), reading, heatmaps)
        shots = _shots(labelled, reading, progress)
        # In the order of the folders, which are sorted.
        classes = tuple(dict.fromkeys(label for label, _ in labelled))
        few: SupportSet
        if saved is not None and isinstance(saved.network, MPFNet):
            few = FewShot(saved.network, shots, classes)
        else:
            few = MotionFewShot(shots, classes)
        return cls(saved, few, classes, reading, heatmaps)

    @property
    def name(self) -> str:
        """What the clips are named by."""
        return MOTION if self.saved is None else self.saved.config.name

    def recognize(
        self, clip: FoundClip, interval: Interval | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Row and object of a clip.

        Raises:
            UserError: If it cannot be read, measured or compared.
        """
        if clip.problem:
            raise UserError(clip.problem)
        measurement = _measured(clip.path, self.reading, interval)
        found, pairs = self._found(str(clip.path), measurement)
        named = dict(zip(self.classes, map(float, found), strict=True))
        # Of equal ones the first in the order of the classes.
        predicted = max(named, key=named.__getitem__)
        heatmap = self._heatmap(clip.path, measurement)
        frames = measurement.interval
        # Frames of what was read, from 0.
        place = {"onset": frames.onset, "apex": frames.apex, "offset": frames.offset}
        record = {
            "file": str(clip.path),
            "error": None,
            "model": self.name,
            "predicted": predicted,
            "probabilities": {name: round(p, 6) for name, p in named.items()},
            "interval": place,
            "found": measurement.found,
            "remarks": list(measurement.remarks),
            **({} if heatmap is None else {"heatmap": str(heatmap)}),
            **({"au_pairs": pairs} if pairs else {}),
        }
        values = (str(clip.path), predicted, round(named[predicted], 4), *place.values())
        remark = "; ".join(measurement.remarks)
        row = dict(zip(_COLUMNS, (*values, remark, None), strict=True))
        return row | ({_PAIRS_COLUMN: _in_words(pairs)} if self._has_graph else {}), record

    def _found(
        self, name: str, measurement: Measurement
    ) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
        """Probabilities, and the pairs of AUs that carried them, of a network that has a graph."""
        if self.few is not None:
            return self.few([_shot(name, measurement)])[0], []
        assert self.saved is not None
        network = self.saved.network
        inputs = inputs_for(network, measurement)
        # The strongest come first.
        pairs = carried(network, inputs)[:_PAIRS] if isinstance(network, PsyAU) else []
        told = [{"aus": [p.first, p.second], "share": round(p.share, 4)} for p in pairs]
        return answer(network, inputs), told

    def _heatmap(self, clip: Path, measurement: Measurement) -> Path | None:
        """Write the picture of where the network looked; None if none is wanted."""
        if self.heatmaps is None:
            return None
        assert self.saved is not None
        network = self.few.network if isinstance(self.few, FewShot) else self.saved.network
        assert isinstance(network, MPFNet)
        # The same input as for the class: the map has to explain that answer.
        volume = magnified_volume(raw_key_frames(measurement), network.side)
        heat = grad_cam(network, torch.from_numpy(volume)).numpy()
        face = (measurement.evened or measurement.aligned).frames[measurement.interval.apex]
        # Clips of two folders may have one name.
        name = f"{safe_name(clip.stem)}-{source_mark(clip)[:6]}.png"
        write_bytes(self.heatmaps / name, encode_png(attention_picture(face, heat)))
        return self.heatmaps / name

    def failure(self, clip: FoundClip, error: UserError) -> tuple[dict[str, Any], dict[str, Any]]:
        """Row and object of a clip that failed."""
        known = {"file": str(clip.path), "error": str(error)}
        columns = (*_COLUMNS, _PAIRS_COLUMN) if self._has_graph else _COLUMNS
        # The same columns as of other clips: a table has one header.
        return {**dict.fromkeys(columns), **known}, known

    @property
    def _has_graph(self) -> bool:
        return self.saved is not None and isinstance(self.saved.network, PsyAU)


def lines_of(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and text of the lines that tell of a clip: its classes, the likeliest first."""
    ranked = sorted(record["probabilities"].items(), key=lambda item: -item[1])
    told = " · ".join(f"{name} {p:.2f}" for name, p in ranked)
    lines = [
        ("clip", record["file"]),
        ("class", told if record["found"] else f"{told} (no movement above the noise)"),
    ]
    if "heatmap" in record:
        lines.append(("heat map", record["heatmap"]))
    if "au_pairs" in record:
        lines.append(("", f"carried by {_in_words(record['au_pairs'])}"))
    return lines


def _check_abilities(saved: SavedRecognizer | None, examples: bool, heatmaps: bool) -> None:
    """Refuse what the network cannot do; examples without a network are compared by motion.

    Raises:
        UserError: If it takes no examples, or draws no heat map.
    """
    if saved is not None and isinstance(saved.network, MPFNet):
        return
    name = saved.config.name if saved is not None else MOTION
    for given, option, lacks in (
        (examples and saved is not None, "--support", "takes no examples"),
        (heatmaps, "--heatmaps", "draws none"),
    ):
        if given:
            raise UserError(f"{option}: {name} {lacks}; give an mpfnet, or leave {option} out")


def _shots(
    labelled: list[tuple[str, FoundClip]], reading: Reading, progress: Progress
) -> list[Shot]:
    """Measure a support set."""
    shots = []
    for number, (label, clip) in enumerate(labelled):
        progress.at(number, f"support: {label}/{clip.path.name}")
        measurement = _measured(clip.path, reading, None)
        # It still is an example, of a class such as "nothing".
        if not measurement.found:
            logger.warning("support: %s: no movement above the noise", clip.path)
        shots.append(_shot(str(clip.path), measurement, label))
    return shots


def _shot(name: str, measurement: Measurement, label: str | None = None) -> Shot:
    table = measurement.table_apex
    # Over the noise of each region, so that a calm and a restless face can be compared.
    motion = region_motion_vectors(table.u, table.v, table.z)
    return Shot(name, raw_key_frames(measurement), label, motion)


def _in_words(pairs: list[dict[str, Any]]) -> str:
    """Pairs of AUs with their shares; an AU alone is what it said of itself."""
    told = []
    for pair in pairs:
        names = dict.fromkeys(f"AU{number}" for number in pair["aus"])
        told.append(f"{' and '.join(names)} {pair['share']:.2f}")
    return ", ".join(told)


def _measured(path: Path, reading: Reading, interval: Interval | None) -> Measurement:
    _, measurement = measure_video(path, reading.of(path), interval)
    return measurement
