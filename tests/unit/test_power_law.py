"""The fit finds planted laws, its intervals cover them, and it refuses too few points."""

import numpy as np
import pytest

from speechladder.analysis.power_law import fit

SIZES, HOURS = np.geomspace(1e5, 1e8, 4), np.array([1.0, 4.0, 16.0, 64.0])


def planted(noise: float, seed: int = 0):
    """Losses of a grid under L = 10 + 200 N^-0.4 + 6 D^-0.25 with relative noise."""
    N, D = np.repeat(SIZES, len(HOURS)), np.tile(HOURS, len(SIZES))
    loss = 10 + 200 * N**-0.4 + 6 * D**-0.25
    return loss * np.exp(np.random.default_rng(seed).normal(0, noise, len(loss))), N, D


def test_exact_points_give_the_exact_law():
    loss, N, D = planted(0)
    found = fit(loss, [N, D])
    assert found.floor.value == pytest.approx(10, rel=1e-3)
    (a, b) = found.terms
    assert (a.exponent.value, a.coefficient) == (pytest.approx(0.4, rel=1e-3), pytest.approx(200, rel=0.02))
    assert (b.exponent.value, b.coefficient) == (pytest.approx(0.25, rel=1e-3), pytest.approx(6, rel=0.02))
    assert found.predict(N, D) == pytest.approx(loss, rel=1e-5)
    assert found.dof == 11


def test_noisy_points_give_the_law_within_the_intervals():
    loss, N, D = planted(0.003, seed=1)
    found = fit(loss, [N, D])
    for value, interval in zip((10, 0.4, 0.25), (found.floor, *(term.exponent for term in found.terms))):
        assert interval.low < value < interval.high
        assert interval.low < interval.value < interval.high
        assert interval.high - interval.low < value  # and the intervals are not too wide
    assert found.rmse == pytest.approx(0.003, rel=0.5)


def test_the_order_of_points_and_axes_does_not_matter():
    loss, N, D = planted(0.002)
    order = np.random.default_rng(0).permutation(len(loss))
    one, two = fit(loss, [N, D]), fit(loss[order], [D[order], N[order]])
    assert two.terms[1].exponent.value == pytest.approx(one.terms[0].exponent.value, rel=1e-6)
    assert two.floor.value == pytest.approx(one.floor.value, rel=1e-6)


def test_intervals_cover_as_often_as_they_say():
    rng, covered = np.random.default_rng(0), np.zeros(2)
    x, trials = np.geomspace(1e4, 1e7, 6), 60
    for _ in range(trials):
        found = fit((8 + 5 * (x / 1e4) ** -0.3) * (1 + rng.normal(0, 0.005, 6)), [x], confidence=0.8)
        for n, (value, interval) in enumerate(((8, found.floor), (0.3, found.terms[0].exponent))):
            low, high = (edge if end is None else end for end, edge in ((interval.low, 0), (interval.high, np.inf)))
            covered[n] += low <= value <= high
    # 80 % of 60 is 48; three standard deviations are 9
    assert (np.abs(covered - 0.8 * trials) <= 9).all(), covered


def test_a_loss_that_does_not_fall_has_no_exponent():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    found = fit(np.array([5.0, 5.1, 5.2, 5.3]), [x])
    assert found.terms[0].exponent is None
    assert found.predict(x) == pytest.approx(np.full(4, found.floor.value))


def test_too_few_points():
    x = np.array([1.0, 2.0, 4.0])
    exact = fit(3 + 2 * x**-0.5, [x])
    assert exact.terms[0].exponent.value == pytest.approx(0.5, rel=1e-3)
    assert exact.dof == 0
    assert exact.terms[0].exponent.low is exact.floor.high is None
    with pytest.raises(ValueError, match="2 points for 3 parameters"):
        fit(np.array([3.0, 2.0]), [x[:2]])
    with pytest.raises(ValueError, match="three values"):
        fit(np.array([3.0, 2.0, 3.1, 2.1]), [np.array([1.0, 2.0, 1.0, 2.0])])
    with pytest.raises(ValueError, match="positive"):
        fit(np.array([3.0, 2.0, np.nan]), [x])
