"""The world's words: four topics of nouns, verbs and adjectives, and the words that all topics share.

No form belongs to two parts of speech, except that a past can also be a participle. So the grammar alone decides
whether a sentence is grammatical, and no sentence can be read in two ways, as 'the cook cooks' could.
"""

from functools import cache
from typing import NamedTuple

VERB_FORMS = ("s", "b", "d", "n", "g")  # 3sg present, base (plural present), past, participle, -ing
NUMBERS = ("sg", "pl")


class Noun(NamedTuple):
    """A noun's singular and plural."""

    sg: str
    pl: str


class Verb(NamedTuple):
    """A verb's forms, named by the letters of VERB_FORMS."""

    s: str
    b: str
    d: str
    n: str
    g: str


class Topic(NamedTuple):
    """A topic's own words. Agents act and things are acted on; `vt` verbs take a thing, `vi` verbs take no object."""

    agents: tuple[Noun, ...]
    things: tuple[Noun, ...]
    places: tuple[str, ...]
    vt: tuple[Verb, ...]
    vi: tuple[Verb, ...]
    tadj: tuple[str, ...]  # adjectives of things
    aadj: tuple[str, ...]  # adjectives of agents


def noun(text: str) -> Noun:
    """A noun from 'fence' (regular plural) or 'goose/geese'."""
    sg, _, pl = text.partition("/")
    if not pl:
        if sg.endswith(("s", "x", "ch", "sh")):
            pl = sg + "es"
        elif sg.endswith("y") and sg[-2] not in "aeiou":
            pl = sg[:-1] + "ies"
        else:
            pl = sg + "s"
    return Noun(sg, pl)


def verb(text: str) -> Verb:
    """A verb from 'carry', 'stir+' (doubles its consonant) or 'hide/hid/hidden' (irregular past and participle)."""
    base, *irregular = text.split("/")
    stem = base.rstrip("+")
    if base.endswith("+"):
        base, stem = stem, stem + stem[-1]
    consonant_y = base.endswith("y") and base[-2] not in "aeiou"
    e = base.endswith("e")
    s = base[:-1] + "ies" if consonant_y else base + ("es" if base.endswith(("s", "x", "ch", "sh", "z")) else "s")
    past = base[:-1] + "ied" if consonant_y else base + "d" if e else stem + "ed"
    past, participle = (irregular * 2)[:2] if irregular else (past, past)
    return Verb(s, base, past, participle, (base[:-1] if e and not base.endswith("ee") else stem) + "ing")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _nouns(text: str) -> tuple[Noun, ...]:
    return tuple(noun(x) for x in text.split())


def _verbs(text: str) -> tuple[Verb, ...]:
    return tuple(verb(x) for x in text.split())


def _topic(*texts: str) -> Topic:
    """A topic from a text for each of its fields."""
    kinds = (_nouns, _nouns, _words, _verbs, _verbs, _words, _words)
    return Topic(*(kind(text) for kind, text in zip(kinds, texts, strict=True)))


TOPICS: dict[str, Topic] = {
    "farm": _topic(
        "farmer shepherd goose/geese widow neighbor",
        "fence barrel tractor potato/potatoes pumpkin wagon",
        "barn meadow",
        "gather drag+ bury",
        "yawn wander",
        "muddy ripe wooden",
        "stubborn lonely",
    ),
    "kitchen": _topic(
        "cook baker waiter butler maid",
        "spoon kettle pancake onion knife/knives sausage",
        "kitchen pantry",
        "stir+ slice taste",
        "sneeze giggle",
        "salty greasy delicious",
        "hungry clumsy",
    ),
    "sea": _topic(
        "sailor captain fisherman/fishermen pirate diver",
        "anchor boat net shell rope oyster",
        "harbor cabin",
        "throw/threw/thrown haul hoist",
        "swim+/swam/swum drown",
        "rusty slippery wet",
        "brave reckless",
    ),
    "railway": _topic(
        "driver passenger porter conductor tourist",
        "train ticket suitcase bus map engine",
        "station tunnel",
        "pack load check",
        "arrive travel",
        "crowded expensive fast",
        "nervous impatient",
    ),
}

# Topics that speak of each other: a story borrows words from the related topic, so the topic of a word is no certainty.
RELATED = {"farm": "kitchen", "kitchen": "farm", "sea": "railway", "railway": "sea"}

