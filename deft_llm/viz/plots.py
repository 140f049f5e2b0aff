"""Plots of benchmarks as the contents of files: PNG to look at, PDF for a paper."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

FORMS = ("png", "pdf")
# Without the date and the program's version, the same rows give the same file.
_NO_DATES = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def plot_bytes(figure: Figure, form: str = "png") -> bytes:
    """A figure as the content of a file of one of ``FORMS``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata=_NO_DATES[form])
    return buffer.getvalue()
