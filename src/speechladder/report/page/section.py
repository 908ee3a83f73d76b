"""What a section of the page is, and what its template may show: charts and tables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading, and its entry in the contents
        anchor: its id, lower case with hyphens
        template: file below report/page/templates that renders what stands under the heading
        context: the names that the template uses
        scripts: files below report/page/static that the section needs; each is put into the page once
    """

    title: str
    anchor: str
    template: str
    context: Mapping[str, Any]
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart that Vega-Lite draws in the reader's browser.

    Attributes:
        name: its id on the page, lower case with hyphens
        title: the line above it
        label: what a screen reader says in its place; the figures themselves stand in a table
        spec: the specification (report.page.charts makes it)
        height: the height in pixels that the page keeps free for it
    """

    name: str
    title: str
    label: str
    spec: Mapping[str, Any]
    height: int


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        caption: what it shows
        head: the names of the columns
        rows: the cells; the first of a row is its head
        texts: columns, beside the first, that hold words, which are set flush left and may break
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: frozenset[int] = field(default_factory=frozenset)


def slug(text: str) -> str:
    """A text as a part of an id or of the name of a CSS variable."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
