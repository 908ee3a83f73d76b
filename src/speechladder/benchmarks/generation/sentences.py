"""Pairs of the world: minimal pairs of sentences for each phenomenon, and stories with two endings.

Every good sentence is held out from training (stories.held_out). Every bad one is tested to lie outside the grammar
(grammar.accepts). Within a phenomenon the two competing forms are good equally often, so their frequencies do not help.
"""

import random

from speechladder.benchmarks.generation.phenomena import PHENOMENA, Draw, Words
from speechladder.benchmarks.pairs import Pair
from speechladder.corpora.world import lexicon as lx
from speechladder.corpora.world.grammar import MAX_WORDS, MIN_WORDS, Scene, accepts, realise, repeats, scene
from speechladder.corpora.world.stories import held_out, story, written
from speechladder.io.errors import UserError


def minimal(good: str, bad: str) -> bool:
    """Whether two sentences differ in one word, or by a swap of two neighbouring words."""
    a, b = good.split(), bad.split()
    if len(a) != len(b):
        return False
    places = [i for i, (x, y) in enumerate(zip(a, b)) if x != y]
    if len(places) == 2 and places[1] == places[0] + 1:
        i, j = places
        return a[i] == b[j] and a[j] == b[i]
    return len(places) == 1


def _with_time(d: Draw, good: Words, bad: Words) -> tuple[str, str]:
    """The pair as sentences, sometimes with a phrase of time before or after, as in the corpus."""
    chance = d.rng.random()
    before = d("TIME") if chance < 0.15 else []
    after = d("TIME") if chance > 0.85 else []
    return realise([*before, *good, *after]), realise([*before, *bad, *after])


def sblimp_pairs(seed: int, n: int) -> list[Pair]:
    """`n` minimal pairs, spread evenly over PHENOMENA; the type of a pair is its phenomenon.

    Raises UserError if the world has fewer pairs.
    """
    pairs: list[Pair] = []
    used: set[str] = set()
    for index, phenomenon in enumerate(PHENOMENA):
        name = phenomenon.__name__
        rng = random.Random(f"sblimp/{seed}/{name}")
        count = n // len(PHENOMENA) + (index < n % len(PHENOMENA))
        turn = misses = 0
        while turn < count:
            if misses % 24 == 0:
                where = scene(rng)
            d = Draw(where, rng, turn)
            words = phenomenon(d)
            good, bad = _with_time(d, *words)
            fits = (
                MIN_WORDS <= len(good.split()) <= MAX_WORDS
                and held_out(good)
                and good not in used
                and not repeats(words[0])
                and minimal(good, bad)
                and accepts(good)
                and not accepts(bad)
            )
            misses = 0 if fits else misses + 1
            if misses > 20_000:
                raise UserError(
                    f"benchmarks.sblimp_pairs={n}: the world has only {turn} held-out pairs of {name}; lower it"
                )
            if fits:
                used.add(good)
                pairs.append(Pair(f"{name}-{turn:04d}", name, written([good]), written([bad])))
                turn += 1
    return pairs


def _told(rng: random.Random, topic: str, count: int) -> tuple[list[str], str, Scene]:
    """A held-out story of `count` sentences. Its last sentence repeats a noun of the topic."""
    own = {form for x in lx.TOPICS[topic].agents + lx.TOPICS[topic].things for form in x}
    while True:
        where = scene(rng, topic)
        *prefix, ending = story(where, count, rng, reserved=True)
        before = {w for s in prefix for w in s.split()}
        if own & where.cast & before & set(ending.split()):
            return prefix, ending, where


def topic_pairs(seed: int, n: int) -> list[Pair]:
    """`n` stories of 3 or 4 sentences with their own ending (good) and one of another topic (bad); type is the topic.

    Two stories of different topics exchange their endings, whose lengths differ by at most one word. Each ending is
    right once and wrong once, so the ending alone gives nothing away.
    """
    rng = random.Random(f"topic/{seed}")
    names = list(lx.TOPICS)
    pairs: list[Pair] = []
    used: set[str] = set()
    turn = 0
    while len(pairs) < n:
        first = names[turn % len(names)]
        second = rng.choice([name for name in names if name != first])
        count = rng.choice((4, 5))
        a = _told(rng, first, count)
        while True:
            b = _told(rng, second, count)
            if abs(len(a[1].split()) - len(b[1].split())) <= 1:
                break
        if {a[1], b[1]} & used or a[1] == b[1]:
            continue
        turn += 1
        used |= {a[1], b[1]}
        for (prefix, right, _), (_, wrong, _), topic in ((a, b, first), (b, a, second)):
            good, bad = written([*prefix, right]), written([*prefix, wrong])
            pairs.append(Pair(f"topic-{len(pairs):04d}", topic, good, bad))
    return pairs[:n]
