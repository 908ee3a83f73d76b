"""ABX phone discriminability of features and units, as the ZeroSpeech tasks define it (Schatz et al. 2013; triphones).

A, B and X are triphones with the same outer phones. A and X have the same centre phone, and B has another one. It is an
error if B is nearer to X than A is; a tie is half an error. Within: all three are by one speaker. Across: A and B are
by one speaker, and X is by another. The distance of two tokens is the mean frame distance along the cheapest warping
path (steps (1,1), (1,0), (0,1)); of equally cheap paths the shortest counts. The distance of two frames is the angle
between features or centroids divided by pi, or 0 or 1 for units.

Errors are averaged over A, B and X of a cell (speakers, context, ordered pair of centre phones), then over the
contexts, then over the speakers (across: over pairs of them), then over the pairs of phones. Figures are in percent.

The official task takes every triphone of a corpus. Here a bounded, seeded part of the run's own alignment is used: some
minutes of some speakers, at most `PER_CELL` tokens of a speaker's triphone, and contexts in a drawn order up to `PAIRS`
distances. So the figures compare units of one run; they are not comparable with published ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from speechladder.alignment.frames import frame_centres
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.io.hashing import stable_hash
from speechladder.io.spans import Span

PER_CELL = 5  # most tokens of one triphone by one speaker
PAIRS = 150_000  # most distances
_CELLS = 1 << 22  # frame distances that are warped at once

Cost = Callable[[np.ndarray], np.ndarray]  # maps frames (n, ...) to their distances from each other (n, n)


@dataclass(frozen=True)
class Token:
    """A triphone: frames `first` to `last` (exclusive) of an utterance, which is an index into a list."""

    utterance: int
    first: int
    last: int
    phone: str
    context: tuple[str, str]
    speaker: str


def tokens_of(utterance: int, phones: Sequence[Span], frames: int, speaker: str) -> list[Token]:
    """The triphones without a pause in one utterance. A frame belongs to a token if its centre lies within it."""
    labels = [strip_stress(span.label) for span in phones]
    centres = frame_centres(frames)
    found = []
    for at in range(1, len(phones) - 1):
        if SIL in labels[at - 1 : at + 2]:
            continue
        first, last = np.searchsorted(centres, (phones[at - 1].start - 1e-6, phones[at + 1].end - 1e-6))
        if last > first:
            context = (labels[at - 1], labels[at + 1])
            found.append(Token(utterance, int(first), int(last), labels[at], context, speaker))
    return found


def choose_groups(
    tokens: Iterable[Token], seed: int, per_cell: int = PER_CELL, pairs: int = PAIRS
) -> list[list[Token]]:
    """Tokens in groups of one context, each with at least two centre phones by one speaker, for `errors`.

    Tokens and contexts are drawn by hash, so that the choice does not depend on the number or order of other tokens.
    """
    by_context: dict[tuple[str, str], dict[tuple[str, str], list[Token]]] = defaultdict(lambda: defaultdict(list))
    for token in tokens:
        by_context[token.context][token.speaker, token.phone].append(token)
    groups, left = [], pairs
    for context in sorted(by_context, key=lambda c: stable_hash("abx", seed, *c)):
        cells = by_context[context]
        contrasting = {speaker for speaker, _ in cells if sum(s == speaker for s, _ in cells) > 1}
        phones = {phone for speaker, phone in cells if speaker in contrasting}
        group = []
        for speaker, phone in sorted(cells):
            if phone in phones:
                drawn = sorted(cells[speaker, phone], key=lambda t: stable_hash("abx", seed, t.utterance, t.first))
                group += drawn[:per_cell]
        if not contrasting:
            continue
        cost = len(group) * (len(group) - 1) // 2
        if cost > left:
            continue
        left -= cost
        groups.append(group)
    return groups


def angles(frames: np.ndarray) -> np.ndarray:
    """Angles between all pairs of (n, dim), divided by pi: (n, n). A zero vector is at 0.5 from any other."""
    norms = np.linalg.norm(frames, axis=1, keepdims=True)
    unit = frames / np.where(norms > 0, norms, 1)
    return np.arccos(np.clip(unit @ unit.T, -1, 1)).astype(np.float64) / np.pi


def same_or_not(units: np.ndarray) -> np.ndarray:
    """Distances of units (n,): (n, n), 0 if two are the same, otherwise 1."""
    return (units[:, None] != units[None]).astype(np.float64)


def table_cost(table: np.ndarray) -> Cost:
    """Distances of units from a table of the distances of their centroids, (clusters, clusters)."""
    return lambda units: table[units[:, None], units[None]]


def warp(costs: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mean cost (pairs,) along the cheapest path through each of `costs` (pairs, n, m).

    `rows` and `columns` (pairs,) give the size of each.
    """
    pairs, height, width = costs.shape
    far = np.full(pairs, np.inf)
    above = [far] * (
        width + 1
    )  # sums to the cells of the previous row, from column -1; above_steps has the number of steps
    above_steps = [np.zeros(pairs)] * (width + 1)
    out = np.zeros(pairs)
    every = np.arange(pairs)
    for i in range(height):
        left, left_steps = far, above_steps[0]
        here, steps = [far], [left_steps]
        for j in range(width):
            best, count = (above[j], above_steps[j]) if i or j else (np.zeros(pairs), np.zeros(pairs))
            for other, other_steps in ((above[j + 1], above_steps[j + 1]), (left, left_steps)):
                better = (other < best) | ((other == best) & (other_steps < count))
                best, count = np.where(better, other, best), np.where(better, other_steps, count)
            left, left_steps = best + costs[:, i, j], count + 1
            here.append(left)
            steps.append(left_steps)
        above, above_steps = here, steps
        if (ends := rows == i + 1).any():
            done = every[ends]
            sums, counts = np.stack(here), np.stack(steps)
            out[done] = sums[columns[done], done] / counts[columns[done], done]
    return out


