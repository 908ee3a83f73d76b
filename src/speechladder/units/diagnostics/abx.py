"""ABX phone discriminability of features and units, as the ZeroSpeech tasks define it (Schatz et al. 2013; triphones).

A, B and X are triphones with the same outer phones; A and X have the same middle phone, B another one. An error is a
B that is nearer to X than A is, half an error a tie. Within: all three of one speaker; across: A and B of one, X of
another. The distance of two tokens is the mean frame distance along the cheapest warping path (steps (1,1), (1,0),
(0,1); of equally cheap paths the shortest). Frame distances: the angle, over pi, of features and of centroids; 0 or 1
of units.

Errors are averaged over A, B and X of a cell (speakers, context, ordered pair of middle phones), then over the
contexts, then over the speakers (across: pairs of them), then over the pairs of phones; in percent.

The official task takes every triphone of a corpus. Here it is a bounded, seeded part of the run's own alignment: some
minutes of some speakers, at most `PER_CELL` tokens of a speaker's triphone, contexts in a drawn order up to `PAIRS`
distances. So figures are for comparing units of one run, not with published ones.
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

PER_CELL = 5  # tokens of one triphone of one speaker
PAIRS = 150_000  # distances, at most
_CELLS = 1 << 22  # frame distances warped at once

Cost = Callable[[np.ndarray], np.ndarray]  # frames of some tokens, (n, ...) -> their distances from each other (n, n)


@dataclass(frozen=True)
class Token:
    """A triphone: frames `first` to `last` (exclusive) of an utterance, which is a place in some list."""

    utterance: int
    first: int
    last: int
    phone: str
    context: tuple[str, str]
    speaker: str


def tokens_of(utterance: int, phones: Sequence[Span], frames: int, speaker: str) -> list[Token]:
    """The triphones without a pause of one utterance; a frame is a token's when its centre lies within."""
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


def choose(tokens: Iterable[Token], seed: int, per_cell: int = PER_CELL, pairs: int = PAIRS) -> list[list[Token]]:
    """Tokens in groups of one context, each with at least two middle phones in a speaker's mouth, for `errors`.

    Tokens and contexts are drawn by hash, so that neither their number nor their order elsewhere decides.
    """
    by_context: dict[tuple[str, str], dict[tuple[str, str], list[Token]]] = defaultdict(lambda: defaultdict(list))
    for token in tokens:
        by_context[token.context][token.speaker, token.phone].append(token)
    groups, left = [], pairs
    for context in sorted(by_context, key=lambda c: stable_hash("abx", seed, *c)):
        cells = by_context[context]
        told = {speaker for speaker, _ in cells if sum(s == speaker for s, _ in cells) > 1}
        phones = {phone for speaker, phone in cells if speaker in told}
        group = []
        for speaker, phone in sorted(cells):
            if phone in phones:
                drawn = sorted(cells[speaker, phone], key=lambda t: stable_hash("abx", seed, t.utterance, t.first))
                group += drawn[:per_cell]
        if not told:
            continue
        cost = len(group) * (len(group) - 1) // 2
        if cost > left:
            continue
        left -= cost
        groups.append(group)
    return groups


def angles(frames: np.ndarray) -> np.ndarray:
    """(n, dim) -> (n, n): the angle between every two, over pi; 0.5 from a vector without a direction."""
    norms = np.linalg.norm(frames, axis=1, keepdims=True)
    unit = frames / np.where(norms > 0, norms, 1)
    return np.arccos(np.clip(unit @ unit.T, -1, 1)).astype(np.float64) / np.pi


def same_or_not(units: np.ndarray) -> np.ndarray:
    """(n,) -> (n, n): 0 where two units are the same, else 1."""
    return (units[:, None] != units[None]).astype(np.float64)


def looked_up(table: np.ndarray) -> Cost:
    """Distances of units by their centroids' distances, (clusters, clusters)."""
    return lambda units: table[units[:, None], units[None]]


def warped(costs: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mean cost along the cheapest path of each of (pairs, n, m) costs; `rows`, `columns` (pairs,): its size."""
    pairs, height, width = costs.shape
    far = np.full(pairs, np.inf)
    above = [far] * (width + 1)  # (sum, steps) to the cells of the row before, from column -1
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
    """(tokens, tokens) float64 from the frames of each token; symmetric, 0 on the diagonal."""
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
        # pairs of similar lengths together, so that little is padding: as many as fit if each is as long as the last
        ahead = longest[at : at + max(1, _CELLS // int(longest[at]) ** 2)]
        cells = ahead**2 * np.arange(1, len(ahead) + 1)
        size = max(1, int(np.searchsorted(cells, _CELLS, side="right")))
        x, y = a[at : at + size], b[at : at + size]
        height, width = int(lengths[x].max()), int(lengths[y].max())
        rows = np.minimum(starts[x][:, None] + np.arange(height), len(between) - 1)
        columns = np.minimum(starts[y][:, None] + np.arange(width), len(between) - 1)
        found = warped(between[rows[:, :, None], columns[:, None]], lengths[x], lengths[y])
        out[x, y] = out[y, x] = found
        at += size
    return out


def _error(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """near (A, X), far (B, X) -> (A, X): the share of B that is nearer to X than A is, ties half."""
    wrong = (near[:, None] > far[None]).mean(axis=1)
    return wrong + 0.5 * (near[:, None] == far[None]).mean(axis=1)


def _mean(values: dict[Any, list[float]], key: Callable[[Any], Any]) -> dict[Any, list[float]]:
    """The mean of each list, gathered under a coarser key."""
    out: dict[Any, list[float]] = defaultdict(list)
    for name in values:
        out[key(name)].append(float(np.mean(values[name])))
    return out


def errors(groups: Sequence[Sequence[Token]], pieces: Callable[[Token], np.ndarray], cost: Cost) -> dict[str, Any]:
    """`within` and `across` in percent (null where no cell has them), with the number of cells of each.

    `pieces` gives a token's frames, and `cost` the distances of frames.
    """
    cells: dict[str, dict[Any, list[float]]] = {"within": defaultdict(list), "across": defaultdict(list)}
    for group in groups:
        between = distances([pieces(token) for token in group], cost)
        places: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at, token in enumerate(group):
            places[token.speaker][token.phone].append(at)
        for speaker, own in places.items():
            for p, q in permutations(own, 2):
                a, b = own[p], own[q]
                if len(a) > 1:
                    found = _error(between[np.ix_(a, a)], between[np.ix_(b, a)])
                    others = len(a) * (len(a) - 1)  # A is never X
                    cells["within"][speaker, p, q].append((found.sum() - np.trace(found)) / others)
                for other, theirs in places.items():
                    if other != speaker and p in theirs:
                        x = theirs[p]
                        found = _error(between[np.ix_(a, x)], between[np.ix_(b, x)])
                        cells["across"][(speaker, other), p, q].append(found.mean())
    out: dict[str, Any] = {}
    for kind, found in cells.items():
        pairs = _mean(_mean(found, lambda name: name[1:]), lambda pair: ())
        out[kind] = round(100 * float(np.mean(pairs[()])), 3) if pairs else None
        out[f"{kind}_cells"] = sum(map(len, found.values()))
    return out
