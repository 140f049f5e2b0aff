"""Holes in a mesh: closed loops of edges that have a triangle on one side only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deft_llm.scans.scan import Scan

# Both lengths are our choice.
LARGEST = 70.0  # mm across; larger openings are not closed
_TOLD = 4.0  # mm across; smaller ones are the grain of every scanner


def boundary_loops(triangles: NDArray[np.int32], count: int) -> list[NDArray[np.int64]]:
    """The closed loops of boundary edges, each as its vertices in order.

    Args:
        triangles: (F, 3).
        count: Number of vertices.
    """
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = edges.astype(np.int64)  # count squared may not fit int32
    # An edge from i to j as one number, i count + j. Of two triangles that share an edge, one runs
    # along it from i to j and the other from j to i: what has no reverse lies at an opening.
    key, reverse = edges @ [count, 1], edges @ [1, count]
    open_edges = edges[~np.isin(key, reverse)]
    follows = dict(open_edges.tolist())
    loops = []
    while follows:
        start, at = follows.popitem()
        loop = [start]
        # Where two loops meet in a vertex a dict keeps one way out; the other loop stays open.
        while at != start and at in follows:
            loop.append(at)
            at = follows.pop(at)
        if at == start and len(loop) >= 3:
            loops.append(np.array(loop))
    return loops


def close_holes(scan: Scan) -> Scan:
    """Close the holes of a scan in mm; the longest loop is its rim and stays open.

    A hole becomes a fan of triangles around the mean of its loop.
    """
    loops = boundary_loops(scan.triangles, len(scan.vertices))
    sizes = [float(np.ptp(scan.vertices[loop], axis=0).max()) for loop in loops]
    if len(loops) < 2:
        return scan
    rim = int(np.argmax(sizes))
    holes = [loop for i, loop in enumerate(loops) if i != rim and sizes[i] <= LARGEST]
    left = [size for i, size in enumerate(sizes) if i != rim and size > LARGEST]
    notes = [f"an opening of {size:.0f} mm is left as it is" for size in left]
    told = [size for i, size in enumerate(sizes) if i != rim and _TOLD <= size <= LARGEST]
    if told:
        many = "a hole" if len(told) == 1 else f"{len(told)} holes"
        notes.append(f"{many} closed, the largest {max(told):.0f} mm across")
    first = len(scan.vertices)
    fans = [
        # Against the direction of the loop, which runs along the triangles around it.
        np.stack([np.roll(loop, -1), loop, np.full(len(loop), first + i)], axis=1)
        for i, loop in enumerate(holes)
    ]
    if not fans:
        return scan.noting(*notes)
    # One new vertex a hole, after the vertices of the scan, as the fans above count them.
    middles = np.stack([scan.vertices[loop].mean(axis=0) for loop in holes])
    colours = None
    if scan.colours is not None:
        mean = np.stack([scan.colours[loop].mean(axis=0) for loop in holes])
        colours = np.concatenate([scan.colours, mean]).astype(np.float32)
    return replace(
        scan,
        vertices=np.concatenate([scan.vertices, middles]).astype(np.float32),
        triangles=np.concatenate([scan.triangles, *fans]).astype(np.int32),
        colours=colours,
    ).noting(*notes)
