"""Pairs of the world: minimal pairs of sentences for each phenomenon, and stories with two endings.

Every good sentence is held out from training (stories.held_out). Every bad one is tested to lie outside the grammar
(grammar.accepts). Within a phenomenon the two competing forms are good equally often, so their frequencies do not help.
"""

import random

from speechladder.benchmarks.generation.phenomena import PHENOMENA, Draw, Words
from speechladder.benchmarks.pairs import Pair
from speechladder.corpora.world import lexicon as lx
from speechladder.corpora.world.grammar import (
    MAX_WORDS,
    MIN_WORDS,
    Scene,
    accepts,
    lemmas,
    realise,
    repeats,
    scene,
    sentence,
)
from speechladder.corpora.world.stories import held_out, story, written
from speechladder.io.errors import UserError

REPEATED, UNREPEATED = "repeated", "unrepeated"  # the types of stories: whether the right ending repeats a lemma
MISSES = 2_000  # twos that are tried in a row before the world is taken to have no more
ENDINGS = 200  # endings that are drawn for a story before another story is told


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


def _ending(where: Scene, before: set[str], avoid: set[str] | None, rng: random.Random) -> str | None:
    """A held-out sentence with a noun of the scene's topic, or None if few draws find none.

    With `avoid` it has none of these lemmas. Without, one of its topic's nouns is a lemma of `before`.
    """
    topic = lx.TOPICS[where.topic]
    own = lemmas(form for noun in topic.agents + topic.things for form in noun)
    for _ in range(ENDINGS):
        text = sentence(where, rng)
        found = lemmas(text.split())
        fits = own & found if avoid is not None else own & found & before
        if held_out(text) and fits and not found & (avoid or set()):
            return text
    return None


def _two(rng: random.Random, topics: tuple[str, str], count: int, repeated: bool) -> list[tuple[list[str], str]] | None:
    """Two stories of `count` sentences before their endings, or None if these stories have no endings that fit."""
    scenes = [scene(rng, topic) for topic in topics]
    prefixes = [story(where, count, rng, reserved=True) for where in scenes]
    before = [lemmas(w for s in prefix for w in s.split()) for prefix in prefixes]
    avoid = None if repeated else before[0] | before[1]
    first = _ending(scenes[0], before[0], avoid, rng)
    for _ in range(ENDINGS if first else 0):
        second = _ending(scenes[1], before[1], avoid, rng)
        if second and second != first and abs(len(first.split()) - len(second.split())) <= 1:
            told = list(zip(prefixes, (first, second)))
            return told if all(ending not in prefix for prefix, ending in told) else None
    return None


def topic_pairs(seed: int, n: int) -> list[Pair]:
    """`n` stories of 3 or 4 sentences with their own ending (good) and one of another topic (bad), in crossed twos.

    The two stories of a two are of different topics and exchange their endings, whose lengths differ by at most one
    word. Each ending is right once and wrong once, so the ending alone gives nothing away. Every ending has a noun of
    its topic. In every other two ("repeated") each right ending repeats such a noun of its own story. In the others
    ("unrepeated") neither ending shares a noun, verb, adjective or name with either story, so the topic alone decides.
    Raises UserError if the world has fewer, and ValueError if `n` is odd.
    """
    if n % 2:
        raise ValueError(f"{n} pairs are not whole twos")
    rng = random.Random(f"topic/{seed}")
    names = list(lx.TOPICS)
    pairs: list[Pair] = []
    used: set[str] = set()
    misses = 0
    while len(pairs) < n:
        turn = len(pairs) // 2
        # every other two is repeated, and the topics change when both kinds have had their turn
        topics = names[turn // 2 % len(names)], rng.choice(names)
        kind = UNREPEATED if turn % 2 else REPEATED
        told = _two(rng, topics, rng.choice((3, 4)), kind == REPEATED) if topics[0] != topics[1] else None
        if told is None or used & {ending for _, ending in told}:
            misses += 1
            if misses > MISSES:
                raise UserError(f"benchmarks.topic_pairs={n}: the world has only {len(pairs)} such stories; lower it")
            continue
        misses = 0
        used |= {ending for _, ending in told}
        (_, first), (_, second) = told
        for (prefix, right), wrong, topic in zip(told, (second, first), topics):
            good, bad = written([*prefix, right]), written([*prefix, wrong])
            pairs.append(Pair(f"{topic}-{len(pairs):04d}", kind, good, bad, two=f"two-{turn:04d}"))
    return pairs
