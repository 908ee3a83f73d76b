"""From phones to words without speech and ASR: the words with the nearest pronunciations, by a beam search over a trie.

It is a diagnostic beside the transcripts: its errors come from the model or from homophones, never from the synthesis
or the ASR.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from speechladder.corpora.phones import ARPABET, SIL, is_vowel, strip_stress
from speechladder.io.errors import UserError
from speechladder.io.spans import Span
from speechladder.rungs.functions import BOUNDARY

# Costs, relative to the substitution of an unlike consonant; chosen by hand.
CLOSE, LIKE, UNLIKE = 0.4, 0.7, 1.0  # substitution within a near pair, within a class, otherwise
CROSSED = 1.5  # a vowel for a consonant
GAP, WEAK_GAP = 1.0, 0.6  # insertion or deletion of a phone; of AH, IH, R or HH, which are often reduced
PAUSE_INSIDE, BOUNDARY_INSIDE = 1.0, 2.0  # a pause or a word boundary within a word
WORD = 0.05  # per word, which prefers the one with fewer words of two equal readings
TABLE = 0.12  # per nat of a word's negative log probability
BIGRAM = 0.7  # weight of the bigram estimate; the unigram's is 1 - BIGRAM

_NEAR = (
    *("AA AO", "AA AH", "AE EH", "AE AA", "AH IH", "AH UH", "AH ER", "AH EH", "EH IH", "EH EY", "IH IY", "UH UW"),
    *("AO OW", "AO OY", "AA AW", "AW OW", "AA AY", "AH OW", "AH AE", "P B", "T D", "K G", "F V", "TH DH", "S Z"),
    *("SH ZH", "CH JH", "SH CH", "ZH JH", "M N", "N NG", "TH F", "DH V", "L W", "ER R", "IY Y", "UW W", "AO R"),
)
_CLASSES = ("P B T D K G", "F V TH DH S Z SH ZH HH CH JH", "M N NG", "L R W Y")


def _substitutions() -> dict[str, dict[str, float]]:
    near = {frozenset(pair.split()) for pair in _NEAR}
    manner = {phone: name for name in _CLASSES for phone in name.split()}

    def cost(a: str, b: str) -> float:
        if a == b:
            return 0.0
        if frozenset((a, b)) in near:
            return CLOSE
        if is_vowel(a) != is_vowel(b):
            return CROSSED
        return LIKE if is_vowel(a) or manner[a] == manner[b] else UNLIKE

    return {a: {b: cost(a, b) for b in ARPABET} for a in ARPABET}


SUBSTITUTION = _substitutions()
GAPS = {phone: WEAK_GAP if phone in ("AH", "IH", "R", "HH") else GAP for phone in ARPABET}


def observed_pronunciations(
    alignments: Iterable[tuple[Sequence[Span], Sequence[Span]]], least: int = 2
) -> dict[str, list[tuple]]:
    """Return the pronunciations of the words of a corpus, without stress, the most frequent first.

    `alignments` are the words and phones of each utterance, in seconds. A pronunciation that occurs fewer than `least`
    times is left out, unless the word has no other.
    """
    seen: dict[str, Counter[tuple]] = defaultdict(Counter)
    for words, phones in alignments:
        spoken = [((p.start + p.end) / 2, strip_stress(p.label)) for p in phones if p.label != SIL]
        k = 0
        for word in words:
            first = k
            while k < len(spoken) and spoken[k][0] < word.end:
                k += 1
            if k > first:
                seen[word.label][tuple(label for _, label in spoken[first:k])] += 1
    out = {}
    for word in sorted(seen):
        ordered = sorted(seen[word], key=lambda p: (-seen[word][p], p))
        out[word] = [p for p in ordered if seen[word][p] >= least] or ordered[:1]
    return out


class Lexicon:
    """Words by their pronunciations, in a trie. Use `from_words` to make one."""

    def __init__(self, pronunciations: dict[str, list[tuple]], texts: Iterable[str] = (), beam: int = 100) -> None:
        """Build the trie of `pronunciations`: word -> tuples of ARPAbet phones without stress.

        `texts` are normalised lines, whose unigrams and bigrams choose between homophones and segmentations. `beam` is
        the number of states that are kept at each phone.
        """
        self.beam = beam
        self._children: list[dict[str, int]] = [{}]
        self._ends: list[list[str]] = [[]]
        for word in sorted(pronunciations):
            for phones in dict.fromkeys(pronunciations[word]):
                self._add(word, phones)
        self._words = max(1, len(pronunciations))
        self._unigrams: Counter[str] = Counter()
        self._bigrams: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = text.split()
            self._unigrams.update(words)
            for before, word in pairwise(["", *words]):
                self._bigrams[before][word] += 1
        self._total = self._unigrams.total()
        self._costs: dict[tuple[str, str], float] = {}

    @classmethod
    def from_words(
        cls,
        words: Iterable[str],
        pronounce: Callable[[str], list[str]],
        pronunciations: dict[str, list[tuple]] | None = None,
        texts: Iterable[str] = (),
    ) -> "Lexicon":
        """Make a lexicon of `words` with the pronunciation of `pronounce` (ARPAbet, with or without stress).

        The corpus's own `pronunciations` are added; they may have further words. For `texts` see `Lexicon`. Raise
        UserError if the lexicon is empty or a pronunciation is not ARPAbet.
        """
        table: dict[str, list[tuple]] = {w: list(p) for w, p in (pronunciations or {}).items()}
        for word in dict.fromkeys(words):
            table.setdefault(word, []).append(tuple(strip_stress(p) for p in pronounce(word)))
        if not table:
            raise UserError("the lexicon has no words, because the corpus's train split is empty; raise corpus.hours")
        return cls(table, texts)

    def _add(self, word: str, phones: tuple) -> None:
        if not phones or not set(phones) <= set(ARPABET):
            raise UserError(f"lexicon: '{word}' has the pronunciation {' '.join(phones)!r}, which is not ARPAbet")
        node = 0
        for phone in phones:
            if phone not in self._children[node]:
                self._children[node][phone] = len(self._children)
                self._children.append({})
                self._ends.append([])
            node = self._children[node][phone]
        if word not in self._ends[node]:
            self._ends[node].append(word)

    def _word_cost(self, before: str, word: str) -> float:
        """`WORD`, plus the cost of the word's probability after `before` if there are texts."""
        if not self._total:
            return WORD
        cost = self._costs.get((before, word))
        if cost is None:
            p = (self._unigrams[word] + 0.5) / (self._total + 0.5 * self._words)
            if followers := self._bigrams.get(before):
                p = BIGRAM * followers[word] / followers.total() + (1 - BIGRAM) * p
            cost = self._costs[before, word] = WORD - TABLE * math.log(p)
        return cost

    def words(self, phones: list[str]) -> str:
        """Return the words, separated by spaces, of ARPAbet phones with or without stress; "" for none.

        SIL and '|' separate words; within a word they have a cost. Raise ValueError for a symbol that is not a phone.
        """
        labels = [strip_stress(p) for p in phones]
        if unknown := sorted(set(labels) - {*ARPABET, SIL, BOUNDARY}):
            raise ValueError(f"no ARPAbet phones: {unknown}")
        if all(label in (SIL, BOUNDARY) for label in labels):
            return ""
        # a state is (node, previous word), its value (cost, linked list of the words so far)
        states: dict[tuple[int, str], tuple[float, tuple]] = {(0, ""): (0.0, ())}
        for label in labels:
            states = self._consume(self._closure(states, self.beam), label)
        final = self._closure(states, None)
        history = min((value for (node, _), value in final.items() if node == 0), key=lambda value: value[0])[1]
        out = []
        while history:
            history, word = history
            out.append(word)
        return " ".join(reversed(out))

    def _closure(self, states: dict, limit: int | None) -> dict:
        """The `limit` cheapest states that can be reached without an input phone, by word ends and deleted phones.

        Without a limit, the search ends with the first state between words.
        """
        heap = [(cost, n, key, history) for n, (key, (cost, history)) in enumerate(states.items())]
        heapq.heapify(heap)
        count, best, done = len(heap), {key: cost for key, (cost, _) in states.items()}, {}

        def push(cost: float, key: tuple[int, str], history: tuple) -> None:
            nonlocal count
            if cost < best.get(key, math.inf):
                best[key] = cost
                heapq.heappush(heap, (cost, count, key, history))
                count += 1

        while heap and (limit is None or len(done) < limit):
            cost, _, key, history = heapq.heappop(heap)
            if key in done:
                continue
            done[key] = (cost, history)
            node, before = key
            if limit is None and node == 0:
                break
            for word in self._ends[node]:
                push(cost + self._word_cost(before, word), (0, word if self._total else ""), (history, word))
            for phone, child in self._children[node].items():
                push(cost + GAPS[phone], (child, before), history)
        return done

    def _consume(self, states: dict, label: str) -> dict:
        """The states after an input symbol, which is matched, substituted or inserted."""
        out: dict[tuple[int, str], tuple[float, tuple]] = {}

        def put(cost: float, key: tuple[int, str], history: tuple) -> None:
            if key not in out or cost < out[key][0]:
                out[key] = (cost, history)

        if label in (SIL, BOUNDARY):
            inside = PAUSE_INSIDE if label == SIL else BOUNDARY_INSIDE
            for key, (cost, history) in states.items():
                put(cost + (inside if key[0] else 0.0), key, history)
            return out
        substitution = SUBSTITUTION[label]
        for key, (cost, history) in states.items():
            put(cost + GAPS[label], key, history)
            for phone, child in self._children[key[0]].items():
                put(cost + substitution[phone], (child, key[1]), history)
        return out
