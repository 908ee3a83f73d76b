"""The measured part of docs/published.md: how well PNMI and ABX predict sWUGGY over the published systems."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill

import numpy as np
from scipy.stats import spearmanr

from speechladder.analysis.published import (
    COVERAGE,
    MODELS,
    TIE,
    Row,
    cross_validated,
    predict_swuggy,
    rms,
    systems,
)
from speechladder.report.markdown import WIDTH, fill_blocks, table_lines

MIDDLE = 0.6  # a PNMI in the middle of the published systems, for the example


def write_published(page: Path = Path("docs/published.md"), published: Path = Path("data/published")) -> None:
    """Put the figures of the prediction between the marks of a page.

    Args:
        page: page with the lines <!-- PREDICTION --> and <!-- /PREDICTION -->
        published: folder with spidr.csv
    """
    fill_blocks(page, {"PREDICTION": prediction_block(published)})


def prediction_block(published: Path) -> str:
    """Rank correlations, cross-validated errors in all and by family, and an example, as Markdown."""
    rows = systems(published)
    families = sorted({row.family for row in rows})
    lines = [["inputs", "all", *families, "each encoder left out"]]
    for model in MODELS:
        left = cross_validated(rows, model)
        own = [rms(left[[row.family == family for row in rows]]) for family in families]
        figures = [rms(left), *own, rms(cross_validated(_by_encoder(rows), model))]
        lines.append([" and ".join(each.name for each in model), *(f"{figure:.1f}" for figure in figures)])
    spread = float(np.std([row.swuggy for row in rows]))
    example = predict_swuggy(published, MIDDLE)
    text = (
        f"{len(rows)} systems of {len(families)} families. Spearman's correlation with sWUGGY (all items) is "
        f"{_spearman(rows, 'pnmi'):+.2f} for PNMI and {_spearman(rows, 'abx_across'):+.2f} for the ABX error across "
        f"speakers. sWUGGY itself has a standard deviation of {spread:.1f} points. The table has the root mean square "
        "error in points of systems whose family was left out of the fit."
    )
    after = (
        f"Used: {' and '.join(example.inputs)}, the first row that is within {TIE} points of the least error. Its mean "
        f"absolute error is {example.error_abs:.1f} points. Of a PNMI of {MIDDLE} it predicts {example.value:.1f} "
        f"[{example.low:.1f}, {example.high:.1f}]; the interval holds {100 * COVERAGE:.0f} % of the errors of the "
        "systems left out."
    )
    parts = (fill(text, WIDTH), "", *table_lines(lines), "", fill(after, WIDTH), "")
    return "\n".join(parts)


def _by_encoder(rows: Sequence[Row]) -> list[Row]:
    """The rows with codebooks and k-means of one encoder as one family: spidr-codebooks and spidr-kmeans are spidr."""
    return [replace(row, family=row.family.partition("-")[0]) for row in rows]


def _spearman(rows: Sequence[Row], name: str) -> float:
    return float(spearmanr([getattr(row, name) for row in rows], [row.swuggy for row in rows]).statistic)