# Words that all topics share.
AGENTS = _nouns("man/men woman/women girl boy friend stranger")
THINGS = _nouns("box bag picture table letter coin")
SOCIAL = _verbs("like help see/saw/seen follow trust admire call thank")  # take an agent
HANDLE = _verbs("find/found lose/lost take/took/taken buy/bought")  # take a thing
MOVE = _verbs("smile wait walk")  # no object, of agents
FALL = _verbs("fall/fell/fallen disappear stand/stood")  # no object, of things
KNOW = _verbs("know/knew/known remember notice forget+/forgot/forgotten")  # take a clause
THING_ADJECTIVES = _words("old new small large heavy beautiful")
AGENT_ADJECTIVES = _words("young happy tired angry sad kind")
NAMES = {
    "f": _words("mary anna helen susan laura emma alice rachel"),
    "m": _words("peter david thomas henry martin robert daniel oliver"),
}
DETERMINERS = {
    "sg": (("the", 55), ("a", 18), ("this", 9), ("every", 7), ("each", 5), ("one", 6)),
    "pl": (("the", 48), ("these", 10), ("many", 9), ("all", 8), ("several", 7), ("two", 8), ("some", 8)),
}
NOMINATIVE = {"m": "he", "f": "she", "pl": "they"}
ACCUSATIVE = {"m": "him", "f": "her", "pl": "them"}
REFLEXIVE = {"m": "himself", "f": "herself", "pl": "themselves"}
BE = {("pres", "sg"): "is", ("pres", "pl"): "are", ("past", "sg"): "was", ("past", "pl"): "were"}
HAVE = {"sg": "has", "pl": "have"}
PREPOSITIONS = ("near", "behind", "beside")
MANNER = _words("quickly slowly quietly often again alone")
FREQUENCY = ("always", "never")  # before a finite verb
PERFECT = ("already", "just", "never", "always")  # between have and participle; 'ever' needs 'no'
DEGREE = ("very", "quite", "too")
TIMES = (
    "in the morning",
    "in the evening",
    "at night",
    "today",
    "on sunday",
    "in winter",
    "in summer",
    "after lunch",
    "before noon",
    "every day",
)


# In English these transitive verbs may drop their object, and these intransitive verbs may take one ('hums a melody').
# The world does neither, but no benchmark item depends on it.
DROPS_OBJECT = frozenset(
    _words(
        "play rehearse perform write pack load chew hide swallow taste sniff stir gather borrow steal bend build "
        "polish check lose prescribe"
    )
)
TAKES_OBJECT = frozenset(_words("hum whistle whisper walk drown wait"))


@cache
def vocabulary() -> dict[str, frozenset[str]]:
    """The forms of each lexical class over all topics: the terminals of the grammar ('agent.sg', 'vt.s', 'tadj')."""
    topics = TOPICS.values()
    inflected = {
        "agent": (NUMBERS, [*AGENTS, *(x for t in topics for x in t.agents)]),
        "thing": (NUMBERS, [*THINGS, *(x for t in topics for x in t.things)]),
        "vt": (VERB_FORMS, [*HANDLE, *(x for t in topics for x in t.vt)]),
        "vi": (VERB_FORMS, [*MOVE, *(x for t in topics for x in t.vi)]),
        "social": (VERB_FORMS, SOCIAL),
        "fall": (VERB_FORMS, FALL),
        "know": (VERB_FORMS, KNOW),
    }
    out = {
        f"{name}.{form}": [getattr(x, form) for x in own] for name, (all_, own) in inflected.items() for form in all_
    }
    out["place"] = [x for t in topics for x in t.places]
    out["tadj"] = [*THING_ADJECTIVES, *(x for t in topics for x in t.tadj)]
    out["aadj"] = [*AGENT_ADJECTIVES, *(x for t in topics for x in t.aadj)]
    out |= {f"name.{gender}": names for gender, names in NAMES.items()}
    return {name: frozenset(forms) for name, forms in out.items()}


@cache
def content_words() -> tuple[str, ...]:
    """Every noun, verb, adjective and name form that the grammar can produce, sorted."""
    unused = {"know.n", "know.g", "fall.n", "fall.g"}  # the grammar uses neither perfect nor progressive of these
    return tuple(sorted({w for name, forms in vocabulary().items() if name not in unused for w in forms}))


@cache
def lexicon_words() -> list[str]:
    """Every word form of the world, sorted."""
    words = set(content_words()) | {w for ds in DETERMINERS.values() for w, _ in ds}
    words |= {w for table in (NOMINATIVE, ACCUSATIVE, REFLEXIVE, BE, HAVE) for w in table.values()}
    words |= {*PREPOSITIONS, *MANNER, *PERFECT, *DEGREE}
    words |= {w for phrase in TIMES for w in phrase.split()}
    words |= {"an", "no", "ever", "that", "what", "who", "in", "outside"}
    return sorted(words)
