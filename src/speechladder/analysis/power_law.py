"""Power laws of the loss: L = E + A x^-alpha, and L = E + A N^-alpha + B D^-beta, with intervals from few points.

The fit minimises the squared relative residuals, (prediction - L) / L, under E, A, B >= 0. For given exponents this is
a linear problem with an exact solution. The exponents are found on a grid that is then narrowed, so there is no start
to choose and no local minimum to end in.

Intervals are profile intervals. A value belongs to the interval if the residual sum of squares, with the parameter held
at the value and all others fitted again, is at most S_min (1 + F / dof). F is the quantile of F(1, dof) at the given
confidence, and dof = points - parameters. This is the usual F test. It assumes independent normal residuals of one
relative size, so the interval says how well the points determine the parameter if the law holds, and not whether it
holds. Simulated coverage of a 95 % interval with 0.5 % noise: six points of one axis (300 trials) exponent 96 %, E
95 %; 5 x 5 points of two axes (100 trials) 96, 95 and 95 %. A bootstrap of so few residuals is not used: the residuals
of 9 points and 5 parameters are smaller than the noise by sqrt(4 / 9), and the interval would be too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from scipy import stats

LOWEST, HIGHEST = 0.02, 5.0  # the range of the exponents that are searched
GRID = 20  # points per axis in the first round
ZOOM = 9  # points per axis in later rounds, which halve the cube each, because valleys are narrow and oblique
ROUNDS = 12


@dataclass(frozen=True)
class Interval:
    """A parameter and its interval. An end is None if the points do not bound it, or if there are too few points."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Term:
    """One axis: `coefficient` x^-`exponent`. The exponent is None if the loss does not fall along the axis."""

    coefficient: float
    exponent: Interval | None


@dataclass(frozen=True)
class Fit:
    """A fitted law. `floor` is E, `terms` has an entry for each axis, `dof` is points minus parameters."""

    floor: Interval
    terms: tuple[Term, ...]
    rmse: float  # relative, over max(dof, 1)
    dof: int

    def predict(self, *axes: np.ndarray) -> np.ndarray:
        """The loss at these values of the axes."""
        total = np.full(np.broadcast_shapes(*map(np.shape, axes)), self.floor.value)
        for term, x in zip(self.terms, axes, strict=True):
            if term.exponent:
                total = total + term.coefficient * np.asarray(x, float) ** -term.exponent.value
        return total


def fit(loss: np.ndarray, axes: Sequence[np.ndarray], confidence: float = 0.95) -> Fit:
    """Fit a law to `loss` (n,) at the points `axes`, one (n,) array of positive values for each axis.

    Raises ValueError if there are fewer points than parameters, or fewer than three values on an axis, since these do
    not determine an exponent. With as many points as parameters there are no intervals.
    """
    problem = _Problem(loss, axes)
    axes_count = len(problem.axes)
    dof = len(problem.loss) - (1 + 2 * axes_count)
    if dof < 0:
        raise ValueError(f"{len(problem.loss)} points for {1 + 2 * axes_count} parameters")
    if any(len(np.unique(x)) < 3 for x in problem.axes):
        raise ValueError("an exponent needs three values on its axis")
    edges = (np.log(LOWEST), np.log(HIGHEST))
    least, at = _minimise(problem.squares, 1, axes_count, *edges)
    least, logs = float(least[0]), at[0]
    coefficients, _ = problem.solve(np.exp(logs)[None])
    coefficients = coefficients[0]
    limit = least * (1 + stats.f.ppf(confidence, 1, dof) / dof) if dof else None

    def bounds(profile: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, best: float) -> tuple[float | None, ...]:
        return _bounds(profile, grid, best, limit) if limit is not None else (None, None)

    def floor_profile(values: np.ndarray) -> np.ndarray:
        return _minimise(partial(problem.squares, floors=values), len(values), axes_count, *edges)[0]

    floors = np.linspace(0, 1.2 * problem.loss.min(), GRID)
    low, high = bounds(floor_profile, floors, coefficients[0])
    if limit is not None and low is None:
        low = 0.0  # E is not negative
    floor = Interval(float(coefficients[0]), low, high)
    terms = []
    for axis, x in enumerate(problem.axes):
        scaled = float(coefficients[1 + axis])
        if scaled <= 0:
            terms.append(Term(0.0, None))
            continue

        def profile(values: np.ndarray, axis: int = axis) -> np.ndarray:
            def squares(points: np.ndarray) -> np.ndarray:
                held = np.broadcast_to(values[:, None, None], (*points.shape[:2], 1))
                return problem.squares(np.concatenate([points[..., :axis], held, points[..., axis:]], -1))

            return _minimise(squares, len(values), axes_count - 1, *edges)[0]

        low, high = bounds(profile, np.linspace(*edges, GRID), logs[axis])
        ends = (None if end is None else float(np.exp(end)) for end in (low, high))
        exponent = Interval(float(np.exp(logs[axis])), *ends)
        terms.append(Term(scaled * float(x.min()) ** exponent.value, exponent))
    return Fit(floor, tuple(terms), float(np.sqrt(least / max(dof, 1))), dof)


