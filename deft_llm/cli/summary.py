"""The terminal output for an explained clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deft_llm import facs
from deft_llm.answers import NOTHING, au_name
from deft_llm.cli.console import COLUMN
from deft_llm.clip import Clip, Explanation, status_line
from deft_llm.downloads import FACE_MESH
from deft_llm.media.options import ReadOptions
from deft_llm.media.video import VideoInfo, probe
from deft_llm.motion.measure import Measurement

_FITTING = 4  # AUs listed for a region


def measured_lines(measurement: Measurement) -> Iterator[str]:
    """What is known before the model is asked, with labels in a column."""
    yield from _block("face", [face_line(measurement)])
    if measurement.found:
        yield from _block("interval", [_interval_line(measurement)])


def explained_lines(explanation: Explanation) -> Iterator[str]:
    """What the model says, and what it rests on."""
    yield from _block("emotion", [_emotion_line(explanation)])
    if explanation.aus:
        named = [f"{au_name(code)} {p:.2f}" for code, p in explanation.aus.items()]
        yield from _block("AUs", [" · ".join(named)])
    yield from _block("evidence", _evidence_lines(explanation))
    if explanation.rationale:
        yield from _block("why", [explanation.rationale])
    if explanation.disagreement:
        yield from _block("doubt", [explanation.disagreement])
    # The first says why nothing is named, and stands there.
    if told := explanation.remarks[not explanation.probabilities :]:
        yield from _block("note", [status_line(told)])


def _block(label: str, lines: list[str]) -> Iterator[str]:
    for i, line in enumerate(lines):
        yield f"{label if i == 0 else '':<{COLUMN}}{line}"


def to_read(path: Path, options: ReadOptions) -> VideoInfo:
    """What the options leave of a video, before it is decoded.

    Raises:
        UserError: If there is nothing readable.
    """
    return probe(path, fps=options.fps).part(options.start, options.stop, options.stride)


def clip_line(path: Path, read: VideoInfo) -> str:
    """Name, frames, rate and length of what will be read.

    Empty for less than two frames, which are no clip.
    """
    return f"{path.name} · {_extent(read)}" if read.frames > 1 else ""


def part_line(read: VideoInfo, part: Clip) -> str:
    """Start, frames, rate and length of the part that was measured; empty if it is all of it.

    Args:
        read: What was read, from :func:`to_read`.
        part: What was measured, see ``measure_video``.
    """
    if len(part) >= read.frames:
        return ""
    measured = replace(read, frames=len(part), timestamps=part.timestamps)
    return f"from {part.timestamps[0]:.2f} s · {_extent(measured)}"


def _extent(video: VideoInfo) -> str:
    """Frames, rate and length."""
    # Otherwise frames, rate and length would contradict each other.
    varies = " (varies)" if video.variable_rate else ""
    return f"{video.frames} frames at {video.fps:.0f} fps{varies} · {video.duration:.2f} s"


def face_line(measurement: Measurement) -> str:
    """Frames with a face, head motion, and the uncertainty of the landmarks."""
    # Frames without a face are left out of all measures.
    present = int(measurement.aligned.present.sum())
    total = len(measurement.aligned)
    unsure = measurement.aligned.placement_uncertainty
    # Named only where it is not the usual network.
    by = " by the face mesh" if measurement.aligned.landmark_method == FACE_MESH else ""
    return (
        f"{present}/{total} frames · head moved {measurement.head_motion:.1f} px, removed · "
        f"landmarks{by} within about {unsure:.1f} px"
    )


def _interval_line(measurement: Measurement) -> str:
    # As in report and rows: seconds of the video, also where only a part of it was read.
    times, interval = measurement.aligned.timestamps, measurement.interval
    moments = [("onset", interval.onset), ("apex", interval.apex), ("offset", interval.offset)]
    return " · ".join(f"{name} {times[i]:.3f} s ({i})" for name, i in moments)


def _emotion_line(explanation: Explanation) -> str:
    if not explanation.probabilities:
        return ": ".join(("none named", *explanation.remarks[:1]))
    # Equal probabilities stay in the order of the classes.
    ranked = sorted(explanation.probabilities.items(), key=lambda item: -item[1])
    # Below 0.005 a probability would print as 0.00.
    shown = [f"{name} {p:.2f}" for name, p in ranked if p >= 0.005]
    lead = "" if explanation.emotion else f"{NOTHING} named · "
    return lead + " · ".join(shown)


def _evidence_lines(explanation: Explanation) -> list[str]:
    # Of all regions, not of those that moved: clips below each other line up.
    width = max(map(len, facs.REGIONS))
    lines = []
    for row in explanation.evidence:
        # Codes that the model did not name can be many: the lips move alike for a dozen AUs.
        aus = " ".join(map(facs.au_short, row.aus[:_FITTING]))
        aus = f"{aus} ..." if len(row.aus) > _FITTING else aus or "no AU fits"
        lines.append(
            f"{row.region:<{width}}  {row.direction:<16}  {row.magnitude:5.2f} px   "
            f"z {row.z:5.1f}   {aus}"
        )
    return lines or ["no region moved above its noise floor"]
