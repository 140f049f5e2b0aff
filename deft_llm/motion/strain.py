"""Optical strain: how much the skin deforms, regardless of rigid motion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def optical_strain(flow: NDArray[Any]) -> NDArray[np.float32]:
    """Magnitude of the infinitesimal strain tensor of a flow field.

    ``e = sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2)`` with ``e_xx = du/dx``, ``e_yy = dv/dy`` and
    ``e_xy = (du/dy + dv/dx) / 2``: Shreve et al., "Macro- and micro-expression spotting in long
    videos using spatio-temporal strain" (FG 2011), equations 2-4. Derivatives are central
    differences. Translation and (small) rotation give zero; a uniform stretch ``u = k x,
    v = k y`` gives ``k sqrt(2)``.

    Args:
        flow: (2, H, W), pixels.

    Returns:
        (H, W) float32, dimensionless, >= 0.
    """
    u_y, u_x = np.gradient(flow[0])  # rows first: the derivative along y comes before x
    v_y, v_x = np.gradient(flow[1])
    shear = 0.5 * (u_y + v_x)
    return np.sqrt(u_x**2 + v_y**2 + 2 * shear**2).astype(np.float32)
