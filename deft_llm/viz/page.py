"""The HTML of a report: pieces of a page, each from plain values, every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template

from deft_llm import facs
from deft_llm.clip import Evidence, Explanation


def fill_page(**parts: str) -> str:
    """Put finished pieces of HTML into the page.

    Args:
        parts: One for each ``$name`` of ``report.html`` but the style sheet.

    Returns:
        The page, complete in itself.
    """
    here = resources.files("deft_llm.viz")
    page = Template((here / "report.html").read_text(encoding="utf-8"))
    return page.substitute(parts, css=(here / "report.css").read_text(encoding="utf-8"))


def text(value: str) -> str:
    """Plain text as HTML."""
    return escape(value)


def au_title(code: str) -> str:
    """An AU code in words: ``"L12"`` -> ``"AU12 lip corner puller, left"``."""
    side = {"L": ", left", "R": ", right"}.get(code[:1], "")
    return facs.ACTION_UNITS[facs.au_number(code)].label + side


def emotion(explanation: Explanation) -> str:
    """The class in large letters over its probabilities; says so where none is named."""
    if explanation.emotion is None:
        status = explanation.status if explanation.status != "ok" else "too little moved"
        reason = f"{status[:1].upper()}{status[1:]}. No emotion is named without motion to rest on."
        return f'<p class="answer">none named</p><p>{escape(reason)}</p>'
    answer = f'<p class="answer">{escape(explanation.emotion)}</p>'
    ordered = sorted(explanation.probabilities.items(), key=lambda item: -item[1])
    return answer + _bars(dict(ordered))


def action_units(explanation: Explanation) -> str:
    """The AUs that the answer names, with the head's probability; those without motion marked."""
    if explanation.aus:
        shown = _bars({au_title(code): p for code, p in explanation.aus.items()})
    else:
        shown = '<p class="quiet">none named</p>'
    if explanation.unseen_aus:
        names = escape(", ".join(map(au_title, explanation.unseen_aus)))
        shown += f'<p class="unsupported"><strong>No motion speaks for:</strong> {names}.</p>'
    return shown


def why(explanation: Explanation) -> str:
    """The rationale, and the claims that the measured motion does not support."""
    text = explanation.rationale or "The model gave no reasons."
    parts = [f'<p class="why">{escape(text)}</p>']
    if explanation.unsupported:
        claims = "; ".join(f"{region} {way}" for region, way in explanation.unsupported)
        parts.append(
            '<p class="unsupported"><strong>Not supported by the measured motion:</strong> '
            f"the model also stated: {escape(claims)}.</p>"
        )
    if explanation.contradicting:
        names = escape(", ".join(explanation.contradicting))
        parts.append(
            f'<p class="unsupported"><strong>Not the class that was found:</strong> {names}.</p>'
        )
    return "".join(parts)


def evidence_table(evidence: Sequence[Evidence], interocular: float) -> str:
    """Regions that moved, as the explanation lists them.

    Args:
        evidence: Measured motion, canonical pixels.
        interocular: Distance between the eye centres, canonical pixels.

    Returns:
        A table, or a sentence where nothing moved.
    """
    if not evidence:
        return '<p class="quiet">No region moved above its noise floor.</p>'
    rows = "".join(
        f"<tr><td>{escape(e.region)}</td><td>{escape(e.direction)}</td>"
        f'<td class="n">{e.magnitude:.2f}</td><td class="n">{100 * e.magnitude / interocular:.2f}'
        f'</td><td class="n">{e.z:.1f}</td><td>'
        f"{escape(', '.join(f'AU{code}' for code in e.aus)) or '–'}</td></tr>"
        for e in evidence
    )
    return (
        '<div class="scroll"><table><thead><tr><th>region</th><th>direction</th>'
        '<th class="n">px</th><th class="n">% of eye distance</th><th class="n">z</th>'
        f"<th>fits</th></tr></thead><tbody>{rows}</tbody></table></div>"
        '<p class="quiet">z: the motion over the region’s own noise; 3 or more counts as motion. '
        "Fits: action units of which this motion is a sign.</p>"
    )


def figures(title: str, pictures: Mapping[str, tuple[bytes, str]]) -> str:
    """A section of captioned pictures.

    Args:
        title: The section's heading.
        pictures: Caption -> (PNG content, alternative text).

    Returns:
        The section.
    """
    cells = "".join(
        f'<figure><img alt="{escape(alt)}" src="{data_uri(png)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, (png, alt) in pictures.items()
    )
    return f'<section>\n<h2>{escape(title)}</h2>\n<div class="pictures">{cells}</div>\n</section>'


def light_and_dark(light: bytes, dark: bytes, alt: str) -> str:
    """One picture that follows the reader's colour scheme."""
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{data_uri(dark)}">'
    image = f'<img alt="{escape(alt)}" src="{data_uri(light)}">'
    return f'<div class="scroll wide"><picture>{source}{image}</picture></div>'


def facts(rows: Mapping[str, str]) -> str:
    """A table of names and values."""
    cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f'<div class="scroll"><table class="facts"><tbody>{cells}</tbody></table></div>'


def _bars(values: Mapping[str, float]) -> str:
    cells = "".join(
        f'<dt>{escape(name)}</dt><dd class="track"><i style="width:{100 * value:.1f}%"></i></dd>'
        f'<dd class="number">{value:.2f}</dd>'
        for name, value in values.items()
    )
    return f'<dl class="bars">{cells}</dl>'


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """A file's content as the address of itself: nothing is fetched or stored."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
