"""The world's grammar: one table of weighted rules, read by a sampler and by a recogniser.

A symbol is a nonterminal (a key of RULES), a lexical class ('agent.sg', see lexicon.vocabulary) or a word. The number
is part of a nonterminal's name ('AN.sg'), so agreement holds by construction. The recogniser `accepts` decides exactly
whether a sentence belongs to the language; the bad sentence of a minimal pair does not.
"""

import random
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

from speechladder.corpora.world import lexicon as lx

Rules = dict[str, list[tuple[float, tuple[str, ...]]]]
MIN_WORDS, MAX_WORDS = 4, 12
BORROWED = 0.2  # share of a story's content words that come from the related topic


def _finite(rules: Rules, name: str, classes: list[tuple[float, str]]) -> None:
    """Add the rules `name`.sg and `name`.pl: the present, which agrees, and the past of the verb classes."""
    for number, present in (("sg", "s"), ("pl", "b")):
        rules[f"{name}.{number}"] = [(0.72 * w, (f"{c}.{present}",)) for w, c in classes]
        rules[f"{name}.{number}"] += [(0.28 * w, (f"{c}.d",)) for w, c in classes]


def _rule(rules: Rules, name: str, *alternatives: tuple[float, str]) -> None:
    rules[name] = [(weight, tuple(body.split())) for weight, body in alternatives]


def _build() -> Rules:
    rules: Rules = {}
    _add_words(rules)
    for number in lx.NUMBERS:
        _add_noun_phrases(rules, number)
        _add_verb_phrases(rules, number)
    _add_sentences(rules)
    return rules


def _add_words(rules: Rules) -> None:
    """Add the rules that have no number."""
    for name, verb in (("TV", "vt"), ("SV", "social"), ("IV", "vi"), ("FV", "fall"), ("KV", "know")):
        _finite(rules, name, [(1.0, verb)])
    _rule(rules, "S", (0.76, "MAIN"), (0.12, "TIME MAIN"), (0.12, "MAIN TIME"))
    _rule(rules, "TIME", *((1.0, phrase) for phrase in lx.TIMES))
    _rule(rules, "PLACE", (0.6, "in the place"), (0.2, "near the place"), (0.2, "outside the place"))
    _rule(rules, "PREP", *((1.0, p) for p in lx.PREPOSITIONS))
    _rule(rules, "PP", (0.5, "PREP TN.sg"), (0.5, "PREP TN.pl"))
    _rule(rules, "MANNER", *((1.0, w) for w in lx.MANNER))
    _rule(rules, "DEGREE", *((1.0, w) for w in lx.DEGREE))
    _rule(rules, "OFTEN", *((1.0, w) for w in lx.FREQUENCY))
    _rule(rules, "PERFECT", *((3.0 if w in lx.FREQUENCY else 1.0, w) for w in lx.PERFECT))
    _rule(rules, "OBJT", (0.52, "TN.sg"), (0.48, "TN.pl"))
    _rule(rules, "OBJA", (0.36, "AN.sg"), (0.36, "AN.pl"), (0.12, "NAME"), (0.16, "ACC"))
    _rule(rules, "ACC", (0.5, "acc.sg"), (0.5, "them"))
    _rule(rules, "NAME", (0.5, "name.m"), (0.5, "name.f"))


def _add_noun_phrases(rules: Rules, n: str) -> None:
    """Add subjects and objects of a number, of agents (A) and things (T)."""
    _rule(rules, f"DET.{n}", *((float(w), d) for d, w in lx.DETERMINERS[n]))
    _rule(rules, f"AN.{n}", (0.8, f"DET.{n} agent.{n}"), (0.2, f"DET.{n} aadj agent.{n}"))
    _rule(rules, f"TN.{n}", (0.78, f"DET.{n} thing.{n}"), (0.22, f"DET.{n} tadj thing.{n}"))
    _rule(
        rules,
        f"RC.{n}",
        (0.25, f"who TV.{n} OBJT"),
        (0.25, f"who SV.{n} OBJA"),
        (0.25, "who AN.sg SV.sg"),
        (0.25, "who AN.pl SV.pl"),
    )
    _rule(rules, f"TRC.{n}", (0.4, "that AB.sg TV.sg"), (0.4, "that AB.pl TV.pl"))
    pronoun = "nom.sg" if n == "sg" else "they"
    others = ((0.16, "NAME"),) if n == "sg" else ()
    _rule(rules, f"AB.{n}", (0.72, f"AN.{n}"), (0.14, pronoun), *others)
    _rule(rules, f"AS.{n}", (0.64, f"AB.{n}"), (0.17, f"AN.{n} PP"), (0.19, f"AN.{n} RC.{n}"))
    _rule(rules, f"TS.{n}", (0.5, f"TN.{n}"), (0.26, f"TN.{n} PP"), (0.24, f"TN.{n} TRC.{n}"))


