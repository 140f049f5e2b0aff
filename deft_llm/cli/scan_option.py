"""The option ``--scan``: a 3D scan of the same face beside a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deft_llm.errors import UserError

ScanFile = Annotated[
    Path | None,
    typer.Option(
        "--scan", help="3D scan of the same face (see scan), of a single clip; told by itself"
    ),
]


def scan_given(scan: Path | None, clips: int) -> tuple[dict[str, Any] | None, str]:
    """The record of the scan that the option names, for the report, and a line that tells of it.

    Raises:
        UserError: If it is given with several clips, or cannot be read.
    """
    if scan is None:
        return None, ""
    if clips > 1:
        raise UserError(f"--scan {scan}: a scan beside one clip, but {clips} clips are given")
    from deft_llm.cli.scanning import scan_beside

    return scan_beside(scan)
