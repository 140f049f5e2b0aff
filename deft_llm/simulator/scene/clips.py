"""Render recipes to simulated clips: frames, annotation, landmarks and exact flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Annotation, Clip
from deft_llm.media.video import decode_bytes, encode_h264
from deft_llm.parallel import parallel_map
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.scene import Scene

__all__ = ["ClipSpec", "SimulatedClip", "draw_spec", "render_clip", "render_many"]

Floats = NDArray[np.float32]
Rendered = TypeVar("Rendered")


@dataclass(frozen=True)
class SimulatedClip:
    """A rendered clip with its ground truth.

    Attributes:
        spec: The recipe.
        clip: The frames, before any compression.
        annotation: The coding; the interval is None without AUs.
        landmarks: (T, 68, 2) float32 in frame pixels, iBUG order.
        scene: The identity and its states; exact flow is computed from it on demand.
    """

    spec: ClipSpec
    clip: Clip
    annotation: Annotation
    landmarks: Floats
    scene: Scene

    def exact_flow(
        self, i: int, j: int, compensated: bool = True
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """The exact flow from frame ``i`` to frame ``j``.

        Args:
            i: First frame.
            j: Second frame.
            compensated: Keep the head in the pose of frame ``i``, so that only facial motion
                remains, including blinks and gaze.

        Returns:
            Flow (2, H, W) float32 in frame pixels, u right and v down, 0 outside the mask; and
            the mask (H, W), True where the head is visible.
        """
        return self.scene.flow(i, j, i if compensated else j)

    def encoded(self, crf: int = 18) -> Clip:
        """The clip after H.264 compression at this quality, decoded again."""
        clip = self.clip
        return decode_bytes(encode_h264(clip.frames, self.spec.fps, crf), clip.name)


@lru_cache(maxsize=2)
def _head(name: str) -> Head:
    return load_head(name)


def render_clip(spec: ClipSpec, head: Head | None = None) -> SimulatedClip:
    """Render a recipe; equal recipes give equal bytes.

    Args:
        spec: From :func:`draw_spec`.
        head: The head model; loaded by ``spec.head`` if None.

    Returns:
        The clip with its ground truth, before any compression.

    Raises:
        UserError: If the head is unknown or cannot show one of the AUs.
    """
    # _head caches per process, so that clips share the model.
    head = _head(spec.head) if head is None else head
    scene = Scene(spec, head)
    frames, landmarks = scene.film()
    clip = Clip(spec.name, frames, scene.times.astype(np.float64))
    return SimulatedClip(spec, clip, spec.annotation(), landmarks, scene)


def render_many(
    specs: Iterable[ClipSpec],
    then: Callable[[SimulatedClip], Rendered],
    workers: int = 1,
    head: Head | None = None,
) -> Iterator[Rendered]:
    """Render recipes in parallel and apply a function to each clip, in order.

    Args:
        specs: Recipes; only a few are read ahead.
        then: Applied to each clip in the process that rendered it, so that clips are not sent
            between processes; a module-level function or a partial of one.
        workers: Number of processes; 1 renders in this one.
        head: As for :func:`render_clip`.

    Returns:
        ``then(render_clip(spec))`` for each spec, in their order.

    Raises:
        UserError: As for :func:`render_clip`, or if a process was killed.
    """
    return parallel_map(partial(_rendered, then=then, head=head), specs, workers)


def _rendered(
    spec: ClipSpec, then: Callable[[SimulatedClip], Rendered], head: Head | None
) -> Rendered:
    return then(render_clip(spec, head))
