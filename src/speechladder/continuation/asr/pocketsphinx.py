"""PocketSphinx with what the run knows of its corpus: its trigrams, its words as they are said, its voices."""

from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.pocketsphinx import DITHER, PADDING, bundled_dictionary
from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.asr.adapt import adapt
from speechladder.continuation.asr.text import english_normaliser
from speechladder.continuation.lexicon import observed
from speechladder.continuation.sample import rows_of, train_sample
from speechladder.corpora.cuts import Cut
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.corpora.speak import pronounce
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress, say
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT

MINUTES = 30.0  # of speech that the acoustic model is adapted to, at most
MAX_WORDS = 2_000_000  # of text in the language model, at most: it is made in memory
VARIANTS = 4  # pronunciations of a word, at most
# weight of the language model in the first two passes: the adapted model's best on the world's valid utterances
WEIGHTS = {"lw": 9.0, "fwdflatlw": 9.0}
FILES = ("lm.arpa", "words.dict", "asr.json")
ADAPTED = {"mean": "means", "var": "variances"}  # PocketSphinx's names and the files'


def build(
    cuts: Sequence[str | Path], alignments: Sequence[str | Path], out: str | Path, corpus: str, minutes: float = MINUTES
) -> None:
    """Write the folder continuation/asr from the train split of `cuts`: lm.arpa, words.dict, means, variances.

    `alignments` are the tables of the same cuts: they say how each word is pronounced, and which phone each frame is
    of, by which the acoustic model is adapted to at most `minutes` of speech. Without them words are as espeak-ng
    (`corpus` world) or PocketSphinx's dictionary has them and the acoustic model is the bundled one. `corpus`: world
    or local. Raises UserError when there is no text to learn from.
    """
    train = [cut for cut in train_sample(cuts, "asr") if cut.text]
    if not train:
        raise UserError(f"{', '.join(map(str, cuts))}: no text in the train split, so there are no words to hear")
    rows = rows_of(alignments, ALIGNMENT, [cut.id for cut in train])
    aligned = [cut for cut in train if cut.id in rows]
    texts = _texts(train)
    said = observed((from_rows(rows[c.id]["words"]), from_rows(rows[c.id]["phones"])) for c in aligned)
    with atomic_folder(out) as folder:
        _write_trigrams(texts, folder / "lm.arpa")
        words = sorted({word for text in texts for word in text.split()})
        entries = {word: _pronunciations(word, said.get(word, []), corpus) for word in words}
        _write_dictionary(entries, folder / "words.dict")
        chosen = _some(aligned, minutes * 60)
        frames = 0
        if chosen:
            with progress("adapt asr", sum(c.duration for c in chosen), "x real time") as meter:
                speech = _speech(chosen, rows, meter)
                frames = adapt(speech, folder / ADAPTED["mean"], folder / ADAPTED["var"])
        about = {"corpus": corpus, "utterances": len(texts), "words": len(words), "adapted_seconds": frames / 100}
        write_json(folder / "asr.json", about)


def _texts(train: list[Cut]) -> list[str]:
    """Each utterance's text, up to MAX_WORDS words of a sample of them, in their order."""
    chosen, words = [], 0
    for cut in sorted(train, key=lambda cut: stable_hash("asr text", cut.id)):
        words += len(cut.text.split())
        if chosen and words > MAX_WORDS:
            say(f"asr: the language model learns from {len(chosen)} of {len(train)} texts, {MAX_WORDS:,} words")
            break
        chosen.append(cut)
    kept = {cut.id for cut in chosen}
    return [cut.text for cut in train if cut.id in kept]


def _some(cuts: list[Cut], seconds: float) -> list[Cut]:
    chosen, total = [], 0.0
    for cut in sorted(cuts, key=lambda cut: stable_hash("asr speech", cut.id)):
        if chosen and total + cut.duration > seconds:
            break
        chosen.append(cut)
        total += cut.duration
    return chosen


def _speech(cuts: list[Cut], rows: dict[str, dict], meter: Any) -> Iterable[tuple[bytes, list[Span]]]:
    for cut in cuts:
        try:
            samples = cut.samples()
        except AudioError:  # the alignment read it, so it went since; one utterance less
            continue
        yield _pcm(samples), from_rows(rows[cut.id]["phones"])
        meter.advance(cut.duration)


def _write_trigrams(texts: list[str], file: Path) -> None:
    from pocketsphinx.lm import ArpaBoLM

    model = ArpaBoLM(add_start=True)
    model.read_corpus(StringIO("\n".join(texts)))
    model.compute()
    with file.open("w") as handle:
        model.write(handle)


def _pronunciations(word: str, said: list[tuple], corpus: str) -> list[str]:
    """ARPAbet without stress: as the corpus says the word, `said`, the most frequent first; else as it is spelt."""
    if said:
        return [" ".join(phones) for phones in said[:VARIANTS]]
    if corpus != "world" and word in bundled_dictionary():
        return bundled_dictionary()[word]
    return [" ".join(strip_stress(p) for p in pronounce(word) if p != SIL)]


def _write_dictionary(entries: dict[str, list[str]], file: Path) -> None:
    with file.open("w") as handle:
        for word, variants in entries.items():
            for number, phones in enumerate((p for p in dict.fromkeys(variants) if p), 1):
                handle.write(f"{word}({number}) {phones}\n" if number > 1 else f"{word} {phones}\n")


def _pcm(samples: np.ndarray, pad: int = 0) -> bytes:
    """16-bit samples, with `pad` samples of dither on both sides; the same dither always."""
    padded = np.pad(samples.astype(np.float64), pad)
    if pad:
        padded += np.random.default_rng(0).normal(0, DITHER, len(padded))
    return np.clip(np.round(padded * 32768), -32768, 32767).astype("<i2").tobytes()


class PocketSphinx:
    """The recogniser of a folder that `build` wrote."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self.normalise = english_normaliser()

    @classmethod
    def load(cls, folder: str | Path | None) -> "PocketSphinx":
        """Raises UserError when `folder` is not what `build` writes."""
        folder = Path(folder or "")
        for name in FILES:
            if not (folder / name).is_file():
                raise UserError(f"{folder}/{name}: no such file; make the folder with scripts/build_asr.py")
        adapted = {key: str(folder / name) for key, name in ADAPTED.items() if (folder / name).is_file()}
        return cls({"lm": str(folder / "lm.arpa"), "dict": str(folder / "words.dict"), **WEIGHTS, **adapted})

    def _decoder(self) -> Any:
        from pocketsphinx import Decoder

        # batch normalisation takes the mean of the utterance itself
        return Decoder(cmn="batch", loglevel="FATAL", **self._options)

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        """Each (n,) float32 at 16 kHz as the words of the dictionary; "" where nothing is heard.

        Each utterance has a decoder of its own: one that has heard another gives other words (docs/log.md).
        """
        return [self._hear(samples) if len(samples) else "" for samples in utterances]

    def _hear(self, samples: np.ndarray) -> str:
        decoder = self._decoder()
        decoder.start_utt()
        decoder.process_raw(_pcm(samples, round(PADDING * SAMPLE_RATE)), full_utt=True)
        try:
            decoder.end_utt()
        except RuntimeError:  # no path through the words: nothing was heard
            return ""
        found = decoder.hyp()
        return found.hypstr if found else ""
