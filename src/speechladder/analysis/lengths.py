"""How many tokens an utterance of the training data has on a rung."""

from pathlib import Path

import numpy as np

from speechladder.io.tables import TOKEN_INDEX, read_table

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def token_quantiles(tokens: Path, rung: str) -> list[float] | None:
    """The QUANTILES of tokens per training utterance of a rung; None if its train split is empty."""
    counts = read_table(tokens / rung / "train.parquet", TOKEN_INDEX, ["length"])["length"].to_numpy()
    return [float(value) for value in np.quantile(counts, QUANTILES)] if len(counts) else None
