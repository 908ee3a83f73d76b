"""The quality of the units and of the alignment, in figures with their meaning."""

from pathlib import Path

from speechladder.io.files import read_json
from speechladder.report.page.numbers import at
from speechladder.report.page.section import Section, Table

# path in units/quality.json, factor, decimals, unit, what it is, what it means
FIGURES = (
    ("pnmi", 1, 2, "", "PNMI", "share of the phones' entropy that a unit tells; 1 is all"),
    (
        "pnmi_100hz",
        1,
        2,
        "",
        "PNMI as published",
        "units repeated to 100 Hz; the labels lie 2.5 ms before the frame's centre",
    ),
    ("phone_purity", 100, 0, " %", "phone purity", "frames whose phone is the commonest one of their unit"),
    ("cluster_purity", 100, 0, " %", "unit purity", "frames whose unit is the commonest one of their phone"),
    ("entropy_bits", 1, 2, " bits", "entropy", "of a unit, without its neighbours"),
    ("bits_per_second", 1, 0, " bits/s", "rate", "entropy times 50 units per second"),
    ("mean_run_frames", 1, 2, " frames", "run", "how long a unit stays the same, on average"),
    (
        "speaker.share_excess",
        100,
        1,
        " %",
        "of the speaker",
        "share of the speakers' entropy that a unit tells, less that of shuffled speakers",
    ),
    (
        "abx.units.centroids.within",
        1,
        1,
        " %",
        "ABX of the units, one speaker",
        "errors in telling triphones apart; 50 % is chance",
    ),
    ("abx.units.centroids.across", 1, 1, " %", "ABX of the units, two speakers", "the same across speakers"),
    (
        "abx.features.within",
        1,
        1,
        " %",
        "ABX of the features, one speaker",
        "before k-means, so the loss to it is that of the units",
    ),
    ("abx.features.across", 1, 1, " %", "ABX of the features, two speakers", "the same across speakers"),
    (
        "same_sentence.swuggy.units_changed",
        100,
        0,
        " %",
        "units that change with the voice",
        "the same word by two voices",
    ),
    (
        "same_sentence.swuggy.phones_changed",
        100,
        0,
        " %",
        "phones that change with the voice",
        "the same word by two voices",
    ),
)
ALIGNMENT = (
    ("within_20ms", 100, 0, " %", "boundaries within 20 ms", "of the reference"),
    ("median_absolute_ms", 1, 1, " ms", "median error", "of a boundary, without its sign"),
    ("phone_error_rate", 100, 1, " %", "phone errors", "of the aligner's phones against the reference"),
)


def section(results: Path) -> Section | None:
    """Tables of what is known of the units and the alignment; None if neither was measured."""
    found = [
        _table(results / "units" / "quality.json", "Units", FIGURES),
        _table(results / "alignment" / "quality.json", "Alignment", ALIGNMENT),
    ]
    tables = [table for table in found if table]
    path = results / "units" / "quality.json"
    encoder = read_json(path).get("encoder") if path.is_file() else None
    context = {"tables": tables, "encoder": encoder if isinstance(encoder, dict) else None}
    return Section("Quality of the units", "units", "units.html.j2", context) if tables else None


def _table(path: Path, caption: str, figures: tuple[tuple[str, int, int, str, str, str], ...]) -> Table | None:
    if not path.is_file():
        return None
    content = read_json(path)
    rows = []
    for name, factor, decimals, unit, title, meaning in figures:
        value = at(content, name)
        if isinstance(value, int | float):
            rows.append([title, f"{factor * value:,.{decimals}f}{unit}", meaning])
    return Table(caption, ["figure", "value", "what it says"], rows, frozenset({2})) if rows else None


def figures(results: Path) -> dict[str, str]:
    """The figures of units and alignment of a run as texts, by their titles."""
    paths = ((results / "units" / "quality.json", FIGURES), (results / "alignment" / "quality.json", ALIGNMENT))
    tables = [_table(path, "", of) for path, of in paths]
    return {row[0]: row[1] for table in tables if table for row in table.rows}