def _add_verb_phrases(rules: Rules, n: str) -> None:
    """Add predicates of a number, and sentences with 'ever' or a reflexive."""
    have = lx.HAVE[n]
    _rule(rules, f"BE.{n}", (0.7, lx.BE["pres", n]), (0.3, lx.BE["past", n]))
    _rule(rules, f"PERF.{n}", (0.35, f"{have}"), (0.65, f"{have} PERFECT"))
    _rule(
        rules,
        f"AVP.{n}",
        (0.26, f"TV.{n} OBJT"),
        (0.03, f"TV.{n} OBJT PLACE"),
        (0.035, f"OFTEN TV.{n} OBJT"),
        (0.025, f"OFTEN SV.{n} OBJA"),
        (0.02, f"OFTEN IV.{n} PLACE"),
        (0.11, f"SV.{n} OBJA"),
        (0.08, f"IV.{n} MANNER"),
        (0.1, f"IV.{n} PLACE"),
        (0.03, f"IV.{n}"),
        (0.05, f"BE.{n} aadj"),
        (0.03, f"BE.{n} DEGREE aadj"),
        (0.115, f"BE.{n} vt.g OBJT"),
        (0.045, f"BE.{n} social.g OBJA"),
        (0.07, f"BE.{n} vi.g PLACE"),
        (0.045, f"BE.{n} vi.g MANNER"),
        (0.085, f"PERF.{n} vt.n OBJT"),
        (0.02, f"PERF.{n} social.n OBJA"),
        (0.025, f"PERF.{n} vi.n"),
        (0.025, f"PERF.{n} vi.n PLACE"),
        (0.06, f"KV.{n} that EMB"),
        (0.05, f"KV.{n} what GAP"),
    )
    _rule(
        rules,
        f"TVP.{n}",
        (0.3, f"BE.{n} tadj"),
        (0.25, f"BE.{n} DEGREE tadj"),
        (0.2, f"BE.{n} PLACE"),
        (0.25, f"FV.{n} PLACE"),
        (0.12, f"FV.{n}"),
    )
    # the negative polarity item 'ever' occurs with 'no' alone
    _rule(
        rules,
        f"NPI.{n}",
        (0.5, f"no agent.{n} {have} ever vt.n OBJT"),
        (0.3, f"no agent.{n} {have} ever social.n OBJA"),
        (0.2, f"no agent.{n} {have} ever vi.n PLACE"),
    )
    reflexive = "refl.sg" if n == "sg" else "themselves"
    _rule(rules, f"REFL.{n}", (1.0, f"AN.{n} SV.{n} {reflexive}"))


def _add_sentences(rules: Rules) -> None:
    """Add main and embedded clauses."""
    main: list[tuple[float, str]] = []
    for n in lx.NUMBERS:
        main += [
            (0.36, f"AS.{n} AVP.{n}"),
            (0.095, f"TS.{n} TVP.{n}"),
            (0.011, f"NPI.{n}"),
            (0.025, f"REFL.{n}"),
        ]
    for g in lx.NAMES:
        nominative, reflexive = lx.NOMINATIVE[g], lx.REFLEXIVE[g]
        main += [(0.006, f"name.{g} SV.sg {reflexive}"), (0.003, f"{nominative} SV.sg {reflexive}")]
    main.append((0.006, "they SV.pl themselves"))
    _rule(rules, "MAIN", *main)
    clauses = [
        (w, f"AB.{n} {vp}")
        for n in lx.NUMBERS
        for w, vp in ((0.55, f"TV.{n} OBJT"), (0.25, f"IV.{n}"), (0.2, f"BE.{n} aadj"))
    ]
    _rule(rules, "EMB", *clauses)
    _rule(rules, "GAP", (0.5, "AB.sg TV.sg"), (0.5, "AB.pl TV.pl"))  # 'what' is the object


