"""What a page says of a clip in words: the reading, linked sentences, a conversation, comparisons.

HTML for a page with a script (``service/assets/page.js``); see ``viz/stage.py``. Model output is
escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from deft_llm.clip import Explanation
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.viz import overlay, page
from deft_llm.viz.report import ClipInfo, summary_line

UNPROVEN = "not borne out by the motion"


@dataclass(frozen=True)
class Sentence:
    """A piece of an answer, with what it rests on.

    Attributes:
        text: As the model wrote it, with the white space after it.
        regions: Regions whose motion it states; empty for a sentence that states none.
        supported: Whether the measured motion bears all of it out.
        numbers: What was measured there, in words.
        contradicts: The class that was found, where the sentence concludes on another; or empty.
    """

    text: str
    regions: tuple[str, ...] = ()
    supported: bool = True
    numbers: str = ""
    contradicts: str = ""


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        question: As it was asked.
        answer: What there is of the answer.
        finished: Whether that is all of it.
    """

    question: str
    answer: tuple[Sentence, ...]
    finished: bool = True

    @property
    def text(self) -> str:
        """The answer as the model wrote it."""
        return "".join(sentence.text for sentence in self.answer)


def sentences(answer: Sequence[Sentence]) -> str:
    """An answer whose statements of motion are links to their evidence."""
    return "".join(_sentence(each) for each in answer)


def _sentence(sentence: Sentence) -> str:
    text = escape(sentence.text)
    body = text.rstrip()
    kind = "claim" if sentence.supported else "claim unproven"
    mark = "" if sentence.supported else f" <small>({UNPROVEN})</small>"
    if sentence.contradicts:
        mark += f" <small>(the class found is {escape(sentence.contradicts)})</small>"
    if not sentence.regions:
        return f'<span class="unproven">{body}{mark}</span>{text[len(body) :]}' if mark else text
    return (
        f'<span class="{kind}" role="button" tabindex="0" '
        f'data-region="{escape("|".join(sentence.regions))}" '
        f'data-numbers="{escape(sentence.numbers)}">{body}{mark}</span>{text[len(body) :]}'
    )


def reading(
    info: ClipInfo,
    measurement: Measurement,
    explanation: Explanation,
    rationale: Sequence[Sentence],
) -> str:
    """Emotion, action units and reasons of one clip.

    Args:
        info: The clip.
        measurement: What was measured.
        explanation: What the model said.
        rationale: Its reasons, checked.

    Returns:
        HTML.
    """
    note = ""
    if explanation.status != "ok" and explanation.probabilities:
        note = f'<p class="note">{escape(explanation.status)}</p>'
    if not explanation.parsed:
        note += '<p class="note">The answer was not in the expected form.</p>'
    return f"""<div class="reading result">
<p class="quiet">{escape(info.name)} · {escape(summary_line(measurement, info))}</p>
<div class="pair"><section><h3>Emotion</h3>{page.emotion(explanation)}</section>
<section><h3>Action units</h3>{page.action_units(explanation)}</section></div>
<h3>Why</h3><p class="why">{sentences(rationale) or "The model gave no reasons."}</p>
{note}{_unproven(explanation)}</div>"""


def _unproven(explanation: Explanation) -> str:
    if not explanation.unsupported:
        return ""
    claims = "; ".join(f"the {region} {way}" for region, way in explanation.unsupported)
    return f'<p class="unsupported"><strong>Stated, but {UNPROVEN}:</strong> {escape(claims)}.</p>'


def conversation(turns: Sequence[Turn]) -> str:
    """The turns so far, the newest last."""
    if not turns:
        return '<p class="quiet">No question yet.</p>'
    parts = [
        f'<div class="turn{"" if turn.finished else " open"}">'
        f'<p class="asked"><b>You</b> {escape(turn.question)}</p><p class="answered"><b>Model</b> '
        f"{sentences(turn.answer)}{'' if turn.finished else '…'}</p></div>"
        for turn in turns
    ]
    return f'<div class="chat" role="log" aria-live="polite" tabindex="0">{"".join(parts)}</div>'