def distances(pieces: Sequence[np.ndarray], cost: Cost) -> np.ndarray:
    """Distances (tokens, tokens) float64 of tokens, given the frames of each; symmetric, 0 on the diagonal."""
    lengths = np.array([len(piece) for piece in pieces])
    starts = np.cumsum(lengths) - lengths
    between = cost(np.concatenate(pieces))
    a, b = np.triu_indices(len(pieces), 1)
    order = np.lexsort((np.minimum(lengths[a], lengths[b]), np.maximum(lengths[a], lengths[b])))
    a, b = a[order], b[order]
    longest = np.maximum(lengths[a], lengths[b])
    out = np.zeros((len(pieces), len(pieces)))
    at = 0
    while at < len(a):
        # Pairs of similar lengths go together, so that there is little padding. Take as many as fit if each is as long
        # as the last.
        ahead = longest[at : at + max(1, _CELLS // int(longest[at]) ** 2)]
        cells = ahead**2 * np.arange(1, len(ahead) + 1)
        size = max(1, int(np.searchsorted(cells, _CELLS, side="right")))
        x, y = a[at : at + size], b[at : at + size]
        height, width = int(lengths[x].max()), int(lengths[y].max())
        rows = np.minimum(starts[x][:, None] + np.arange(height), len(between) - 1)
        columns = np.minimum(starts[y][:, None] + np.arange(width), len(between) - 1)
        found = warp(between[rows[:, :, None], columns[:, None]], lengths[x], lengths[y])
        out[x, y] = out[y, x] = found
        at += size
    return out


def _error(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """(A, X): the share of B that is nearer to X than A is, ties counted half, from near (A, X) and far (B, X)."""
    wrong = (near[:, None] > far[None]).mean(axis=1)
    return wrong + 0.5 * (near[:, None] == far[None]).mean(axis=1)


def _mean(values: dict[Any, list[float]], key: Callable[[Any], Any]) -> dict[Any, list[float]]:
    """The mean of each list, collected under a coarser key."""
    out: dict[Any, list[float]] = defaultdict(list)
    for name in values:
        out[key(name)].append(float(np.mean(values[name])))
    return out


def cell_errors(
    groups: Iterable[Sequence[Token]],
    pieces: Callable[[Token], np.ndarray],
    cost: Cost,
    heard: Callable[[Token, list[str]], Iterable[str]] = lambda token, others: others,
) -> dict[str, dict[tuple[Any, str, str], list[float]]]:
    """The errors of the cells over contexts: `within` by (speaker, A, B) and `across` by ((speaker, other), A, B).

    A and B are centre phones. `heard` chooses among the speakers of X, given a token of A.
    """
    cells: dict[str, dict[Any, list[float]]] = {"within": defaultdict(list), "across": defaultdict(list)}
    for group in groups:
        between = distances([pieces(token) for token in group], cost)
        places: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at, token in enumerate(group):
            places[token.speaker][token.phone].append(at)
        for speaker, own in places.items():
            others = {
                p: heard(group[a[0]], [other for other in places if other != speaker and p in places[other]])
                for p, a in own.items()
            }
            for p, q in permutations(own, 2):
                a, b = own[p], own[q]
                if len(a) > 1:
                    found = _error(between[np.ix_(a, a)], between[np.ix_(b, a)])
                    count = len(a) * (len(a) - 1)  # A is never X
                    cells["within"][speaker, p, q].append((found.sum() - np.trace(found)) / count)
                for other in others[p]:
                    x = places[other][p]
                    found = _error(between[np.ix_(a, x)], between[np.ix_(b, x)])
                    cells["across"][(speaker, other), p, q].append(found.mean())
    return cells


def errors(groups: Sequence[Sequence[Token]], pieces: Callable[[Token], np.ndarray], cost: Cost) -> dict[str, Any]:
    """`within` and `across` in percent (null if there is no cell), with the number of cells of each.

    `pieces` returns the frames of a token, and `cost` the distances of frames.
    """
    out: dict[str, Any] = {}
    for kind, found in cell_errors(groups, pieces, cost).items():
        out[kind] = averaged(found)
        out[f"{kind}_cells"] = sum(map(len, found.values()))
    return out


def averaged(cells: dict[tuple[Any, str, str], list[float]]) -> float | None:
    """The mean over contexts, then over speakers, then over pairs of phones, in percent; None without cells."""
    pairs = _mean(_mean(cells, lambda name: name[1:]), lambda pair: ())
    return round(100 * float(np.mean(pairs[()])), 3) if pairs else None
