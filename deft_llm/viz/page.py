"""HTML from data: one Jinja environment over ``templates/``, for the report and the demo.

Every value is escaped. Pictures and files are embedded in the page as data URIs.
"""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from deft_llm import facs
from deft_llm.scans.scan import turned


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """A file's content as a data URI, so that nothing is fetched or stored."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def au_title(code: str) -> str:
    """An AU code in words: ``"L12"`` -> ``"AU12 lip corner puller, left"``."""
    # A plain number is both sides.
    side = {"L": ", left", "R": ", right"}.get(code[:1], "")
    return facs.ACTION_UNITS[facs.au_number(code)].label + side


def sentence(remark: str) -> str:
    """A remark with a capital letter and a full stop."""
    return f"{remark[:1].upper()}{remark[1:]}."


_ENVIRONMENT = Environment(
    loader=PackageLoader("deft_llm.viz"),
    autoescape=True,
    # A misspelt value in a template raises instead of leaving a blank.
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    data_uri=data_uri, au_title=au_title, au=facs.au_short, sentence=sentence, turned=turned
)


def fill_template(template: str, **values: object) -> Markup:
    """Fill in a file of ``templates/``.

    Args:
        template: File name.
        values: Values by their names in the template.

    Returns:
        HTML as ``Markup``, which other templates insert without escaping it again.
    """
    return Markup(_ENVIRONMENT.get_template(template).render(values))


def piece(macro: str, *values: object) -> Markup:
    """The same for one macro of ``macros.html``, with positional arguments."""
    return getattr(_ENVIRONMENT.get_template("macros.html").module, macro)(*values)
