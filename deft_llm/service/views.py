"""The page's parts for explained clips, each a finished HTML string."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from deft_llm.service.api import found_row
from deft_llm.service.batch import to_csv, to_json
from deft_llm.service.clip_service import ClipResult
from deft_llm.service.evidence import link_sentences
from deft_llm.service.long_video import Found, of_kind
from deft_llm.spotters.finder import Moments
from deft_llm.viz import cards, magnify, stage
from deft_llm.viz.timeline import timeline

MACROS = "Macro-expressions: larger than 3 px, or not back at their offset"


def clip_view(seen: ClipResult) -> tuple[str, str, str, str]:
    """Reading, face, regions and timeline of one clip."""
    explanation, measured = seen.explanation, seen.measurement
    why = link_sentences(explanation.rationale, seen)
    return (
        cards.reading(seen.info, measured, explanation, why),
        stage.face_stage(measured, explanation.evidence),
        stage.region_rows(measured, explanation.evidence),
        timeline(measured),
    )


def report_links(seen: ClipResult) -> str:
    """Links that save the report, as HTML and as JSON."""
    stem = Path(seen.info.name).stem
    page, numbers = seen.report().encode(), to_json([seen.record()])
    return cards.downloads(
        {
            "Report (HTML)": (f"{stem}.html", page, "text/html"),
            "Numbers (JSON)": (f"{stem}.json", numbers, "application/json"),
        }
    )


def figure_links(seen: ClipResult) -> str:
    """Links that save the figure for a paper."""
    stem = Path(seen.info.name).stem
    kinds = {".pdf": ("PDF", "application/pdf"), ".svg": ("SVG", "image/svg+xml")}
    links = {}
    for name, content in seen.figure().items():
        words, kind = kinds[Path(name).suffix]
        links[f"Figure ({words})"] = (f"{stem}{Path(name).suffix}", content, kind)
    return cards.downloads(links)


def table_links(rows: Sequence[dict[str, Any]], records: Sequence[dict[str, Any]]) -> str:
    """Links that save a batch: the table as CSV, all results as JSON."""
    return cards.downloads(
        {
            "Table (CSV)": ("clips.csv", to_csv(rows), "text/csv"),
            "Everything (JSON)": ("clips.json", to_json(records), "application/json"),
        }
    )


def magnified_view(seen: ClipResult, factor: float) -> str:
    """The interval as filmed and magnified, side by side.

    Raises:
        UserError: If the factor is out of range.
    """
    frames = magnify.magnified_frames(seen.measurement, factor)
    table = seen.measurement.table_apex
    # For the warning that a large motion, magnified, tears the picture.
    largest = float(table.magnitude[table.active].max(initial=0.0))
    return cards.film_card(frames, magnify.film(frames), factor, largest)


def intervals_view(found: Iterable[Found], drawn: dict[Moments, str]) -> str:
    """The expressions of a long video, each with its reading; macro-expressions apart, below.

    Args:
        found: All so far.
        drawn: Those that were drawn before, by their seconds; gets the new ones.
    """
    known = list(found)
    groups = [of_kind(known, kind) for kind in ("micro", "macro")]
    for each in (each for group in groups for each in group):
        # Of a joined macro-expression the seconds change, and it is drawn anew.
        if each.spotted.seconds not in drawn:
            drawn[each.spotted.seconds] = _interval_view(each)
    micro, macro = ("".join(drawn[each.spotted.seconds] for each in group) for group in groups)
    return f"{micro}{cards.remark(MACROS)}{macro}" if macro else micro


def _interval_view(found: Found) -> str:
    return cards.interval_card(
        found_row(found),
        found.seen.measurement,
        link_sentences(found.seen.explanation.rationale, found.seen),
    )


def pair_view(first: ClipResult, second: ClipResult) -> str:
    """Two clips: their faces side by side, and what moved in either."""
    pair = (first, second)
    stages = [stage.face_stage(s.measurement, s.explanation.evidence) for s in pair]
    table = cards.comparison(
        (first.info.name, second.info.name),
        (first.measurement.table_apex, second.measurement.table_apex),
        (first.explanation, second.explanation),
    )
    return cards.side_by_side(stages, table)