RULES = _build()
_CUMULATIVE = {
    name: (list(accumulate(w for w, _ in alternatives)), [body for _, body in alternatives])
    for name, alternatives in RULES.items()
}


@dataclass(frozen=True)
class Scene:
    """The subject of a document: a topic, and for each lexical class (cumulative weights, words).

    The words of the cast have the largest weights.
    """

    topic: str
    words: dict[str, tuple[list[float], list[str]]]
    cast: frozenset[str]

    def verb(self, name: str, rng: random.Random) -> lx.Verb:
        """Draw a verb, with all its forms, of the class `name` ('vt', 'vi', 'social', 'fall', 'know')."""
        verbs = _verb_lists(self.topic)[name]
        return rng.choices([v for _, v in verbs], [w for w, _ in verbs])[0]

    def word(self, name: str, rng: random.Random) -> str:
        """Draw a word of the class `name`."""
        cumulative, words = self.words[name]
        return words[bisect(cumulative, rng.random() * cumulative[-1])]


def _zipf(count: int) -> list[float]:
    return [1.0 / (rank + 3) ** 0.3 for rank in range(count)]


Weighted = list[tuple[float, Any]]


def _mix(own: Sequence[Any], shared: Sequence[Any], share: float, borrowed: Sequence[Any] = ()) -> Weighted:
    """Words with their weights: `share` of the own part goes to `shared`, and BORROWED of the whole to `borrowed`."""
    kept = 1 - BORROWED if borrowed else 1.0
    out: Weighted = []
    for words, part in ((own, kept * (1 - share)), (shared, kept * share), (borrowed, 1 - kept)):
        z = _zipf(len(words))
        out += [(part * w / sum(z), x) for w, x in zip(z, words)]
    return out


@cache
def _verb_lists(topic: str) -> dict[str, list[tuple[float, lx.Verb]]]:
    t, related = lx.TOPICS[topic], lx.TOPICS[lx.RELATED[topic]]
    return {
        "vt": _mix(t.vt, lx.HANDLE, 0.17, related.vt),
        "vi": _mix(t.vi, lx.MOVE, 0.15, related.vi),
        "social": _mix(lx.SOCIAL, (), 0.0),
        "fall": _mix(lx.FALL, (), 0.0),
        "know": _mix(lx.KNOW, (), 0.0),
    }


@cache
def _verb_classes(topic: str) -> dict[str, tuple[list[float], list[str]]]:
    return {
        f"{name}.{form}": (list(accumulate(w for w, _ in verbs)), [getattr(v, form) for _, v in verbs])
        for name, verbs in _verb_lists(topic).items()
        for form in lx.VERB_FORMS
    }


def scene(rng: random.Random, topic: str | None = None) -> Scene:
    """Draw a topic, unless one is given, and a cast: one agent and one thing in each number, names and places."""
    topic = topic or rng.choice(list(lx.TOPICS))
    t, related = lx.TOPICS[topic], lx.TOPICS[lx.RELATED[topic]]
    gender = rng.choice("mf")
    words = dict(_verb_classes(topic))
    cast = set()
    kept = 1 - BORROWED
    for name, own, shared, borrowed in (
        ("agent", t.agents, lx.AGENTS, related.agents),
        ("thing", t.things, lx.THINGS, related.things),
    ):
        z = _zipf(len(own))
        mains = rng.sample(range(len(own)), 2)
        for number, main in zip(lx.NUMBERS, mains):
            weights = [0.33 * kept * w / sum(z) for w in z] + [0.12 * kept / len(shared)] * len(shared)
            weights[main] += 0.55 * kept
            weights += [BORROWED / len(borrowed)] * len(borrowed)
            forms = [getattr(x, number) for x in own + shared + borrowed]
            words[f"{name}.{number}"] = (list(accumulate(weights)), forms)
            cast.add(forms[main])
    for name, own, shared, borrowed in (
        ("tadj", t.tadj, lx.THING_ADJECTIVES, related.tadj),
        ("aadj", t.aadj, lx.AGENT_ADJECTIVES, related.aadj),
    ):
        weights = [0.6 * kept / len(own)] * len(own) + [0.4 * kept / len(shared)] * len(shared)
        weights += [BORROWED / len(borrowed)] * len(borrowed)
        words[name] = (list(accumulate(weights)), [*own, *shared, *borrowed])
    places = [rng.choice(related.places) if rng.random() < BORROWED else place for place in rng.sample(t.places, 2)]
    words["place"] = ([0.7, 1.0], places)
    for g, names in lx.NAMES.items():
        words[f"name.{g}"] = ([1.0], [rng.choice(names)])
    for name, table in (("nom.sg", lx.NOMINATIVE), ("acc.sg", lx.ACCUSATIVE), ("refl.sg", lx.REFLEXIVE)):
        words[name] = ([0.85, 1.0], [table[gender], table["f" if gender == "m" else "m"]])
    return Scene(topic, words, frozenset(cast))


