"""PNMI of an encoder's layers beside MFCC, with intervals."""

import numpy as np
import pytest

from speechladder.units.diagnostics.compare import gain, mean_pnmi, pnmi, unit_counts

LABELS = [["AA", "B", "K", "S"] * 10 for _ in range(12)]


def features(noise: float, seed: int = 0) -> list[np.ndarray]:
    """Utterances whose frames are points of their phone, with noise."""
    rng, places = np.random.default_rng(seed), {"AA": (0, 0), "B": (0, 9), "K": (9, 0), "S": (9, 9)}
    return [np.array([places[x] for x in row]) + rng.normal(0, noise, (len(row), 2)) for row in LABELS]


def test_counts_are_of_each_utterance():
    counts = unit_counts(features(0.1), LABELS, 4, 2)
    assert counts.shape == (2, 12, 4, 4)
    assert (counts.sum((2, 3)) == 40).all()
    assert mean_pnmi(counts.sum(1)) == pytest.approx(1.0)
    frames, labels = np.concatenate(features(6.0)), [label for row in LABELS for label in row]
    assert pnmi(frames, labels, 4, 2) == pytest.approx(mean_pnmi(unit_counts(features(6.0), LABELS, 4, 2).sum(1)))


def test_a_gain_has_an_interval():
    kinds = [(1.0, 0), (5.0, 0), (5.0, 1)]
    clear, blurred, other = (unit_counts(features(noise, seed), LABELS, 4, 1) for noise, seed in kinds)
    found = gain(clear, blurred)
    assert found["gain"] == pytest.approx(mean_pnmi(clear.sum(1)) - mean_pnmi(blurred.sum(1)), abs=1e-4)
    assert 0 < found["low"] < found["gain"] < found["high"]
    assert gain(clear, clear) == {"gain": 0.0, "low": 0.0, "high": 0.0}
    same = gain(blurred, other)
    assert same["low"] < 0 < same["high"]
