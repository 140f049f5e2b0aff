"""The pictures of one measured clip: its three moments, the motion as heat and as arrows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Evidence
from deft_llm.metrics.landmarks import interocular
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, region_masks
from deft_llm.viz import overlay
from deft_llm.viz.overlay import Arrow, Image


def eye_distance(measurement: Measurement) -> float:
    """Distance between the eye centres, canonical pixels."""
    return float(interocular(measurement.aligned.landmarks))


def moment_pictures(measurement: Measurement) -> dict[str, Image]:
    """Caption -> the face at onset, apex and offset.

    Without an expression the interval is only the pair of frames that was compared: no onset, no
    apex, and no offset.
    """
    aligned, interval = measurement.aligned, measurement.interval
    moments = {"onset": interval.onset, "apex": interval.apex, "offset": interval.offset}
    if not measurement.found:
        moments = {"first frame": interval.onset}
        # Between frames too far apart for the search, none is further than the first.
        moments |= {"furthest frame": interval.apex} if interval.apex > interval.onset else {}
    return {
        f"{name} {aligned.timestamps[t]:.3f} s": aligned.pictures(t) for name, t in moments.items()
    }


def motion_pictures(measurement: Measurement, evidence: Sequence[Evidence]) -> dict[str, Image]:
    """Caption -> the motion from onset to apex as heat, and as arrows of the regions.

    Args:
        measurement: The clip's measurement.
        evidence: The regions that get an arrow.
    """
    aligned, onset = measurement.aligned, measurement.aligned.pictures(measurement.interval.onset)
    flow, floor = heat_flow(measurement)
    way = "onset to apex" if measurement.found else "first frame to furthest frame"
    return {
        f"motion from {way}": overlay.flow_heat(onset, flow, aligned.landmarks, floor),
        "regions that moved" if evidence else "no region moved": overlay.draw_region_arrows(
            onset, region_arrows(measurement, evidence)
        ),
    }


def heat_flow(measurement: Measurement) -> tuple[NDArray[np.float32], float]:
    """The flow to draw as heat, and the floor below which it stays clear, px.

    If no region moved, nothing is drawn: a spot of heat would say that something did.
    """
    flow, moved = measurement.flow_apex, bool(measurement.table_apex.active.any())
    # One floor for the whole picture, though noise differs by region: the typical region's.
    return flow if moved else np.zeros_like(flow), 2.0 * float(np.median(measurement.noise))


def region_arrows(measurement: Measurement, evidence: Sequence[Evidence]) -> list[Arrow]:
    """Motion of each region from onset to apex, drawn from the region's centre.

    Args:
        measurement: The clip's measurement.
        evidence: The regions that count as moved, so that the picture agrees with the table.

    Returns:
        One arrow per region that the landmarks place reliably (``RegionTable.placed``).
    """
    named = {e.region for e in evidence}
    table, size = measurement.table_apex, measurement.aligned.frames.shape[1]
    masks = region_masks(measurement.aligned.landmarks, size)
    # Rows first, as in arrays: y down, x to the right.
    ys, xs = np.mgrid[:size, :size]
    return [
        Arrow(
            x=float(np.average(xs, weights=masks[i])),
            y=float(np.average(ys, weights=masks[i])),
            u=float(table.u[i]),
            v=float(table.v[i]),
            active=REGION_NAMES[i] in named,
        )
        # A region wholly outside the picture has no weights, and ``np.average`` would fail on it.
        for i in np.flatnonzero(table.placed & (masks.sum(axis=(1, 2)) > 0))
    ]
