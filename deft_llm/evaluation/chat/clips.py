"""The clips that are asked about: the example clips, and simulated ones, filmed once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from deft_llm import resources
from deft_llm.data.simulated import VIDEO_CRF, SimulatedData, head_to_send, specs
from deft_llm.evaluation.chat.known import Known, known_of
from deft_llm.files import read_lines, replacing_folder
from deft_llm.media.video import encode_h264
from deft_llm.simulator.scene.clips import SimulatedClip, render_many

logger = logging.getLogger(__name__)
_KNOWN = "known.jsonl"
EXAMPLES = "chat_examples.jsonl"


@dataclass(frozen=True)
class KnownClip:
    """A video and the truth about it.

    Attributes:
        group: "examples", or the name of its set.
        file: The video.
        known: The truth.
    """

    group: str
    file: Path
    known: Known


def example_clips() -> list[KnownClip]:
    """The example clips that ship with the package."""
    rows = read_lines(resources.benchmark_data(EXAMPLES))
    found = (Known.from_json(row) for row in rows)
    return [KnownClip("examples", resources.clips() / f"{k.clip}.mp4", k) for k in found]


def filmed_clips(name: str, data: SimulatedData, cache: Path) -> list[KnownClip]:
    """Render a set of clips as videos with their truth, once, and again after a change of code.

    Args:
        name: Name of the set.
        data: What to simulate.
        cache: Folder; the set's subfolder is named by the hash of ``data``.
    """
    folder = cache / f"filmed-{data.digest()}"
    if not _up_to_date(folder, data):
        cache.mkdir(parents=True, exist_ok=True)
        films = tqdm(_films(data, data.workers), total=data.clips, desc=name, unit="clip")
        # A folder that is there is complete: an interrupted one keeps another name.
        with (
            replacing_folder(folder, overwrite=True) as partial,
            (partial / _KNOWN).open("w") as lines,
        ):
            for known, video in films:
                (partial / f"{known.clip}.mp4").write_bytes(video)
                lines.write(json.dumps(known.to_json()) + "\n")
    found = (Known.from_json(row) for row in read_lines(folder / _KNOWN))
    return [KnownClip(name, folder / f"{known.clip}.mp4", known) for known in found]


def _up_to_date(folder: Path, data: SimulatedData) -> bool:
    """Whether a set is there, and its first clip is the one that would be filmed now."""
    if not (folder / _KNOWN).is_file():
        return False
    for row, (known, video) in zip(read_lines(folder / _KNOWN), _films(data, 1), strict=False):
        if Known.from_json(row) != known or (folder / f"{known.clip}.mp4").read_bytes() != video:
            logger.warning("%s was filmed by other code: filmed again", folder)
            return False
        break
    return True


def _films(data: SimulatedData, workers: int) -> Iterator[tuple[Known, bytes]]:
    return render_many(specs(data), _film, workers, head_to_send(data))


def _film(simulated: SimulatedClip) -> tuple[Known, bytes]:
    video = encode_h264(simulated.clip.frames, simulated.spec.fps, VIDEO_CRF)
    return known_of(simulated), video
