"""What is read of a sequence, and what is not drawn for it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from deft_llm.data.scan_views import Relief, Surface
from deft_llm.facet import sequences
from deft_llm.facet.files import embedded_weights, load_facet
from deft_llm.facet.scan_reader import ScanReader
from deft_llm.simulator.own_head.head import OwnHead
from deft_llm.simulator.scans import Scanner, Sitter


def test_a_network_for_3d_draws_the_sides_of_the_apex_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sitter, scanner = Sitter.of(OwnHead(), 7), Scanner(pitch=2.5)
    frames = [sitter.scan({"12": share}, scanner) for share in (0.0, 1.0, 0.4)]
    reader = ScanReader(load_facet(embedded_weights("scans")))
    drawn: Counter[float] = Counter()
    relief = Surface.relief

    def counted(self: Surface, yaw: float, side: int) -> Relief:
        drawn[yaw] += 1
        return relief(self, yaw, side)

    monkeypatch.setattr(Surface, "relief", counted)
    read = reader.read_sequence(frames, "smile")
    # From the front all frames for the curve, and the apex once more with its sides.
    assert drawn == {0.0: 4, -45.0: 1, 45.0: 1}
    assert read.used == (1,) and read.curve is not None and int(np.argmax(read.curve)) == 1
    assert "a network for 3D: the frame of the largest motion, 2" in read.notes[-1]
    # The same answer as for the frame alone, placed as in the sequence.
    placed = sequences.normalised_frames(frames, "smile")[1]
    monkeypatch.setattr("deft_llm.facet.scan_reader.normalise", lambda scan, where: placed)
    alone = reader.read(frames[1], "smile")
    assert alone.probabilities == read.probabilities and alone.weights == read.weights
    assert np.array_equal(alone.tokens, read.tokens)
