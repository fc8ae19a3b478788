"""A page's data becomes one HTML file that needs nothing else.

Place in the flow: `page.run` and `page.sweep` call `write_page`. Style, scripts and the chart library (uPlot, see
`uplot.LICENSE`) stand in the file, and its Content-Security-Policy allows these and nothing else, by their hashes: whatever
text a model or a teacher wrote, the browser runs none of it and fetches nothing.

Example::

    write_page(Path("report.html"), {"page": "run", "name": "sei-tiny", ...})
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sei.tracking.page.folder import Json

_HERE = Path(__file__).parent
_SCRIPT = ("base", "kinds", "list", "records", "overview", "more", "route")  # one script, in this order


def write_page(path: Path, data: Json) -> Path:
    """Write the page at `path`, whole or not at all. Returns `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(render(data), encoding="utf-8", errors="replace")  # half a surrogate pair is no character
    os.replace(temporary, path)
    return path


def render(data: Json) -> str:
    """The page as HTML."""
    style = _asset("uplot.min.css") + _asset("page.css")
    scripts = [_asset("uplot.min.js"), "".join(_asset(f"script/{name}.js") for name in _SCRIPT)]
    return (
        _templates()
        .get_template("page.html")
        .render(
            data=data,
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            style_hash=_hash(style),
            script_hashes=[_hash(script) for script in scripts],
            json=Markup(_json(data)),
        )
    )


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "interval": _interval, "duration": _duration}
    return environment


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(data: Json) -> str:
    """JSON that stands in a script element, which ends at any "</" and may hide what follows "<!--"."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    except ValueError:  # a loss that is not a number: a browser cannot read it
        text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    """The value with None for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _interval(figures: Json) -> str:
    return f"[{100 * figures['low']:.1f}, {100 * figures['high']:.1f}]"


def _duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
