"""PocketSphinx with a language model, a pronunciation dictionary and acoustic parameters made from the run's corpus."""

from collections import Counter
from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from speechladder.alignment.pocketsphinx import PADDING, bundled_dictionary, pcm_bytes, write_dictionary
from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.asr.adapt import adapt
from speechladder.continuation.asr.text import english_normaliser
from speechladder.continuation.lexicon import observed_pronunciations
from speechladder.continuation.sample import rows_of, train_sample
from speechladder.corpora.cuts import Cut
from speechladder.corpora.draw import Draw
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.corpora.speak import pronounce
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.progress import progress, say
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT

MINUTES = 30.0  # of speech for the adaptation of the acoustic model, at most
MAX_WORDS = 2_000_000  # of text for the language model, at most, because it is made in memory
VARIANTS = 4  # pronunciations of a word, at most
# weight of the language model in the first two passes; the best for the adapted model on the world's valid split
WEIGHTS = {"lw": 9.0, "fwdflatlw": 9.0}
FILES = ("lm.arpa", "words.dict", "asr.json")
ADAPTED = {"mean": "means", "var": "variances"}  # option of PocketSphinx -> file


def build_asr(
    cuts: list[Path],
    out: Path,
    alignments: list[Path] = (),
    corpus: Literal["world", "local"] = "world",
    minutes: float = MINUTES,
) -> None:
    """Build the run's own recogniser from the train split: the folder continuation/asr.

    It holds lm.arpa, words.dict, means, variances and asr.json. The alignments give the pronunciation of each word, and
    the phone of each frame, by which the acoustic model is adapted. Without them, pronunciations come from espeak-ng
    (corpus world) or from PocketSphinx's dictionary, and the bundled acoustic model is used as it is. Raise UserError
    if the train split has no text.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of all shards
        out: folder continuation/asr to write
        alignments: alignment/{shard}.parquet of the same cuts
        corpus: kind of the corpus, which says where the pronunciation of a word without alignment comes from
        minutes: minutes of speech that the acoustic model is adapted to, at most
    """
    train = [cut for cut in train_sample(cuts, "asr") if cut.text]
    if not train:
        raise UserError(f"{', '.join(map(str, cuts))}: the train split has no text to build a recogniser from")
    rows = rows_of(alignments, ALIGNMENT, [cut.id for cut in train])
    aligned = [cut for cut in train if cut.id in rows]
    texts = _choose_texts(train)
    said = observed_pronunciations((from_rows(rows[c.id]["words"]), from_rows(rows[c.id]["phones"])) for c in aligned)
    with atomic_folder(out) as folder:
        _write_trigrams(texts, folder / "lm.arpa")
        words = sorted({word for text in texts for word in text.split()})
        entries = {word: _pronunciations(word, said.get(word, []), corpus) for word in words}
        with (folder / "words.dict").open("w") as file:
            write_dictionary(entries, file)
        chosen = _draw(aligned, minutes * 60, "asr speech", lambda cut: cut.duration)
        frames = 0
        if chosen:
            with progress("adapt asr", sum(c.duration for c in chosen), "x real time") as meter:
                speech = _read_speech(chosen, rows, meter)
                frames = adapt(speech, folder / ADAPTED["mean"], folder / ADAPTED["var"])
        about = {"corpus": corpus, "utterances": len(texts), "words": len(words), "adapted_seconds": frames / 100}
        write_json(folder / "asr.json", about)


def _choose_texts(train: list[Cut]) -> list[str]:
    """The texts of the utterances, in their order; of a sample of them if they have more than MAX_WORDS words."""
    chosen = _draw(train, MAX_WORDS, "asr text", lambda cut: len(cut.text.split()))
    if len(chosen) < len(train):
        say(f"asr: the language model is made of {len(chosen)} of {len(train)} texts, {MAX_WORDS:,} words")
    kept = {cut.id for cut in chosen}
    return [cut.text for cut in train if cut.id in kept]


def _draw(cuts: list[Cut], wanted: float, key: str, size: Callable[[Cut], float]) -> list[Cut]:
    """A draw of cuts whose sizes are at most `wanted` together, but of one cut at least."""
    drawn: Draw[Cut] = Draw(wanted, key)
    for cut in cuts:
        drawn.add(cut.id, size(cut), cut)
    return drawn.items(within=True)


def _read_speech(cuts: list[Cut], rows: dict[str, dict], meter: Any) -> Iterable[tuple[bytes, list[Span]]]:
    for cut in cuts:
        try:
            samples = cut.samples()
        except AudioError:  # the file has changed since the alignment; one utterance less
            continue
        yield pcm_bytes(samples), from_rows(rows[cut.id]["phones"])
        meter.advance(cut.duration)


def _write_trigrams(texts: list[str], file: Path) -> None:
    from pocketsphinx.lm import ArpaBoLM

    model = ArpaBoLM(add_start=True)
    model.read_corpus(StringIO("\n".join(texts)))
    model.compute()
    with file.open("w") as handle:
        model.write(handle)


def _pronunciations(word: str, said: list[tuple], corpus: str) -> list[str]:
    """ARPAbet without stress: the most frequent pronunciations in the corpus, `said`, else those of a dictionary."""
    if said:
        return [" ".join(phones) for phones in said[:VARIANTS]]
    if corpus != "world" and word in bundled_dictionary():
        return bundled_dictionary()[word]
    phones = " ".join(strip_stress(p) for p in pronounce(word) if p != SIL)
    return [phones] if phones else []


class PocketSphinx:
    """The recogniser (`base.ASR`) in a folder that `build_asr` wrote."""

    def __init__(self, folder: str | Path | None) -> None:
        """Load the recogniser. Raise UserError if a file that `build_asr` writes is missing from `folder`."""
        folder = Path(folder or "")
        for name in FILES:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder}/{name}: no such file; run rule build_asr (scripts/build_asr.py), which writes the folder"
                )
        adapted = {key: str(folder / name) for key, name in ADAPTED.items() if (folder / name).is_file()}
        self._options = {"lm": str(folder / "lm.arpa"), "dict": str(folder / "words.dict"), **WEIGHTS, **adapted}
        self.normalise = english_normaliser()
        self.cases: Counter[str] = Counter()

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        """Return the text of each utterance, (n,) float32 at 16 kHz, in words of the dictionary; "" if none is found.

        Each utterance has a decoder of its own, because earlier utterances change a decoder's results (docs/log.md).
        """
        return [self._decode(samples) if len(samples) else "" for samples in utterances]

    def _decode(self, samples: np.ndarray) -> str:
        from pocketsphinx import Decoder

        # cmn="batch" subtracts the mean of the utterance itself
        decoder = Decoder(cmn="batch", loglevel="FATAL", **self._options)
        decoder.start_utt()
        decoder.process_raw(pcm_bytes(samples, round(PADDING * SAMPLE_RATE)), full_utt=True)
        try:
            decoder.end_utt()
        except RuntimeError:  # no path through the words: nothing was recognised
            return ""
        found = decoder.hyp()
        return found.hypstr if found else ""
