"""Documents of the world: stories that keep to one topic and one cast, and the sentences held out for benchmarks."""

import hashlib
import random
from dataclasses import dataclass, replace

from speechladder.corpora.world import lexicon as lx
from speechladder.corpora.world.grammar import Scene, scene, sentence

HELD_OUT = 12  # one sentence in this many is reserved for the benchmarks
_PRONOUNS = {*lx.NOMINATIVE.values(), *lx.ACCUSATIVE.values()}
_NAMES = {name for names in lx.NAMES.values() for name in names} | {"sunday"}


@dataclass(frozen=True)
class Document:
    """A text on one topic; `sentences` are in lower case without full stops."""

    id: str
    topic: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text as it is spoken: with capitals, and with full stops, at which the synthesizer pauses."""
        return written(self.sentences)


def written(sentences: tuple[str, ...] | list[str]) -> str:
    """Sentences as running text: 'The farmer sleeps. Mary waits.'"""
    out = []
    for text in sentences:
        words = [w.capitalize() if w in _NAMES else w for w in text.split()]
        words[0] = words[0].capitalize()
        out.append(" ".join(words) + ".")
    return " ".join(out)


def held_out(text: str) -> bool:
    """Whether a sentence is reserved for benchmarks: a stable hash of its words, about 1 in HELD_OUT.

    Capitals and full stops do not matter.
    """
    key = " ".join(text.lower().replace(".", " ").split())
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT == 0


def story(where: Scene, count: int, rng: random.Random, reserved: bool = False) -> list[str]:
    """`count` different sentences about a scene: all of them held out if `reserved`, otherwise none."""
    out: list[str] = []
    while len(out) < count:
        text = sentence(where, rng)
        if held_out(text) != reserved or text in out:
            continue
        # A pronoun in the first sentence has nobody to refer to. A fifth of these are kept, so that short utterances
        # have pronouns too.
        if not out and not _PRONOUNS.isdisjoint(text.split()) and rng.random() < 0.8:
            continue
        out.append(text)
    return out


def document(rng: random.Random) -> Document:
    """A training document of four to six sentences, or in one case of five of one or two. None is held out."""
    where = scene(rng)
    count = rng.choice((1, 1, 2)) if rng.random() < 0.2 else rng.choice((4, 5, 5, 6))
    return Document("", where.topic, tuple(story(where, count, rng)))


def documents(seed: int, words: int) -> list[Document]:
    """Documents of at least `words` words together, with ids. The same arguments give the same documents."""
    rng = random.Random(f"world/{seed}")
    out: list[Document] = []
    total = 0
    while total < words:
        doc = document(rng)
        out.append(replace(doc, id=f"w{len(out):06d}"))
        total += sum(len(s.split()) for s in doc.sentences)
    return out
