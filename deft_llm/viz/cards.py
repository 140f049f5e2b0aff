"""The text parts of a page: the reading, linked sentences, a conversation, comparisons.

HTML for a page with a script (``service/assets/page.js``); see ``viz/stage.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from deft_llm import facs
from deft_llm.clip import Explanation
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.stages import STAGES
from deft_llm.viz import overlay
from deft_llm.viz.overlay import Image
from deft_llm.viz.page import fill_template, piece
from deft_llm.viz.report import ClipInfo, summary_line

_TEARS = 30.0  # px: a face that is warped so far is torn


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer, with its evidence.

    Attributes:
        text: As the model wrote it, with the white space after it.
        regions: Regions whose motion it states; may be empty.
        supported: Whether the measured motion supports all of its statements.
        numbers: The measurements in these regions, in words.
        contradicts: The class that was found, if the sentence concludes on another; else empty.
    """

    text: str
    regions: tuple[str, ...] = ()
    supported: bool = True
    numbers: str = ""
    contradicts: str = ""


@dataclass(frozen=True)
class ChatTurn:
    """A question and its answer.

    Attributes:
        question: The question as asked.
        answer: The answer so far.
        finished: Whether the answer is complete.
        query: What was executed to answer it, in one line.
        markdown: Question, answer and evidence as Markdown, for copying.
    """

    question: str
    answer: tuple[Sentence, ...]
    finished: bool = True
    query: str = ""
    markdown: str = ""

    @property
    def text(self) -> str:
        """The answer as the model wrote it."""
        return "".join(sentence.text for sentence in self.answer)


def sentences(answer: Sequence[Sentence]) -> Markup:
    """An answer in which each statement of motion links to its evidence."""
    return piece("sentences", answer)


def reading(
    info: ClipInfo,
    measurement: Measurement,
    explanation: Explanation,
    rationale: Sequence[Sentence],
) -> Markup:
    """Emotion, action units and reasons of one clip.

    Args:
        info: The clip.
        measurement: The clip's measurement.
        explanation: The model's explanation.
        rationale: The model's reasons, checked.

    Returns:
        HTML.
    """
    summary = summary_line(measurement, info)
    return fill_template(
        "reading.html", info=info, summary=summary, explanation=explanation, rationale=rationale
    )


def conversation(turns: Sequence[ChatTurn], suggestions: Sequence[str] = ()) -> Markup:
    """The turns so far, newest last, and questions that could be asked."""
    copied = "\n".join(turn.markdown for turn in turns if turn.markdown)
    return fill_template("conversation.html", turns=turns, copied=copied, suggestions=suggestions)


def comparison(
    names: tuple[str, str],
    tables: tuple[RegionTable, RegionTable],
    explanations: tuple[Explanation, Explanation],
) -> Markup:
    """Two clips side by side: classes, action units, and the regions that moved in either.

    Args:
        names: Names of the clips.
        tables: Region motion from onset to apex.
        explanations: The model's explanations.

    Returns:
        An HTML table; the last column is the cosine between the two motions of a region.
    """
    a, b = tables
    either = np.flatnonzero(a.active | b.active)
    rows = [
        ("emotion", *(explanation.emotion or "none named" for explanation in explanations), ""),
        (
            "AUs",
            *(" ".join(map(facs.au_short, each.aus)) or "–" for each in explanations),
            "",
        ),
    ]
    # The surest motion of either clip first.
    for i in sorted(either.tolist(), key=lambda k: -max(float(a.z[k]), float(b.z[k]))):
        # The cosine: the product over both lengths.
        along = float(a.u[i] * b.u[i] + a.v[i] * b.v[i])
        # Used for active regions only, whose motion is never zero.
        length = float(a.magnitude[i] * b.magnitude[i])
        # A region at rest has no direction to compare, only noise.
        alike = f"{along / length:+.2f}" if a.active[i] and b.active[i] else "–"
        rows.append((REGION_NAMES[i], _motion(a, i), _motion(b, i), alike))
    return fill_template("comparison.html", names=names, rows=rows)


def _motion(table: RegionTable, i: int) -> str:
    if not table.active[i]:
        return "still"
    return f"{table.direction(i)} {table.magnitude[i]:.2f} px, z {table.z[i]:.1f}"


def film_card(frames: Image, video: bytes, factor: float, largest: float) -> Markup:
    """A magnified clip that plays automatically, with its two halves labelled.

    Args:
        frames: Its frames (``magnify.magnified_frames``), for their size.
        video: The same as MP4.
        factor: The magnification.
        largest: The largest motion of a region, px, before it is magnified.
    """
    height, width = frames.shape[1:3]
    size = {"width": width, "height": height}
    reach = factor * largest
    return fill_template("film.html", video=video, factor=factor, reach=reach, most=_TEARS, **size)


def interval_card(
    row: Mapping[str, Any], measurement: Measurement, rationale: Sequence[Sentence]
) -> Markup:
    """One interval of a long video.

    Args:
        row: Its times and reading, by the column names of ``service.batch``.
        measurement: Measurement of its window.
        rationale: The model's reasons, checked.

    Returns:
        HTML: times, emotion and action units, onset and apex, reasons, doubt and remarks, a line
        of numbers.
    """
    # Side by side: an interval of a long video has no slider.
    aligned, interval = measurement.aligned, measurement.interval
    pair = np.concatenate([aligned.pictures(t) for t in (interval.onset, interval.apex)], axis=1)
    times = ", ".join(f"{k} {row[f'{k} s']:.2f} s" for k in ("onset", "apex", "offset"))
    picture = overlay.encode_png(pair)
    return fill_template(
        "interval.html", picture=picture, times=times, row=row, rationale=rationale
    )


def downloads(files: Mapping[str, tuple[str, bytes, str]]) -> Markup:
    """Links that save a file. The content is inside the link, so the server keeps no copy.

    Args:
        files: Link text -> (file name, content, media type).
    """
    return fill_template("downloads.html", files=files)


def working(stage: str) -> Markup:
    """The stages of the work on a clip (``stages.STAGES``), the present one marked."""
    return fill_template("working.html", stages=STAGES, now=stage)


def clip_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Markup:
    """A table of many clips, one line for each; text that is cut is there in full as a title.

    Args:
        columns: Names of the columns, "file", "emotion" and "remark" among them.
        rows: A value for each of them, or None; without an emotion the clip failed, and its
            remark says why.
    """
    return fill_template("clips.html", columns=columns, rows=rows)


def remark(words: str, is_result: bool = False) -> Markup:
    """A line in small print; ``is_result`` makes the page show what is hidden until a result."""
    return fill_template("remark.html", words=words, is_result=is_result)


def side_by_side(stages: Sequence[Markup], table: Markup) -> Markup:
    """Two faces (``viz.stage.face_stage``) side by side above their comparison."""
    return fill_template("pair.html", stages=stages, comparison=table)
