"""The picture of a heat map: colour where and when a network looked, the grey face elsewhere."""

from __future__ import annotations

import numpy as np

from deft_llm.viz.attention import attention_picture


def test_colour_is_where_and_when_the_heat_is() -> None:
    face = np.random.default_rng(0).integers(40, 200, (56, 56, 3)).astype(np.uint8)
    heat = np.zeros((9, 28, 28))
    heat[7, :14, :14] = 1.0  # late, in the upper left quarter
    picture = attention_picture(face, heat).astype(int)
    head = picture.shape[0] - 112  # of captions
    starts = [round(i * 112 * 1.02) for i in range(4)]
    coloured = [
        np.ptp(picture[head + 2 :, start + 3 : start + 109], axis=-1) > 8 for start in starts
    ]
    whole, first, second, last = coloured
    assert not first.any() and not second.any()
    for part in (whole, last):
        assert part[:48, :48].mean() > 0.95
        assert not part[64:].any() and not part[:, 64:].any()
