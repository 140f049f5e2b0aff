"""The exceptions for mistakes of the user, and a spelling hint for their messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A problem that the user caused and can fix.

    The message is one line: what was found, what was expected, how to fix it.
    Scripts print it without a traceback and exit with status 2.
    """


class NoFaceError(UserError):
    """No face is seen in a clip, or none of the number that was asked for."""


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Ending of a message about an unknown name: the nearest known name, or "".

    Args:
        name: The unknown name.
        known: The known names.
        cutoff: Smallest similarity, 0 to 1 (``difflib``).
    """
    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""
