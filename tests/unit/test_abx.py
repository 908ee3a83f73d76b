"""ABX is compared with its definition, triple by triple, and with extremes whose error is known."""

from itertools import product

import numpy as np
import pytest

from speechladder.io.spans import Span
from speechladder.units.diagnostics import abx
from speechladder.units.diagnostics.abx import (
    Token,
    angles,
    choose_groups,
    distances,
    errors,
    same_or_not,
    table_cost,
    tokens_of,
)


def warp(costs):
    """Mean cost of the cheapest path (the shortest of equal ones), by trying every path."""
    n, m = costs.shape
    best = {(0, 0): (costs[0, 0], 1)}
    for i, j in product(range(n), range(m)):
        before = [best[p] for p in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if p in best]
        if before:
            best[i, j] = min((total + costs[i, j], steps + 1) for total, steps in before)
    total, steps = best[n - 1, m - 1]
    return total / steps


def brute(tokens, pieces, cost):
    """The definition: average over every triple, then cells, contexts, speakers and pairs of phones."""
    kinds = {"within": {}, "across": {}}
    for a, b, x in product(range(len(tokens)), repeat=3):
        A, B, X = tokens[a], tokens[b], tokens[x]
        if a == x or {A.context, B.context, X.context} != {A.context} or A.phone != X.phone or A.phone == B.phone:
            continue
        if A.speaker != B.speaker:
            continue
        near, far = (warp(cost(np.concatenate([p, pieces[x]]))[: len(p), len(p) :]) for p in (pieces[a], pieces[b]))
        wrong = 1.0 if near > far else 0.5 if near == far else 0.0
        kind, speakers = ("within", A.speaker) if A.speaker == X.speaker else ("across", (A.speaker, X.speaker))
        cell = kinds[kind].setdefault((A.phone, B.phone), {}).setdefault(speakers, {})
        cell.setdefault(A.context, []).append(wrong)

    def mean(values):
        return float(np.mean(list(values)))

    out = {}
    for kind, pairs in kinds.items():
        out[kind] = 100 * mean(
            mean(mean(mean(c) for c in s.values()) for s in pair.values()) for pair in pairs.values()
        )
    return out


def random_tokens(rng, speakers=3, contexts=2, phones=3, most=3):
    tokens, at = [], 0
    for s, c, p in product(range(speakers), range(contexts), range(phones)):
        for _ in range(rng.integers(0, most + 1)):
            tokens.append(Token(at, 0, int(rng.integers(1, 7)), f"P{p}", (f"L{c}", "R"), f"s{s}"))
            at += 1
    return tokens


def groups_of(tokens):
    return [[t for t in tokens if t.context == c] for c in sorted({t.context for t in tokens})]


@pytest.mark.parametrize("seed", range(4))
def test_features_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    tokens = random_tokens(rng)
    frames = [rng.normal(size=(t.last, 5)) + 0.4 * int(t.phone[1]) for t in tokens]
    got = errors(groups_of(tokens), lambda t: frames[t.utterance], angles)
    wanted = brute(tokens, frames, angles)
    assert got["within"] == pytest.approx(wanted["within"], abs=1e-3)
    assert got["across"] == pytest.approx(wanted["across"], abs=1e-3)


@pytest.mark.parametrize("cost", [same_or_not, table_cost(angles(np.random.default_rng(9).normal(size=(4, 6))))])
def test_units_by_brute_force_with_many_ties(cost):
    rng = np.random.default_rng(5)
    tokens = random_tokens(rng, most=4)
    units = [rng.integers(0, 4, t.last) for t in tokens]
    got = errors(groups_of(tokens), lambda t: units[t.utterance], cost)
    wanted = brute(tokens, units, cost)
    assert (got["within"], got["across"]) == pytest.approx((wanted["within"], wanted["across"]), abs=1e-3)


def test_a_phone_that_always_sounds_the_same_makes_no_error():
    rng = np.random.default_rng(0)
    tokens = random_tokens(rng, most=4)
    sound = {f"P{p}": rng.normal(size=(3, 8)) for p in range(3)}
    got = errors(groups_of(tokens), lambda t: sound[t.phone], angles)
    assert got["within"] == got["across"] == 0
    unit = {f"P{p}": np.array([p, p]) for p in range(3)}
    assert errors(groups_of(tokens), lambda t: unit[t.phone], same_or_not)["across"] == 0


def test_noise_is_at_chance_and_one_sound_for_all_is_a_tie():
    rng = np.random.default_rng(1)
    tokens = random_tokens(rng, speakers=6, contexts=6, most=5)
    noise = [rng.normal(size=(t.last, 8)) for t in tokens]
    got = errors(groups_of(tokens), lambda t: noise[t.utterance], angles)
    assert got["within"] == pytest.approx(50, abs=4) and got["across"] == pytest.approx(50, abs=2)
    same = errors(groups_of(tokens), lambda t: np.zeros(t.last, int), same_or_not)
    assert same["within"] == same["across"] == 50


