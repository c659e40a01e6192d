"""From contents to one HTML file: template, policy, scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tfstiff.errors import InvalidInput
from tfstiff.report.chart_data import packed

_TEMPLATES = Path(__file__).parent / "templates"
# The files of `templates/charts`, in the order in which they build on one another.
_CHARTS = (
    "words",
    "unpacking",
    "controls",
    "drawing",
    "time",
    "curves",
    "matrix",
    "distance",
    "lengths",
    "compare",
    "page",
)


def has_plotly() -> bool:
    """Whether Plotly is installed."""
    return find_spec("plotly") is not None


def render(contents: Mapping[str, Any], *, interactive: bool) -> str:
    """Fills the template.

    Everything in `contents` is escaped. The content security policy forbids every address but `data:` images, and every
    script and style sheet but those of the page, which it names by their hashes.

    Args:
        contents: What the template shows.
        interactive: Whether Plotly and our script are put into the page.

    Raises:
        InvalidInput: Plotly is needed and not installed.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (_TEMPLATES / "report.css").read_text("utf-8"), _script()
    plotly = _plotly_source() if interactive else ""
    return environment.get_template("report.html.j2").render(
        **contents,
        interactive=interactive,
        policy=_policy(style, [script, plotly] if interactive else []),
        style=Markup(style),  # a file of this package, not input
        script=Markup(script),
        plotly=_packed_plotly() if interactive else "",
    )


def _policy(style: str, scripts: list[str]) -> str:
    """The content security policy.

    Plotly brings style sheets of its own, other ones with each version, and sets `style` attributes: styles within the
    page are allowed where it is in it. It draws heat maps as `data:` images and hands out pictures as `blob:`.
    """
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hash, scripts)) or "'none'",
        "style-src": "'unsafe-inline'" if scripts else _hash(style),
        "img-src": "data: blob:" if scripts else "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _script() -> str:
    """One function of all files, so that no name of theirs is global; what it throws is told in the page."""
    parts = [(_TEMPLATES / "charts" / f"{name}.js").read_text("utf-8") for name in _CHARTS]
    told = """(error) => {
  const place = document.getElementById("trouble");
  place.textContent = `The charts cannot be drawn: ${error}`;
  place.hidden = false;
  throw error;
}"""
    return '"use strict";\n(async () => {\n' + "\n".join(parts) + "})().catch(" + told + ");\n"


def _plotly_source() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise InvalidInput("Interactive charts need Plotly.", remedy="pip install 'tfstiff[report]'") from error
    return get_plotlyjs()


@cache
def _packed_plotly() -> str:
    """The one bundle that Plotly's Python package has, compressed to less than half."""
    return packed(_plotly_source().encode())
