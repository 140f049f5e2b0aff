"""Video decoders behind one signature: PyAV, decord and OpenCV.

A backend is a generator ``(source, name, selection, notes) -> Frame``. Each yields the frames whose
index is in the selection's range, as RGB, with the container's own timestamps relative to the
first frame of the video. The index counts the frames that a player would show: frames hidden by an
edit list do not count.

Differences (measured by ``eval/speed/video.py``, see ``video.DEFAULT_BACKEND``):

- PyAV gives the frames of a plain sequential decode of the track that a player would choose. Where
  the packets say that it is safe, it starts a range at the nearest key frame. It applies edit
  lists, turns, mirrors and the shape of pixels.
- OpenCV decodes (but does not convert) everything before the range. It takes the file's first
  track, and knows neither mirrors nor the shape of pixels.
- decord counts frames hidden by an edit list; they are dropped here by their negative time.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from deft_llm.errors import UserError
from deft_llm.media.selection import Frame, Notes, Selection, shrink
from deft_llm.registry import resolve

BACKENDS = {
    "pyav": "deft_llm.media.pyav:read_pyav",
    "opencv": "deft_llm.media.backends:read_opencv",
    "decord": "deft_llm.media.backends:read_decord",
}


Backend = Callable[["Path | bytes", str, Selection, Notes], Iterator[Frame]]


def get_backend(name: str) -> Backend:
    """The backend function for a name.

    Raises:
        UserError: If the name is unknown.
    """
    backend: Backend = resolve(BACKENDS, name, "video backend")
    return backend


def read_opencv(
    source: Path | bytes, name: str, selection: Selection, notes: Notes
) -> Iterator[Frame]:
    """Read with OpenCV's VideoCapture: decodes from the first frame, converts selected frames."""
    if isinstance(source, bytes):
        raise UserError(f"{name}: the opencv backend reads files only; use pyav for bytes")
    capture, wanted = cv2.VideoCapture(str(source.absolute())), selection.wanted
    try:
        first = 0.0
        for index in itertools.count():
            # grab() decodes, retrieve() converts to BGR. Seeking by frame number is not exact in
            # OpenCV.
            if index >= wanted.stop or not capture.grab():
                break
            notes.available = index + 1
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            first = seconds if index == 0 else first
            if index not in wanted:
                continue
            ok, bgr = capture.retrieve()
            if not ok:
                notes.damaged.append(index)
                continue
            notes.original = (bgr.shape[0], bgr.shape[1])
            rgb = np.asarray(cv2.cvtColor(np.asarray(bgr, np.uint8), cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(index, shrink(rgb, selection), seconds - first)
    finally:
        capture.release()


def read_decord(
    source: Path | bytes, name: str, selection: Selection, notes: Notes
) -> Iterator[Frame]:
    """Read with decord, which is optional (no wheel on ARM Macs, none newer than 2021)."""
    try:
        import decord
    except ImportError as error:
        raise UserError(
            "video backend 'decord' is not installed; pip install decord, or use backend 'pyav'"
        ) from error
    try:
        reader = decord.VideoReader(
            io.BytesIO(source) if isinstance(source, bytes) else str(source.absolute())
        )
        times = np.asarray(reader.get_frame_timestamp(range(len(reader))), np.float64)[:, 0]
        # An edit list hides frames at negative times; decord skips them but counts them.
        times = times[times >= 0]
        notes.original, notes.available = reader[0].shape[:2], len(times)
        for index in range(len(times))[selection.start : selection.stop : selection.stride]:
            frame = reader[index].asnumpy()
            yield Frame(index, shrink(frame, selection), float(times[index] - times[0]))
    except (RuntimeError, decord.DECORDError) as error:
        words = str(error).strip().splitlines()[-1] if str(error).strip() else "no frames"
        raise UserError(f"{name}: decord cannot read this video ({words})") from error