def test_the_order_of_averaging():
    """One speaker has two contexts without errors, another has a bad one: 37.5 %; over all cells it would be 25 %."""
    good, bad = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    tokens, sounds = [], []

    def add(speaker, context, phone, sound):
        tokens.append(Token(len(tokens), 0, 1, phone, (context, "R"), speaker))
        sounds.append(sound)

    for context in ("K", "L"):
        for phone, sound in (("P", good), ("P", good), ("Q", bad)):
            add("one", context, phone, sound)
    for phone, sound in (("P", good), ("P", bad), ("Q", good)):
        add("two", "K", phone, sound)
    got = errors(groups_of(tokens), lambda t: sounds[t.utterance], angles)
    wanted = brute(tokens, sounds, angles)
    # of speaker two, X bad: A and B are as far, a tie; X good: B is as near as X is to itself, A is not
    assert got["within"] == pytest.approx(wanted["within"], abs=1e-3)
    assert got["within"] == pytest.approx((0 + (50 + 100) / 2) / 2, abs=1e-3)
    assert got["within_cells"] == 3


def test_distances_are_symmetric_whatever_the_padding():
    rng = np.random.default_rng(2)
    pieces = [rng.normal(size=(n, 4)) for n in (1, 9, 2, 5, 5, 3)]
    got = distances(pieces, angles)
    for a, b in product(range(6), repeat=2):
        between = angles(np.concatenate([pieces[a], pieces[b]]))[: len(pieces[a]), len(pieces[a]) :]
        assert got[a, b] == pytest.approx(0 if a == b else warp(between))
    assert (got == got.T).all()


def test_frame_distances():
    right, up = [1.0, 0.0], [0.0, 3.0]
    assert angles(np.array([right, up, [-2, 0], [0, 0]]))[0] == pytest.approx([0, 0.5, 1, 0.5])
    assert same_or_not(np.array([4, 4, 1])).tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    table = np.array([[0.0, 0.3], [0.3, 0.0]])
    assert table_cost(table)(np.array([1, 0, 1])).tolist() == [[0, 0.3, 0], [0.3, 0, 0.3], [0, 0.3, 0]]


def test_triphones_of_an_utterance():
    labels = ["SIL", "B", "AA1", "T", "SIL", "AA0", "S", "K"]
    phones = [Span(label, 0.1 * i, 0.1 * (i + 1)) for i, label in enumerate(labels)]
    found = tokens_of(3, phones, 39, "x")
    assert [(t.context, t.phone) for t in found] == [(("B", "T"), "AA"), (("AA", "K"), "S")]
    first = found[0]
    centres = (np.arange(39) * 320 + 200) / 16000
    inside = np.flatnonzero((centres >= 0.1) & (centres < 0.4))
    assert (first.first, first.last) == (inside[0], inside[-1] + 1)
    assert (first.utterance, first.speaker) == (3, "x")
    assert found[1].last == 39  # the utterance ends within the last phone
    assert tokens_of(0, phones, 4, "x") == []  # nothing but the pause was encoded


def test_what_is_looked_at_is_bounded_and_does_not_depend_on_the_order():
    rng = np.random.default_rng(3)
    tokens = random_tokens(rng, speakers=4, contexts=5, most=9)
    groups = choose_groups(tokens, seed=0, per_cell=1, pairs=200)
    assert groups == choose_groups(tokens[::-1], seed=0, per_cell=1, pairs=200)
    assert groups != choose_groups(tokens, seed=1, per_cell=1, pairs=200)
    assert 0 < sum(len(g) * (len(g) - 1) // 2 for g in groups) <= 200
    for group in choose_groups(tokens, seed=0, per_cell=3):
        cells = [(t.speaker, t.phone) for t in group]
        assert max(map(cells.count, cells)) <= 3
        assert len({t.context for t in group}) == 1
    lonely = [Token(i, 0, 2, "P", ("L", "R"), "s") for i in range(4)]  # one middle phone: nothing to tell apart
    assert choose_groups(lonely, 0) == []
    assert errors([], lambda t: None, same_or_not) == {
        "within": None,
        "within_cells": 0,
        "across": None,
        "across_cells": 0,
    }


def test_pairs_in_blocks_are_the_same(monkeypatch):
    rng = np.random.default_rng(4)
    pieces = [rng.normal(size=(n, 4)) for n in rng.integers(1, 8, 12)]
    whole = distances(pieces, angles)
    monkeypatch.setattr(abx, "_CELLS", 100)
    assert (distances(pieces, angles) == whole).all()


def test_one_long_token_does_not_make_every_batch_small(monkeypatch):
    rng = np.random.default_rng(5)
    pieces = [rng.integers(0, 9, n) for n in [200, *rng.integers(1, 9, 60)]]
    real, seen = abx.warp, []
    monkeypatch.setattr(abx, "warp", lambda costs, *sizes: seen.append(costs.shape) or real(costs, *sizes))
    whole = distances(pieces, same_or_not)
    assert seen == [(1770, 8, 8), (60, 200, 8)]
    seen.clear()
    monkeypatch.setattr(abx, "_CELLS", 200 * 200)
    assert (distances(pieces, same_or_not) == whole).all()
    assert all(np.prod(shape) <= 200 * 200 for shape in seen)
    alone = sum(200 in shape for shape in seen)
    assert alone == 60  # the pairs with the long one, each as large as is allowed
    assert len(seen) - alone <= 4  # 1770 short ones of 64 frame distances at most, 113,280 in all