class _Problem:
    """The residuals as a function of the exponents. Axes are scaled to begin at 1."""

    def __init__(self, loss: np.ndarray, axes: Sequence[np.ndarray]) -> None:
        self.loss = np.asarray(loss, float)
        self.axes = [np.asarray(x, float) for x in axes]
        if not all(np.isfinite(v).all() and (v > 0).all() for v in (self.loss, *self.axes)):
            raise ValueError("losses and axes must be positive")
        self._logs = np.stack([np.log(x / x.min()) for x in self.axes], -1)  # (n, axes)

    def squares(self, logs: np.ndarray, floors: np.ndarray | None = None) -> np.ndarray:
        """The least sums of squares (rows, m) at log exponents (rows, m, axes), with E at `floors` (rows,) if given."""
        rows, count = logs.shape[:2]
        held = None if floors is None else np.repeat(floors, count)
        return self.solve(np.exp(logs).reshape(rows * count, -1), held)[1].reshape(rows, count)

    def solve(self, exponents: np.ndarray, floors: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (g, 1 + axes), E first, and sums of squares (g,) at exponents (g, axes)."""
        columns = np.exp(-exponents[:, None, :] * self._logs) / self.loss[:, None]  # (g, n, axes)
        ones = np.broadcast_to(1 / self.loss[:, None], (*columns.shape[:2], 1))
        target = np.ones(columns.shape[:2])
        if floors is None:
            return _nonnegative(np.concatenate([ones, columns], -1), target)
        coefficients, squares = _nonnegative(columns, target - floors[:, None] / self.loss)
        return np.concatenate([floors[:, None], coefficients], -1), squares


def _nonnegative(design: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares under coefficients >= 0, for each of (g, n, k) designs: (g, k), (g,).

    The solution is the unconstrained solution of some subset of the columns. There are few columns, so all are tried.
    """
    problems, _, count = design.shape
    best, squares = np.zeros((problems, count)), (target**2).sum(-1)
    for size in range(1, count + 1):
        for subset in map(list, combinations(range(count), size)):
            X = design[:, :, subset]
            gram, right = X.transpose(0, 2, 1) @ X, (X * target[..., None]).sum(1)
            gram = gram + 1e-13 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(size)
            found = np.linalg.solve(gram, right[..., None])[..., 0]
            remaining = ((target - (X * found[:, None]).sum(-1)) ** 2).sum(-1)
            better = (found >= 0).all(-1) & (remaining < squares)
            best[better] = 0.0
            best[np.ix_(better, subset)] = found[better]
            squares = np.where(better, remaining, squares)
    return best, squares


def _minimise(
    function: Callable[[np.ndarray], np.ndarray], rows: int, dims: int, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """The minimum (rows,) and its place (rows, dims) of `function`, (rows, m, dims) -> (rows, m), in a cube."""
    if dims == 0:
        return function(np.empty((rows, 1, 0)))[:, 0], np.empty((rows, 0))
    centre, width, count = np.full((rows, dims), (low + high) / 2), (high - low) / 2, GRID
    least = np.empty(rows)
    for _ in range(ROUNDS):
        steps = np.linspace(-width, width, count)
        cube = np.stack(np.meshgrid(*[steps] * dims, indexing="ij"), -1).reshape(-1, dims)
        points = np.clip(centre[:, None] + cube, low, high)
        values = function(points)
        chosen = values.argmin(1)
        centre, least = points[np.arange(rows), chosen], values[np.arange(rows), chosen]
        width, count = 2 * (steps[1] - steps[0]), ZOOM
    return least, centre


def _bounds(
    profile: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, best: float, limit: float
) -> tuple[float | None, float | None]:
    """Where the profile crosses `limit` below and above `best`; None if it does not cross within the grid."""
    grid = np.unique([*grid, best])
    inside = profile(grid) <= limit
    inside |= grid == best
    first, last = np.flatnonzero(inside)[[0, -1]]
    ends: list[float | None] = []
    for at, step in ((first, -1), (last, 1)):
        if not 0 <= at + step < len(grid):
            ends.append(None)
            continue
        within, without = grid[at], grid[at + step]
        for _ in range(20):
            middle = (within + without) / 2
            if profile(np.array([middle]))[0] <= limit:
                within = middle
            else:
                without = middle
        ends.append(float(within))
    return ends[0], ends[1]
