"""Optical strain of fields whose strain is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deft_llm.motion.strain import optical_strain

from .conftest import grid


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (lambda x, y: (0 * x + 2, 0 * y - 1), 0.0),  # translation
        (lambda x, y: (-0.02 * y, 0.02 * x), 0.0),  # rotation
        (lambda x, y: (0.03 * x, 0.03 * y), 0.03 * np.sqrt(2)),  # stretch
        (lambda x, y: (0.04 * y, 0 * x), 0.02 * np.sqrt(2)),  # shear
    ],
)
def test_analytic_fields(field: Callable[..., Any], expected: float) -> None:
    strain = optical_strain(np.stack(field(*grid())))
    np.testing.assert_allclose(strain, expected, atol=1e-5)
