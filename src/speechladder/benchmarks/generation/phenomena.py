"""The phenomena of the world's minimal pairs. Each function draws a good and a bad list of words.

Number and direction cycle over the items of a phenomenon, so each of two competing forms is the good one equally often.
"""

import random
from collections.abc import Callable

from speechladder.corpora.world import lexicon as lx
from speechladder.corpora.world.grammar import Scene, expand

Words = list[str]
OTHER = {"sg": "pl", "pl": "sg"}
PRESENT = {"sg": "s", "pl": "b"}


class Draw:
    """Draws words in one scene. `number`, `flip` and `second` cycle over the items, which balances them."""

    def __init__(self, where: Scene, rng: random.Random, turn: int) -> None:
        self.where, self.rng = where, rng
        self.number = lx.NUMBERS[turn % 2]
        self.flip = bool(turn // 2 % 2)
        self.second = bool(turn // 4 % 2)

    def __call__(self, text: str) -> Words:
        """Expand the symbols of `text`."""
        out: Words = []
        for symbol in text.split():
            expand(symbol, self.where, self.rng, out)
        return out

    def one(self, *texts: str) -> Words:
        """Expand one of these texts."""
        return self(self.rng.choice(texts))

    def verb(self, name: str, without: frozenset[str] = frozenset()) -> lx.Verb:
        """A verb of a class whose base is not in `without`."""
        while True:
            found = self.where.verb(name, self.rng)
            if found.b not in without:
                return found

    def predicate(self, manner: bool = True) -> tuple[lx.Verb, Words]:
        """A verb for an agent and what follows it."""
        kind = self.rng.choices(("vt", "social", "vi"), (5, 3, 3))[0]
        alone = self.one("PLACE", "MANNER") if manner else self("PLACE")
        rest = {"vt": self("OBJT"), "social": self("OBJA"), "vi": alone}[kind]
        return self.verb(kind), rest


def _inflected(d: Draw, subject: Words, thing: bool) -> tuple[Words, Words]:
    """A subject of number d.number with a verb or a copula that agrees (good) or does not agree (bad)."""
    good, bad = d.number, OTHER[d.number]
    if d.rng.random() < 0.3:
        tense = d.rng.choice(("pres", "past"))
        rest = d.one("tadj", "DEGREE tadj", "PLACE") if thing else d.one("aadj", "DEGREE aadj")
        return [*subject, lx.BE[tense, good], *rest], [*subject, lx.BE[tense, bad], *rest]
    verb, rest = (d.verb("fall"), d("PLACE")) if thing else d.predicate()
    forms = [getattr(verb, PRESENT[n]) for n in (good, bad)]
    return [*subject, forms[0], *rest], [*subject, forms[1], *rest]


def agreement(d: Draw) -> tuple[Words, Words]:
    """The farmers gather / *gathers the potatoes."""
    subject = d(f"AN.{d.number}")
    verb, rest = d.predicate()
    good, bad = (getattr(verb, PRESENT[n]) for n in (d.number, OTHER[d.number]))
    return [*subject, good, *rest], [*subject, bad, *rest]


def agreement_attractor(d: Draw) -> tuple[Words, Words]:
    """The sailor behind the nets hauls / *haul an anchor."""
    thing = d.flip
    subject = d(f"{'TN' if thing else 'AN'}.{d.number} PREP TN.{OTHER[d.number]}")
    return _inflected(d, subject, thing)


def agreement_relative(d: Draw) -> tuple[Words, Words]:
    """The cooks who the waiter likes taste / *tastes the sausage."""
    n, m = d.number, OTHER[d.number]
    if d.flip and d.rng.random() < 0.5:
        return _inflected(d, d(f"TN.{n} that AN.{m} TV.{m}"), True)
    clause = f"AN.{n} who AN.{m} SV.{m}" if d.flip else f"AN.{n} who TV.{n} TN.{m}"
    return _inflected(d, d(clause), False)


def copula(d: Draw) -> tuple[Words, Words]:
    """The old knives are / *is sharp."""
    good, bad = d.number, OTHER[d.number]
    subject, rest = d.rng.choice(
        (
            (f"TN.{good}", d.one("tadj", "DEGREE tadj", "PLACE")),
            (f"AN.{good}", d.one("aadj", "DEGREE aadj", "vt.g OBJT", "vi.g PLACE", "social.g OBJA")),
        )
    )
    subject = d(subject)
    tense = d.rng.choice(("pres", "pres", "past"))
    return [*subject, lx.BE[tense, good], *rest], [*subject, lx.BE[tense, bad], *rest]


def determiner_noun(d: Draw) -> tuple[Words, Words]:
    """The driver checked these tickets / *ticket; this / *these ticket."""
    good, bad = d.number, OTHER[d.number]
    subject, verb = d.one("AN.sg", "AN.pl", "NAME"), d.verb("vt").d
    index = d.rng.randrange(10_000)
    determiner = {n: [w for w, _ in lx.DETERMINERS[n] if w != "the"] for n in lx.NUMBERS}
    noun = d(f"thing.{good}")[0]
    lemma = next(x for t in [*lx.TOPICS.values()] for x in t.things + lx.THINGS if noun in x)
    right = determiner[good][index % len(determiner[good])]
    head, tail = [*subject, verb], d("PLACE") if d.rng.random() < 0.4 else []
    if d.flip:  # the determiner changes, not the noun
        wrong = determiner[bad][index % len(determiner[bad])]
        return [*head, right, noun, *tail], [*head, wrong, noun, *tail]
    return [*head, right, noun, *tail], [*head, right, getattr(lemma, bad), *tail]


def reflexive_number(d: Draw) -> tuple[Words, Words]:
    """The nurses trust themselves / *herself."""
    subject, verb = d(f"AN.{d.number} SV.{d.number}"), d("refl.sg")
    pair = (verb, ["themselves"])
    good, bad = pair if d.number == "sg" else pair[::-1]
    return subject + good, subject + bad


def npi_licensing(d: Draw) -> tuple[Words, Words]:
    """No / *the knight has ever stolen a crown; the knight has never / *ever stolen a crown."""
    n = d.number
    agent, have = d(f"agent.{n}"), lx.HAVE[n]
    rest = d.one("vt.n OBJT", "social.n OBJA", "vi.n PLACE")
    determiner = d.rng.choice([w for w, _ in lx.DETERMINERS[n]])
    if d.flip:
        adverb = d.rng.choice(lx.FREQUENCY)  # about as frequent as "ever" and "no"
        head = [determiner, *agent, have]
        return [*head, adverb, *rest], [*head, "ever", *rest]
    return ["no", *agent, have, "ever", *rest], [determiner, *agent, have, "ever", *rest]


def pronoun_case(d: Draw) -> tuple[Words, Words]:
    """She / *her wears the crown; the queen calls him / *he."""
    who = "pl" if d.number == "pl" else d.rng.choice("mf")
    good, bad = (lx.ACCUSATIVE, lx.NOMINATIVE) if d.flip else (lx.NOMINATIVE, lx.ACCUSATIVE)
    if d.flip:
        head, tail = d.one("AN.sg SV.sg", "AN.pl SV.pl", "NAME SV.sg"), []
    else:
        verb, tail = d.predicate()
        head, tail = [], [d.rng.choice((getattr(verb, PRESENT[d.number]), verb.d)), *tail]
    return [*head, good[who], *tail], [*head, bad[who], *tail]


def auxiliary(d: Draw) -> tuple[Words, Words]:
    """The pupil has written / *writing a poem; the pupil is / *has writing a poem."""
    n = d.number
    subject = d(f"AB.{n}")
    verb, rest = d.predicate(manner=False)
    have, be = lx.HAVE[n], lx.BE["pres", n]
    good = (have, verb.n) if d.flip else (be, verb.g)
    wrong_verb, wrong_auxiliary = (good[0], verb.g if d.flip else verb.n), (be if d.flip else have, good[1])
    bad = wrong_verb if d.second else wrong_auxiliary
    return [*subject, *good, *rest], [*subject, *bad, *rest]


def argument_structure(d: Draw) -> tuple[Words, Words]:
    """The diver hauls / *drowns the net; the diver sleeps / *hauls in the cabin."""
    n = d.number
    form = d.rng.choice((PRESENT[n], "d"))
    transitive = getattr(d.verb("vt", lx.DROPS_OBJECT), form)
    intransitive = getattr(d.verb("vi", lx.TAKES_OBJECT), form)
    subject = d(f"AB.{n}")
    if d.flip:
        rest = d.one("PLACE", "MANNER")
        return [*subject, intransitive, *rest], [*subject, transitive, *rest]
    rest = d("OBJT")
    return [*subject, transitive, *rest], [*subject, intransitive, *rest]


def filler_gap(d: Draw) -> tuple[Words, Words]:
    """Mary knows what / *that the plumber repairs; Mary knows that / *what the plumber repairs the pipe."""
    n = d.number
    head = d.one("AN.sg KV.sg", "AN.pl KV.pl", "NAME KV.sg")
    form = d.rng.choice((PRESENT[n], "d"))
    clause = [*d(f"AB.{n}"), getattr(d.verb("vt", lx.DROPS_OBJECT), form)]
    if d.flip:
        clause += d("OBJT")
        return [*head, "that", *clause], [*head, "what", *clause]
    return [*head, "what", *clause], [*head, "that", *clause]


def adjective_order(d: Draw) -> tuple[Words, Words]:
    """The mechanic found a rusty pipe / *pipe rusty: the same words in another order."""
    n = d.number
    determiner = d(f"DET.{n}")
    if d.flip:
        noun, adjective = d(f"thing.{n}"), d("tadj")
        head, tail = d.one("AN.sg TV.sg", "AN.pl TV.pl", "NAME TV.sg"), []
    else:
        noun, adjective = d(f"agent.{n}"), d("aadj")
        verb, rest = d.predicate()
        head, tail = [], [d.rng.choice((getattr(verb, PRESENT[n]), verb.d)), *rest]
    good = [*head, *determiner, *adjective, *noun, *tail]
    return good, [*head, *determiner, *noun, *adjective, *tail]


PHENOMENA: tuple[Callable[[Draw], tuple[Words, Words]], ...] = (
    agreement,
    agreement_attractor,
    agreement_relative,
    copula,
    determiner_noun,
    reflexive_number,
    npi_licensing,
    pronoun_case,
    auxiliary,
    argument_structure,
    filler_gap,
    adjective_order,
)
