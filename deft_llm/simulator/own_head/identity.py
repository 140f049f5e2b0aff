"""Shape of the own head's identities: smooth modes on the reference head, weighted by a seed."""

from __future__ import annotations

import numpy as np

from deft_llm.simulator.own_head import shape
from deft_llm.simulator.own_head.mesh import OwnTopology
from deft_llm.simulator.own_head.shape import Array, bump, smoothstep


def shape_modes(topology: OwnTopology) -> tuple[Array, Array]:
    """Displacement of each shape mode for one standard deviation.

    Parts without skin (eyeballs, teeth) move rigidly with the skin at their anchor.

    Returns:
        (K, V, 3) skin modes, cm, and (V,) the weight of the eye-size mode. That mode is the first:
        everything near an eye grows about the centre of the eye.
    """
    plane = topology.plane
    x, y = np.abs(plane[:, 0]), plane[:, 1]
    # A smooth sign of x, so that outward displacements vanish on the midline without a jump.
    side = plane[:, 0] / np.sqrt(plane[:, 0] ** 2 + 0.3**2)
    front = np.where(topology.part == 0, np.maximum(0.0, np.cos(topology.psi)), 1.0)
    lower_face = smoothstep(-y, 2.0, 9.0)
    chin = smoothstep(-y, 7.5, 10.5)
    top = smoothstep(y, 2.5, 9.0)
    nose = bump(x, y, 0.0, -3.2, 1.5, 1.7) * front
    lips = bump(x, y, 0.0, shape.MOUTH_Y, 2.2, 1.0) * front
    brow = np.exp(-0.5 * ((y - 2.2) / 1.0) ** 2) * smoothstep(7.0 - x, 0.0, 2.0) * front
    eyes = smoothstep(1.9 - np.hypot(x - shape.EYE_X, 0.9 * y), 0.0, 1.1) * front
    zero = np.zeros_like(x)

    def mode(dx: Array = zero, dy: Array = zero, dz: Array = zero) -> Array:
        return np.stack([side * dx, dy, dz], axis=1)

    around_eye = np.stack([side * eyes * (x - shape.EYE_X), eyes * y, zero], axis=1)
    modes = [
        0.05 * around_eye,
        mode(dx=0.035 * x),  # a broad face
        mode(dx=0.07 * x * lower_face),  # a broad jaw
        mode(dx=0.5 * chin * np.tanh(x)),  # a square chin
        mode(dy=-0.35 * chin),  # a long chin
        mode(dy=-0.2 * smoothstep(-y, 1.0, 7.0)),  # a long middle face
        mode(dy=0.6 * top),  # a high forehead
        mode(dy=0.16 * brow),  # high brows
        mode(dy=0.12 * brow * np.tanh((x - 3.2) / 1.5)),  # slanted brows
        mode(dx=0.07 * eyes),  # eyes far apart
        mode(dy=0.1 * eyes * (x - shape.EYE_X)),  # slanted eyes
        mode(dx=0.13 * nose * np.tanh(x / 0.8)),  # a broad nose
        mode(dy=-0.2 * bump(x, y, 0.0, -4.0, 1.6, 1.3) * front),  # a long nose
        mode(dz=0.25 * nose),  # a high nose
        mode(dz=0.15 * bump(x, y, 0.0, -0.8, 0.8, 1.3) * front),  # a high bridge
        mode(dx=0.18 * lips * np.tanh(x / 2.0)),  # a broad mouth
        mode(dy=0.2 * lips * np.tanh((y - shape.MOUTH_Y) / 0.7)),  # full lips
        mode(dy=-0.15 * bump(x, y, 0.0, -7.0, 3.5, 1.6) * front),  # a low mouth
        mode(dz=0.2 * bump(x, y, 4.3, -2.9, 1.7, 1.4) * front),  # cheekbones
        mode(dz=-0.25 * bump(x, y, 4.8, -6.0, 1.6, 2.0) * front),  # hollow cheeks
        mode(dz=0.15 * brow),  # a strong brow ridge
        mode(dz=0.3 * chin * front),  # a chin that stands out
    ]
    return np.stack(modes), eyes


def shape_weights(rng: np.random.Generator, count: int) -> Array:
    """(K,) mode weights: standard normal, clipped at two standard deviations."""
    return np.clip(rng.normal(0.0, 1.0, count), -2.0, 2.0)
