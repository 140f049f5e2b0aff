"""Head poses of frames without a face."""

from __future__ import annotations

import numpy as np

from deft_llm.media.pose import _nearest


def test_the_nearest_frame_with_a_face_is_found_in_little_memory() -> None:
    rng = np.random.default_rng(0)
    for count in rng.integers(1, 40, 200).tolist():
        present = np.flatnonzero(rng.random(count) < rng.random())
        if len(present):
            # Of all frames against all; argmin takes the earlier of two.
            apart = np.abs(np.arange(count)[:, None] - present)
            np.testing.assert_array_equal(_nearest(present, count), present[apart.argmin(axis=1)])
    # All against all of these would be 2.7 TB.
    assert _nearest(np.arange(1, 10**6, 3), 10**6)[[0, 2, 3, -1]].tolist() == [1, 1, 4, 999_997]
