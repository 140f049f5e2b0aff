"""Blinks in events: a lid that comes down brightens the picture, and then takes it all back.

Eye and lashes are darker than the skin of the lid, in visible and in infrared light. So the gains
of light minus the losses, summed up, rise by a large amount while the eye is closed, and come back;
a saccade moves dark and bright about in equal parts.

T periods.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deft_llm.media.events import Events

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
# Seconds that the balance of light, and the ratio of gains and losses, remember.
BALANCE, UNEQUAL = 0.6, 20.0
# A blink's balance: events a pixel of the sensor at least, and times the usual balance.
LEAST, TIMES = 0.04, 4.0
PRIOR = 0.3  # events a pixel that gains and losses are taken to have shared before
OPEN = 0.35  # share of the highest balance below which the eye is open again
LONGEST = 1.5  # s
WIDEST = 12  # periods by which a blink may be longer at either end than it is sure


class Brightness(NamedTuple):
    """Events in each period.

    Attributes:
        gained: (T,) events of more light.
        lost: (T,) events of less.
    """

    gained: Ints
    lost: Ints


def brightness(events: Events, edges: Ints) -> Brightness:
    """Count the events after each of the edges (T + 1,), µs, up to the next."""
    place = np.searchsorted(events.t, edges, "right")
    gained = _gained(events.p, place)
    return Brightness(gained, np.diff(place) - gained)


@njit(cache=True, nogil=True)
def _gained(p, place):  # type: ignore[no-untyped-def]
    out = np.zeros(place.shape[0] - 1, np.int64)
    for i in range(out.shape[0]):
        total = 0
        for k in range(place[i], place[i + 1]):
            total += p[k]
        out[i] = total
    return out


def blink_spans(light: Brightness, edges: Ints, sensor: tuple[int, int], causal: bool) -> Ints:
    """First and last µs of each blink, (K, 2).

    Args:
        light: Events of each period.
        edges: (T + 1,) µs, borders of the periods.
        sensor: Width and height of the sensor, px.
        causal: Judge each period by earlier ones alone, as an online use does; a blink is then
            seen some periods after it began.
    """
    state = new_state()
    # A shorter period is a part of what happens in one; the usual one decides.
    period = float(np.median(np.diff(edges))) if len(edges) > 1 else 10_000.0
    flags, level = follow(state, light.gained, light.lost, period, sensor[0] * sensor[1])
    if not causal:
        flags = _widened(flags, level)
    borders = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    runs = borders.reshape(-1, 2)
    return np.stack([edges[runs[:, 0]] + 1, edges[runs[:, 1]]], axis=1)


def new_state() -> NDArray[np.float64]:
    """What :func:`follow` remembers: gains, losses, balance, its usual size, peak, periods."""
    return np.zeros(6)


@njit(cache=True, nogil=True)
def follow(state, gained, lost, period, pixels):  # type: ignore[no-untyped-def]
    """Flag the periods of blinks, and give the balance of light in each.

    Args:
        state: From :func:`new_state`, changed.
        gained: (T,) events of more light.
        lost: (T,) of less.
        period: µs.
        pixels: Of the sensor.

    Returns:
        (T,) flags, and (T,) balances, events.
    """
    flags = np.zeros(gained.shape[0], np.bool_)
    level = np.empty(gained.shape[0])
    keep, forget = np.exp(-period / 1e6 / BALANCE), np.exp(-period / 1e6 / UNEQUAL)
    for i in range(gained.shape[0]):
        state[0] = state[0] * forget + gained[i]
        state[1] = state[1] * forget + lost[i]
        # Thresholds for gains and losses differ from sensor to sensor; over long they must agree.
        equal = (state[0] + pixels * PRIOR) / (state[1] + pixels * PRIOR)
        state[2] = state[2] * keep + gained[i] - equal * lost[i]
        balance = state[2]
        least = max(LEAST * pixels, TIMES * state[3])
        if state[5] == 0:
            if balance > least:
                state[4], state[5] = balance, 1
            else:
                state[3] += (1 - keep) * (abs(balance) - state[3])
        else:
            state[4] = max(state[4], balance)
            state[5] += 1
            # It is over when most of the light is gone again, or has faded from memory.
            if balance < OPEN * state[4] or state[5] * period > 1e6 * LONGEST:
                state[5] = 0
        flags[i] = state[5] > 0
        level[i] = balance
    return flags, level


def _widened(flags: Flags, level: NDArray[np.float64]) -> Flags:
    """The flags from where the balance begins to rise until it no longer falls."""
    out = flags.copy()
    for first in np.flatnonzero(flags & ~np.concatenate([[False], flags[:-1]])):
        k = int(first)
        while k > 0 and first - k < WIDEST and level[k - 1] < level[k]:
            k -= 1
        out[k:first] = True
    for last in np.flatnonzero(flags & ~np.concatenate([flags[1:], [False]])):
        k = int(last)
        while k + 1 < len(level) and k - last < WIDEST and level[k + 1] < level[k]:
            k += 1
        out[last : k + 1] = True
    return out


def within(times: Ints, spans: Ints) -> Flags:
    """Which times (T,) lie in one of the spans (K, 2), both ends included."""
    if not len(spans):
        return np.zeros(len(times), bool)
    at = np.searchsorted(spans[:, 0], times, "right") - 1
    return np.asarray((at >= 0) & (times <= spans[np.maximum(at, 0), 1]))
