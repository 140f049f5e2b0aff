"""What a site sent is checked before it enters a mean: one bad update would spoil everybody's.

Flower's aggregation passes NaN and negative weights on, adds arrays of other shapes where numpy
can, turns integer buffers into floats, and divides by zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.federated.rules import Arrays

_FEW = 3  # names in a message


@dataclass(frozen=True)
class Update:
    """What a site sends after a round.

    Attributes:
        site: Its name.
        state: Weights by name.
        clips: Training clips, the weight in the mean.
        loss: Mean training loss.
        classes: Names of the classes, in order.
        epsilon: Privacy spent so far; 0 without differential privacy.
    """

    site: str
    state: Arrays
    clips: int
    loss: float
    classes: tuple[str, ...] = ()
    epsilon: float = field(default=0.0)


def problem(
    update: Update, expected: Mapping[str, NDArray[np.float32]], classes: Sequence[str]
) -> str:
    """What is wrong with an update, in words; "" if nothing is.

    Args:
        update: What a site sent.
        expected: Weights that were sent to it.
        classes: Classes of the federation.
    """
    if differ := other_classes(update.classes, classes):
        return differ
    clips = update.clips
    # Python takes True for 1; and a weight that is NaN or negative would spoil the mean.
    if isinstance(clips, bool) or not isinstance(clips, int | float) or not np.isfinite(clips):
        return f"{clips!r} training clips; expected a whole number"
    if clips <= 0:
        return f"{clips} training clips; expected at least 1"
    if update.state.keys() != expected.keys():
        missing = [name for name in expected if name not in update.state]
        more = [name for name in update.state if name not in expected]
        said = _listed("lacks", missing), _listed("has the unknown", more)
        return f"{' and '.join(filter(None, said))}; expected the weights that were sent to it"
    for name, values in update.state.items():
        # Before shapes and values: numpy would convert and broadcast without a word.
        if values.dtype != expected[name].dtype:
            return f"{name} is {values.dtype}; expected {expected[name].dtype}"
        if values.shape != expected[name].shape:
            return f"{name} has the shape {values.shape}; expected {expected[name].shape}"
        if not np.isfinite(values).all():
            return f"{name} is not finite; its training diverged: lower local.learning_rate there"
    return ""


def other_classes(found: Sequence[str], expected: Sequence[str]) -> str:
    """What is wrong with the classes of a site, in words; "" if nothing is."""
    if tuple(found) == tuple(expected):
        return ""
    return (
        f"its classes are {', '.join(found) or 'none'}; expected {', '.join(expected)}; use the "
        "same scheme at every site"
    )


def repeated(sites: Iterable[str]) -> dict[str, str]:
    """What is wrong with the names under which more than one answered, by name."""
    return {
        site: f"{count} nodes answered under this name; start each client as a site of its own"
        for site, count in Counter(sites).items()
        if count > 1
    }


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"{what} {', '.join(names[:_FEW])}{more}"


def accepted(
    updates: Sequence[Update],
    expected: Mapping[str, NDArray[np.float32]],
    classes: Sequence[str],
    at_least: int = 1,
) -> tuple[list[Update], dict[str, str]]:
    """The updates that may enter the mean, and what is wrong with the others, by site.

    Args:
        updates: What the sites sent.
        expected: As for :func:`problem`.
        classes: As for :func:`problem`.
        at_least: Updates without which a round cannot end.

    Raises:
        UserError: If there are fewer.
    """
    wrong = {u.site: said for u in updates if (said := problem(u, expected, classes))}
    # None of them counts: which one is the site cannot be told.
    wrong |= repeated(u.site for u in updates)
    good = [u for u in updates if u.site not in wrong]
    if len(good) < at_least:
        told = "; ".join(f"site {site}: {said}" for site, said in wrong.items())
        raise UserError(
            f"{len(good)} sites sent weights that can be averaged, expected at least {at_least} "
            f"({told or 'nobody answered'})"
        )
    return good, wrong
