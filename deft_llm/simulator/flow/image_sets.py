"""Sets of simulated flow images, drawn once and kept in shards of a cache."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from deft_llm.files import digest, file_digest, replacing
from deft_llm.motion.encoding import stretch
from deft_llm.simulator.flow.images import FlowImageSettings, draw_images
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import head_file

logger = logging.getLogger(__name__)
IMAGES_PER_SHARD = 500  # an interruption loses at most this many


@dataclass(frozen=True)
class SimulatedFlow:
    """A draw of flow images.

    Attributes:
        images: uint8 (N, 28, 28, 3), channels u, v, strain.
        labels: (N,) int64, index in ``facs.THREE_CLASSES``.
        aus: (N, K, 2) uint8: 1 where one of ``AUS`` acts on the subject's left, right.
        identities: (N,) int64, seed of each face.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    aus: NDArray[np.uint8]
    identities: NDArray[np.int64]


def simulate_flow(settings: FlowImageSettings, cache: Path | None = None) -> SimulatedFlow:
    """Draw flow images, or read them from the cache.

    Images are stored in shards as they are drawn: after an interruption, the same call goes on with
    the first missing shard. The first image is drawn again on every call. If it differs from the
    stored one, the simulator has changed, and all images are drawn again.

    Args:
        settings: What to draw.
        cache: Cache folder; None keeps nothing.

    Raises:
        UserError: If the head or its file does not exist.
    """
    file = head_file(settings.head, settings.head_path)
    head, rows = load_head(settings.head, file), range(settings.images)
    if cache is None:
        return _draw(settings, head, tqdm(rows, desc="flow", unit="image"))
    # Where the head's file lies does not change the images, but what it holds does.
    text = settings.model_dump_json(exclude={"head_path"})
    folder = cache / f"flow-{digest(text, _content(file))[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    shards = {
        folder / f"{start:07d}.safetensors": rows[start : start + IMAGES_PER_SHARD]
        for start in rows[::IMAGES_PER_SHARD]
    }
    _delete_if_changed(settings, head, shards)
    there = sum(len(some) for shard, some in shards.items() if shard.is_file())
    if 0 < there < len(rows):
        logger.info("%s: %d of %d images are there already", folder, there, len(rows))
    with tqdm(total=len(rows), initial=there, desc="flow", unit="image") as progress:
        for shard, some in shards.items():
            if not shard.is_file():
                made = _draw(settings, head, _counted(some, progress))
                with replacing(shard) as partial:
                    save_file(vars(made), partial)
    parts = [load_file(shard) for shard in shards]
    return SimulatedFlow(**{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def _draw(settings: FlowImageSettings, head: Head, rows: Iterable[int]) -> SimulatedFlow:
    fields, labels, aus, faces = zip(*draw_images(settings, head, rows), strict=True)
    return SimulatedFlow(
        stretch(np.stack(fields)), np.array(labels), np.stack(aus), np.array(faces)
    )


def _counted(rows: Iterable[int], progress: tqdm) -> Iterator[int]:
    for row in rows:
        yield row
        progress.update()


def _content(file: Path | None) -> str:
    """A hash of a head's file, or of the files in its folder; "" for a head without a file."""
    if file is None or not file.is_dir():
        return "" if file is None else file_digest(file)
    return digest(*(path.name + file_digest(path) for path in sorted(file.iterdir())))


def _delete_if_changed(
    settings: FlowImageSettings, head: Head, shards: Mapping[Path, range]
) -> None:
    """Delete the shards if today's code draws the first stored image differently."""
    kept = [shard for shard in shards if shard.is_file()]
    if not kept:
        return
    stored, again = load_file(kept[0]), _draw(settings, head, shards[kept[0]][:1])
    if not all(np.array_equal(stored[name][:1], values) for name, values in vars(again).items()):
        logger.warning("%s was drawn by other code: drawn again", kept[0].parent)
        for shard in kept:
            shard.unlink()
