"""What ``deft-llm spot`` says on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deft_llm.cli.lines import counted

if TYPE_CHECKING:
    from deft_llm.spotters.finder import Spotted
    from deft_llm.spotters.spot import Seen


def spotted_line(spotted: Spotted) -> tuple[str, str]:
    """Label and text of an expression on the terminal."""
    from deft_llm import facs

    onset, apex, offset = spotted.seconds
    inside = spotted.expression.interval
    shares = sorted(spotted.probabilities.items(), key=lambda item: -item[1])
    parts = [
        f"{onset:.2f} · {apex:.2f} · {offset:.2f} s ({inside.onset}, {inside.apex}, "
        f"{inside.offset})",
        f"score {spotted.expression.score:.2f} ({spotted.scorer})",
        *([f"{shares[0][0]} {shares[0][1]:.2f}"] if shares else []),
        " ".join(map(facs.au_short, spotted.aus)) or "no AU fits",
    ]
    return spotted.kind, " · ".join(parts)


def seconds_with_face(parts: Sequence[Seen]) -> float:
    """Seconds of the video that show a face."""
    times = [time for part in parts for time in part.times]
    values = [value for part in parts for value in part.curve]
    # Each frame lasts until the next; the last one has none, and counts nothing.
    steps = zip(times, times[1:], values, strict=False)
    return sum(after - time for time, after, value in steps if value is not None)


def rate_line(searched: Sequence[tuple[str, float, int]]) -> str:
    """Micro-expressions a minute over several videos, with the exact interval of a count."""
    from scipy.stats import chi2

    count = sum(found for _, _, found in searched)
    # Of frames with a face: where nobody is seen, nothing can be found.
    minutes = sum(seconds for _, seconds, _ in searched) / 60
    if not minutes:
        return "no face in any video"
    # Garwood's interval of a Poisson count: exact, also for 0 and 1.
    low = float(chi2.ppf(0.025, 2 * count)) / 2 / minutes if count else 0.0
    high = float(chi2.ppf(0.975, 2 * count + 2)) / 2 / minutes
    return (
        f"{counted(count, 'micro-expression')} in {minutes:.2f} minutes with a face of "
        f"{len(searched)} videos: {count / minutes:.2f} a minute (95 % interval "
        f"{low:.2f} to {high:.2f}); false alarms if everybody rests"
    )
