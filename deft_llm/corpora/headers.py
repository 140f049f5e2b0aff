"""The header of a sheet: which row it is, and which column holds what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from deft_llm.corpora.cells import Cells, as_text

# Similarity (``difflib``) from which a header is taken for a misspelt one: above that of "Frames"
# and "ApexFrame".
_SIMILAR = 0.7
#: Headers that people write instead, for the sheets of all corpora.
OTHER_HEADERS: Mapping[str, tuple[str, ...]] = {
    "subject": (
        *("Subject", "Subject ID", "Subject No", "Subject Number", "Sub", "Sub ID", "Sub No"),
        *("Participant", "Participant ID", "Participant No", "Participant Number"),
        *("被试", "被试编号", "受试者", "受试者编号"),
    ),
    "clip": (
        *("Filename", "File", "Clip", "Clip Name", "Clip ID", "Video", "Video Name", "Video ID"),
        *("Folder", "Folder Name", "Fold Name", "Sequence", "文件名", "视频", "视频名", "片段"),
    ),
    "onset": ("Onset", "Onset Frame", "OnsetF", "Onset Frame Number", "起始帧", "起始"),
    "apex": (
        *("Apex", "Apex Frame", "ApexF", "Apex Frame Number", "Peak", "Peak Frame"),
        *("顶点帧", "峰值帧", "高峰帧"),
    ),
    "offset": ("Offset", "Offset Frame", "OffsetF", "Offset Frame Number", "结束帧", "终止帧"),
    "aus": ("AU", "AUs", "Action Unit", "Action Units", "AU Code", "AU Codes", "动作单元"),
    "emotion": ("Emotion", "Estimated Emotion", "Emotion Label", "Emotion Type", "情绪", "情感"),
    "type": ("Type", "Expression Type", "类型"),
}


@dataclass(frozen=True)
class Header:
    """The header of a table.

    Attributes:
        rows: Number of rows down to the header, and with it.
        columns: Field -> index of its column.
    """

    rows: int
    columns: dict[str, int]


def find_header(cells: Cells, columns: Mapping[str, tuple[str, ...]]) -> Header:
    """The row that matches the most columns, together with the row above it if that has more.

    Args:
        cells: A table.
        columns: Field -> its official headers; what people write instead is accepted as well.
    """
    accepted = {name: [_key(h) for h in accepted_headers(columns, name)] for name in columns}
    best = Header(0, {})
    above: list[str] = []
    # Some sheets have a preamble: SAMM explains its symbols in 13 rows, and people add notes of
    # their own. A row of data that far down cannot be taken for a header: it matches no column.
    for index, line in enumerate(cells[:60]):
        keys = [_key(cell) for cell in line]
        found = _columns(keys, accepted)
        # A header of two rows has "Subject" above and "Onset" below: only below a true header.
        for name, k in _columns(above, accepted).items() if found else ():
            if k not in found.values():
                found.setdefault(name, k)
        if len(found) > len(best.columns):
            best = Header(index + 1, found)
        above = keys
    return best


def accepted_headers(columns: Mapping[str, tuple[str, ...]], name: str) -> list[str]:
    """Headers of a field, the official ones first; those that differ in signs alone count once."""
    found: dict[str, str] = {}
    for header in (*columns[name], *OTHER_HEADERS.get(name, ())):
        found.setdefault(_key(header), header)
    return list(found.values())


def nearest_header(
    cells: Cells, header: Header, columns: Mapping[str, tuple[str, ...]], name: str
) -> str | None:
    """The header of the table that is most like those of a field, of those that are no field's.

    Args:
        cells: The table.
        header: What was found of its header.
        columns: Field -> its official headers.
        name: A field that was not found.
    """
    if not header.rows:
        return None
    line = cells[header.rows - 1]
    used = header.columns.values()
    others = {_key(cell): as_text(cell) for k, cell in enumerate(line) if k not in used}
    accepted = [_key(h) for h in accepted_headers(columns, name)]
    near = [key for h in accepted for key in get_close_matches(h, list(others), 1, _SIMILAR)]
    return others[near[0]] if near else None


def _columns(keys: list[str], accepted: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Field -> the column of its first header that is there."""
    # Reversed, so that of equal headers the first counts.
    places = {key: k for k, key in reversed(list(enumerate(keys)))}
    found = {
        name: next((places[key] for key in headers if key in places), -1)
        for name, headers in accepted.items()
    }
    return {name: k for name, k in found.items() if k >= 0}


def _key(header: Any) -> str:
    # Releases of a sheet differ in case, blanks and signs of their headers.
    return re.sub(r"[\W_]+", "", as_text(header)).casefold()
