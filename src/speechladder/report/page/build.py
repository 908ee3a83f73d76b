"""The page of a run: sections, the template around them, and all that they need, in one file."""

import base64
import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from speechladder.analysis.compare import run_rungs
from speechladder.io.files import atomic
from speechladder.report.looks import NORM_LABELS, look
from speechladder.report.page.charts import CONFIG, shape
from speechladder.report.page.palette import palette, variable
from speechladder.report.page.section import Section, slug
from speechladder.report.page.sections.registry import SECTIONS

HERE = Path(__file__).resolve().parent
TITLE = "speechladder"


def write_page(results: Path = Path("results"), out: Path = Path("results/report.html")) -> None:
    """Write the page of a run: one HTML file with its charts, its audio and its scripts inside.

    Raises UserError if a table of the run is missing or lacks a column.

    Args:
        results: folder of the run, with table.csv
        out: the page
    """
    rungs = run_rungs(results)
    sections = [found for make in SECTIONS if (found := make(results)) is not None]
    write(
        out,
        sections,
        {rung: look(rung)["color"] for rung in rungs},
        f"{TITLE}: {len(rungs)} representations of the same speech",
    )


def write(out: Path, sections: Sequence[Section], colours: Mapping[str, str], title: str) -> None:
    """Write sections as a page; `colours` are those of rungs or runs, name -> '#rrggbb'."""
    scripts = dict.fromkeys(name for section in sections for name in section.scripts)
    templates = environment()

    def render(section: Section) -> Markup:
        return Markup(templates.get_template(section.template).render(section.context))

    text = templates.get_template("page.html.j2").render(
        title=title,
        render=render,
        sections=sections,
        palette=palette(colours),
        config=CONFIG,
        style=Markup(_static("page.css")),
        libraries=Markup(vega()),
        licence=_static("vega_licence.txt"),
        scripts=[Markup(_static(name)) for name in ("page.js", *scripts)],
    )
    with atomic(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def environment() -> jinja2.Environment:
    """Jinja2 over the templates of the page: values are escaped, and a name that is missing is an error."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["norm_labels"] = NORM_LABELS
    found.filters["slug"] = slug
    found.filters["variable"] = variable
    found.filters["shape"] = shape
    found.filters["data_uri"] = data_uri
    found.filters["json"] = json_in_html
    found.filters["set_intervals"] = set_intervals
    return found


def data_uri(path: Path) -> str:
    """A file as an address that holds the file itself, for `src` of audio and images."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def json_in_html(value: Any) -> Markup:
    """A value as JSON inside a <script type="application/json">, which no text of it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def set_intervals(text: str) -> Markup:
    """A text whose intervals, [95.0, 98.2], are set smaller, and whose percent signs stay beside their numbers."""
    kept = str(escape(text)).replace(" %", "\N{NO-BREAK SPACE}%")
    return Markup(re.sub(r"(\[[^\]]*\])", r'<span class="ci">\1</span>', kept))


def _static(name: str) -> str:
    return (HERE / "static" / name).read_text(encoding="utf-8")


@cache
def vega() -> str:
    """The scripts of Vega, Vega-Lite and Vega-Embed (BSD-3-Clause), as vl-convert-python bundles them."""
    import vl_convert

    # an HTML parser ends a script at the first </script, wherever it stands
    return vl_convert.javascript_bundle().replace("</script", "<\\/script")
