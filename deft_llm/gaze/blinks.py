"""Blinks in events: a lid that comes down brightens the picture, and then takes it all back.

Eye and lashes are darker than the skin of the lid, in visible and in infrared light. While the lid
comes down, many thousands of events are gains of light more often than losses; a saccade moves dark
and bright about in nearly equal parts. The eye is open again when gains minus losses, summed up,
are back where they were. Our own method; the numbers fit simulated recordings.

T periods.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deft_llm.compiled import compiled
from deft_llm.media.events import Events
from deft_llm.runs import runs

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
# Seconds that is remembered: of the lid's fall, of the balance of light, of gains against losses.
FALL, BALANCE, UNEQUAL = 0.2, 0.8, 20.0
# A falling lid, in events a pixel of the sensor: those above the usual number, and the square of
# gains minus losses over them. Of saccades in simulated recordings the second is .007 at most.
LEAST, CLEAR = 0.08, 0.008
# Looking back, the light has to go again as it came, by this share, and so many seconds after the
# eye seems open.
BACK, SOON = 0.3, 0.4
PRIOR = 0.3  # events a pixel that gains and losses are taken to have shared before
RISE = 1.03  # factor by which the usual number of events follows a period
OPEN = 0.2  # share of the highest balance below which the eye is open again
LONGEST = 1.0  # s
APART = 0.05  # s between two blinks at least
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


@compiled(nogil=True)
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
    pixels = sensor[0] * sensor[1]
    flags, level, quick = follow(state, light.gained, light.lost, period, pixels)
    if not causal:
        flags = _widened(_came_back(flags, quick, round(1e6 * SOON / period)), level)
    found = runs(flags)
    spans = np.stack([edges[found[:, 0]] + 1, edges[found[:, 1]]], axis=1)
    return spans if causal else joined(spans)


def joined(spans: Ints) -> Ints:
    """Spans (K, 2), µs, of which those that follow each other within ``APART`` are one.

    No lid opens and falls again so soon.
    """
    if not len(spans):
        return spans
    apart = spans[1:, 0] - spans[:-1, 1] > 1e6 * APART
    return np.stack([spans[np.append(True, apart), 0], spans[np.append(apart, True), 1]], axis=1)


def new_state() -> NDArray[np.float64]:
    """What :func:`follow` remembers.

    Returns:
        Gains, losses, balance, recent balance, recent events, usual events, peak, periods closed.
    """
    return np.zeros(8)


@compiled(nogil=True)
def follow(state, gained, lost, period, pixels):  # type: ignore[no-untyped-def]
    """Flag the periods of blinks, and give the balance of light in each.

    Args:
        state: From :func:`new_state`, changed.
        gained: (T,) events of more light.
        lost: (T,) of less.
        period: µs.
        pixels: Of the sensor.

    Returns:
        (T,) flags, and (T,) balances over a blink and over a lid's fall, events.
    """
    flags = np.zeros(gained.shape[0], np.bool_)
    level, quick = np.empty(gained.shape[0]), np.empty(gained.shape[0])
    seconds = period / 1e6
    fall, keep = np.exp(-seconds / FALL), np.exp(-seconds / BALANCE)
    forget = np.exp(-seconds / UNEQUAL)
    for i in range(gained.shape[0]):
        total = gained[i] + lost[i]
        state[0] = state[0] * forget + gained[i]
        state[1] = state[1] * forget + lost[i]
        # Thresholds for gains and losses differ from sensor to sensor; over long they must agree.
        equal = (state[0] + pixels * PRIOR) / (state[1] + pixels * PRIOR)
        net = gained[i] - equal * lost[i]
        if state[5] == 0:
            state[5] = total
        elif total > 0:
            state[5] *= RISE if total > state[5] else 1 / RISE
        state[2] = state[2] * keep + net
        state[3] = state[3] * fall + net
        state[4] = state[4] * fall + max(total - state[5], 0)
        if state[7] == 0:
            falls = state[3] * state[3] > CLEAR * pixels * state[4]
            if falls and state[3] > 0 and state[4] > LEAST * pixels:
                state[6], state[7] = state[2], 1
        else:
            state[6] = max(state[6], state[2])
            state[7] += 1
            # It is over when most of the light is gone again, or has faded from memory.
            if state[2] < OPEN * state[6] or state[7] * seconds > LONGEST:
                state[7] = 0
        flags[i] = state[7] > 0
        level[i], quick[i] = state[2], state[3]
    return flags, level, quick


def _came_back(flags: Flags, quick: NDArray[np.float64], soon: int) -> Flags:
    """The runs of flags in which, or soon after, light is lost as it was gained."""
    out = flags.copy()
    for first, stop in runs(flags):
        # At the end of a recording it may come later.
        cut = stop + soon > len(flags)
        if not cut and quick[first : stop + soon].min() > -BACK * quick[first:stop].max():
            out[first:stop] = False
    return out


def _widened(flags: Flags, level: NDArray[np.float64]) -> Flags:
    """The flags from where the balance begins to rise until it no longer falls."""
    out = flags.copy()
    for first, stop in runs(flags):
        last, k = stop - 1, int(first)
        while k > 0 and first - k < WIDEST and level[k - 1] < level[k]:
            k -= 1
        out[k:first] = True
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
