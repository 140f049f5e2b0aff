"""The one exception that is meant for the person at the keyboard, and a hint for its messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that a user caused and can mend.

    The message is one line: what was got, what was expected, how to mend it.
    Scripts print it without a traceback and exit with status 2.
    """


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a message about an unknown name: the nearest known one, or nothing.

    Args:
        name: What was given.
        known: Names there are.
        cutoff: Least likeness, 0 to 1 (``difflib``).
    """
    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""