def comparison(
    names: tuple[str, str],
    tables: tuple[RegionTable, RegionTable],
    explanations: tuple[Explanation, Explanation],
) -> str:
    """Two clips side by side: classes, action units, and the regions that moved in either.

    Args:
        names: What the clips are called.
        tables: Region motion from onset to apex.
        explanations: What the model said.

    Returns:
        An HTML table; the last column is the cosine between the two motions of a region.
    """
    a, b = tables
    either = np.flatnonzero(a.active | b.active)
    rows = [
        _row("emotion", *(said.emotion or "none named" for said in explanations)),
        _row("AUs", *(" ".join(f"AU{c}" for c in said.aus) or "–" for said in explanations)),
    ]
    for i in sorted(either, key=lambda k: -max(float(a.z[k]), float(b.z[k]))):
        along = float(a.u[i] * b.u[i] + a.v[i] * b.v[i])
        length = float(a.magnitude[i] * b.magnitude[i])
        alike = f"{along / length:+.2f}" if a.active[i] and b.active[i] else "–"
        rows.append(_row(REGION_NAMES[i], _motion(a, int(i)), _motion(b, int(i)), alike))
    first, second = (escape(name) for name in names)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Comparison"><table><thead><tr>'
        f'<th scope="col"></th><th scope="col">{first}</th><th scope="col">{second}</th>'
        '<th scope="col" class="n">same way</th></tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="quiet">same way: cosine between '
        "the two motions of a region, +1 alike, −1 opposed; only where both stand above the noise."
        "</p>"
    )


def _motion(table: RegionTable, i: int) -> str:
    if not table.active[i]:
        return "still"
    return f"{table.direction(i)} {table.magnitude[i]:.2f} px, z {table.z[i]:.1f}"


def _row(name: str, first: str, second: str, alike: str = "") -> str:
    return (
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(first)}</td><td>{escape(second)}</td>'
        f'<td class="n">{alike}</td></tr>'
    )


def film(video: bytes, factor: float) -> str:
    """A magnified clip (``viz.magnify``) that plays by itself, its two halves named."""
    source = page.data_uri(video, "video/mp4")
    return (
        '<figure class="film"><video autoplay loop muted controls playsinline '
        f'aria-label="As filmed, and motion magnified {factor:g} times" src="{source}"></video>'
        f"<figcaption><span>as filmed</span><span>motion ×{factor:g}</span></figcaption></figure>"
        '<p class="quiet">For looking at: noise is magnified as well.</p>'
    )


def interval_card(
    row: Mapping[str, Any], measurement: Measurement, rationale: Sequence[Sentence]
) -> str:
    """One interval of a long video.

    Args:
        row: Its times and reading, by the column names of ``service.batch``.
        measurement: Of its window.
        rationale: The model's reasons, checked.

    Returns:
        HTML: times, emotion and action units, onset and apex, reasons, a line of numbers.
    """
    frames, interval = measurement.aligned.frames, measurement.interval
    pair = np.concatenate([frames[interval.onset], frames[interval.apex]], axis=1)
    picture = page.data_uri(overlay.encode_png(pair))
    times = ", ".join(f"{k} {row[f'{k} s']:.2f} s" for k in ("onset", "apex", "offset"))
    return (
        f'<section class="interval"><img alt="Onset and apex" src="{picture}"><div>'
        f"<h3>{escape(times)}</h3><p><b>{escape(row['emotion'])}</b> {escape(row['aus'])}</p>"
        f"<p>{escape(row['strongest motion'])}</p><p>{sentences(rationale)}</p>"
        '<p class="numbers" role="status">Choose a sentence: what was measured is shown here.</p>'
        "</div></section>"
    )


def downloads(files: Mapping[str, tuple[str, bytes, str]]) -> str:
    """Links that save a file; its content travels in the link, so that no copy stays behind.

    Args:
        files: Words of the link -> (file name, content, media type).
    """
    links = "".join(
        f'<a class="download" download="{escape(name)}" href="{page.data_uri(content, kind)}">'
        f"{escape(words)}</a>"
        for words, (name, content, kind) in files.items()
    )
    return f'<p class="downloads result">{links}</p>'