def expand(symbol: str, where: Scene, rng: random.Random, out: list[str]) -> list[str]:
    """Append the words of a random expansion of `symbol` to `out`. 'a' is not yet 'an' (see `realise`)."""
    found = _CUMULATIVE.get(symbol)
    if found is not None:
        cumulative, bodies = found
        for part in bodies[bisect(cumulative, rng.random() * cumulative[-1])]:
            expand(part, where, rng, out)
    elif symbol in where.words:
        out.append(where.word(symbol, rng))
    else:
        out.append(symbol)
    return out


def realise(words: list[str]) -> str:
    """The words as a sentence in lower case without a full stop, with 'an' before vowels."""
    return " ".join(
        "an" if w == "a" and i + 1 < len(words) and words[i + 1][0] in "aeiou" else w for i, w in enumerate(words)
    )


def sentence(where: Scene, rng: random.Random) -> str:
    """A sentence of MIN_WORDS to MAX_WORDS words about the scene `where`."""
    while True:
        words = expand("S", where, rng, [])
        if MIN_WORDS <= len(words) <= MAX_WORDS and not repeats(words):
            return realise(words)


@cache
def _lemmas() -> dict[str, str]:
    """The lemma of each noun, verb and adjective form; names of people are their own lemmas."""
    nouns = [x for t in lx.TOPICS.values() for x in t.agents + t.things] + [*lx.AGENTS, *lx.THINGS]
    verbs = [v for t in lx.TOPICS.values() for v in t.vt + t.vi]
    verbs += [*lx.SOCIAL, *lx.HANDLE, *lx.MOVE, *lx.FALL, *lx.KNOW]
    out = {form: x[0] for x in [*nouns, *verbs] for form in x}
    return {w: w for w in lx.content_words()} | out


def lemmas(words: Iterable[str]) -> set[str]:
    """The lemmas of the nouns, verbs, adjectives and names among the words."""
    known = _lemmas()
    return {known[w] for w in words if w in known}


def repeats(words: list[str]) -> bool:
    """Whether a lemma occurs twice: 'the jewels near the jewel' is grammatical, but nobody says it."""
    known = _lemmas()
    return len(lemmas(words)) < sum(w in known for w in words)


_CLASSES = lx.vocabulary() | {
    "nom.sg": frozenset({"he", "she"}),
    "acc.sg": frozenset({"him", "her"}),
    "refl.sg": frozenset({"himself", "herself"}),
}


def accepts(text: str) -> bool:
    """Whether the grammar generates `text`, a sentence in lower case without a full stop, whatever its length."""
    words = text.split()
    for i, w in enumerate(words[:-1]):
        if w in ("a", "an") and (w == "an") != (words[i + 1][0] in "aeiou"):
            return False
    words = ["a" if w == "an" else w for w in words]
    memo: dict[tuple[str, int], frozenset[int]] = {}

    def ends(symbol: str, start: int) -> frozenset[int]:
        """The positions at which an expansion of `symbol` from `start` can end. No rule is left-recursive."""
        key = (symbol, start)
        if key not in memo:
            if symbol in RULES:
                found: set[int] = set()
                for _, body in RULES[symbol]:
                    positions = {start}
                    for part in body:
                        positions = {e for p in positions for e in ends(part, p)}
                    found |= positions
                memo[key] = frozenset(found)
            else:
                fits = start < len(words) and (
                    words[start] in _CLASSES[symbol] if symbol in _CLASSES else words[start] == symbol
                )
                memo[key] = frozenset({start + 1}) if fits else frozenset()
        return memo[key]

    return len(words) in ends("S", 0)
