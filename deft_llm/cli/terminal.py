"""What every command needs of its surroundings: any encoding of the terminal, a full disk told.

Imported before the commands, so it loads nothing of its own.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import sys

_ERRORS = "deft_llm.plain"
# Our own marks in ASCII; anything else that a terminal cannot show is written as an escape.
_PLAIN = {
    **{"·": "-", "–": "-", "—": "-", "−": "-", "→": "->", "…": "...", "×": "x", "±": "+-"},
    **{"≥": ">=", "≤": "<=", "≈": "~", "°": " deg", "“": '"', "”": '"', "‘": "'", "’": "'"},
}
# What the user can mend; any other error of the system is a fault of ours and keeps its traceback.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.EEXIST, errno.ENAMETOOLONG, errno.EIO),
)


def print_anything() -> None:
    """Let stdout and stderr print any text, whatever their encoding (cp932, ASCII ...).

    And let stdin read any: a question in another encoding is answered as far as it is understood.
    """
    codecs.register_error(_ERRORS, _plainer)
    for stream in (sys.stdout, sys.stderr):
        # None without a terminal (pythonw), and not a file in a notebook.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """Error handler of a codec: marks in ASCII, other characters as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # As many characters as the encoder could not write, in one call.
    bad = error.object[error.start : error.end]
    shown = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in bad)
    return "".join(shown), error.end


def outside_cause(error: Exception) -> str | None:
    """One line about an error that comes from outside, such as a full disk; None for any other."""
    # Errors of other libraries carry these as well, without being an OSError.
    number, place = getattr(error, "errno", None), getattr(error, "filename", None)
    # safetensors has an exception of its own, with the system's number in the words of Rust.
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(found[1])
    if number in _NO_ROOM:
        if place is None:
            _drop_output()
        return (
            f"{place or 'cannot write'}: no room is left on the disk; free some, then give the "
            "same command again: what was finished is kept"
        )
    # Without a place it is no file of the user's.
    if number in _PLACE and place is not None:
        return f"{place}: {os.strerror(number)}; check this path and its permissions"
    return None


def _drop_output() -> None:
    """If it is stdout that cannot be written, drop the rest, on which Python would fail at exit."""
    if sys.stdout is None:  # as in pythonw
        return
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes stdout once more at its end, and would print a second error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
