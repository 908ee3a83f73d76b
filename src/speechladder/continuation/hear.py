"""What a rung said, in words: text is read, phones and units are spoken and heard again by the ASR.

Only the continuation is spoken, never the prompt: an ASR that heard the prompt would guess on from it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import FRAME_RATE, SAMPLE_RATE
from speechladder.continuation.asr import ASR
from speechladder.continuation.lexicon import Lexicon, observed
from speechladder.continuation.sample import rows_of, train_sample
from speechladder.continuation.voice import phones_to_speech, text_to_speech
from speechladder.corpora.speak import pronounce
from speechladder.corpora.voices import Voice, voices
from speechladder.io.audio import AudioError, encode_flac, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, CONTINUATIONS, HEARD, PROMPTS, REFERENCE, UNITS, read_table, write_table
from speechladder.rungs import registry
from speechladder.rungs.registry import SPACE
from speechladder.settings import Continuation

PAUSE = round(0.3 * SAMPLE_RATE)  # samples between prompt and continuation in an example
TOGETHER = 16  # continuations given to the ASR at once
SILENT = np.zeros(0, np.float32)


def default_voice() -> Voice:
    """Who speaks text and phones: one speaker of the world's, whatever the corpus."""
    return voices(2)[0]


@dataclass(frozen=True)
class Route:
    """From the symbols of one rung to audio and words. `heard` is Rung.heard; units need a vocoder."""

    heard: str
    asr: ASR
    vocoder: Any = None
    lexicon: Lexicon | None = None
    voice: Voice = field(default_factory=default_voice)

    def speak(self, symbols: Sequence[str], seed: int) -> np.ndarray:
        """(n,) float32 at 16 kHz; empty where there is nothing to say."""
        if not symbols:
            return SILENT
        if self.heard == "text":
            return text_to_speech(as_text(symbols), self.voice, seed)
        if self.heard == "phones":
            return phones_to_speech(list(symbols), None, self.voice, seed)
        if self.heard == "phone-frames":
            phones, frames = runs(symbols)
            return phones_to_speech(phones, [n / FRAME_RATE for n in frames], self.voice, seed)
        units = np.array([int(symbol.removeprefix("u")) for symbol in symbols])
        if self.heard == "unit-runs":
            units = np.repeat(units, self.vocoder.durations(units))
        return self.vocoder.speak(units)

    def direct(self, symbols: Sequence[str]) -> str:
        """Words by the lexicon; "" for what is not phones."""
        if self.lexicon is None or not self.heard.startswith("phone"):
            return ""
        phones = runs(symbols)[0] if self.heard == "phone-frames" else list(symbols)
        return self.asr.normalise(self.lexicon.words(phones))

    def words(self, symbols: list[Sequence[str]], seeds: list[int]) -> tuple[list[str], list[np.ndarray]]:
        """Normalised transcripts and the audio that was heard; text is not spoken to be read."""
        if self.heard == "text":
            return [self.asr.normalise(as_text(s)) for s in symbols], [SILENT] * len(symbols)
        audio = [self.speak(s, seed) for s, seed in zip(symbols, seeds)]
        return [self.asr.normalise(text) for text in self.asr.transcribe(audio)], audio


def as_text(symbols: Sequence[str]) -> str:
    """Characters as a text with single spaces."""
    return " ".join("".join(symbols).replace(SPACE, " ").split())


def whole_words(symbols: Sequence[str]) -> list[str]:
    """Characters up to the last space: what was cut by the clock ends in a part of a word, which is no word."""
    symbols = list(symbols)
    spaces = [at for at, symbol in enumerate(symbols) if symbol == SPACE and at]
    return symbols[: spaces[-1]] if spaces else symbols


def runs(symbols: Sequence[str]) -> tuple[list[str], list[int]]:
    """Runs of the same symbol: each once, and its length."""
    found = [(symbol, sum(1 for _ in group)) for symbol, group in groupby(symbols)]
    return [symbol for symbol, _ in found], [length for _, length in found]


def corpus_lexicon(cuts: Sequence[str | Path], alignments: Sequence[str | Path] = ()) -> Lexicon:
    """The words of the train split (of a sample of it, where it is large), as espeak-ng says them and, where there are
    `alignments`, as the corpus does."""
    texts = {cut.id: cut.text for cut in train_sample(cuts, "lexicon")}
    rows = rows_of(alignments, ALIGNMENT, list(texts)).values()
    said = observed((from_rows(row["words"]), from_rows(row["phones"])) for row in rows)
    words = sorted({word for text in texts.values() for word in text.split()})
    return Lexicon.from_words(words, pronounce, said, texts.values())


def hear_rung(
    rung: str,
    tokens: str | Path,
    prompts: str | Path,
    asr: ASR,
    vocoder: Any,
    lexicon: Lexicon | None,
    out: str | Path,
    examples: str | Path,
    settings: Continuation,
    seed: int,
) -> None:
    """Write `out` (HEARD), a row for each of `tokens` (CONTINUATIONS) in their order, and the folder `examples`.

    `vocoder` (continuation.vocoder.load) is needed for rungs of units, `lexicon` for the column `direct` of rungs of
    phones. The folder holds {prompt}.flac, the prompt's own audio, 0.3 s of silence and the first model's sample 0,
    for the first `settings.examples` prompts, and transcripts.json. Raises UserError when the rung is not heard or
    lacks its vocoder, and when `tokens` are of other prompts.
    """
    kind = registry.get(rung).heard
    if kind is None:
        raise UserError(f"rung {rung!r} has no `heard`: it takes no part in the continuation task")
    if kind.startswith("unit") and vocoder is None:
        raise UserError(f"rung {rung!r} speaks units; it needs a vocoder (continuation.vocoder)")
    path = Route(kind, asr, vocoder, lexicon)
    columns = ["id", "seed", "sample", "symbols", "ended"]
    said = read_table(tokens, CONTINUATIONS, columns).select(columns).to_pylist()
    for row in said:
        if kind == "text" and row["seed"] >= 0 and not row["ended"]:
            row["symbols"] = whole_words(row["symbols"])
    beginnings = _beginnings(prompts)
    if strange := sorted({row["id"] for row in said} - beginnings.keys()):
        raise UserError(f"{tokens}: prompt {strange[0]!r} is not in {prompts}; delete it and run again")
    first = min((row["seed"] for row in said if row["seed"] >= 0), default=-1)
    kept = {(id, first, 0) for id in list(beginnings)[: settings.examples]}
    rows, shown = [], {}
    with progress(f"hear {rung}", len(said), "continuations/s") as meter:
        for begin in range(0, len(said), TOGETHER):
            some = said[begin : begin + TOGETHER]
            keys = [(row["id"], row["seed"], row["sample"]) for row in some]
            seeds = [stable_hash(seed, "hear", *key) for key in keys]
            transcripts, audio = path.words([row["symbols"] for row in some], seeds)
            for row, key, number, transcript, samples in zip(some, keys, seeds, transcripts, audio):
                heard = {"transcript": transcript, "direct": path.direct(row["symbols"])}
                rows.append(dict(zip(("id", "seed", "sample"), key)) | heard | {"seconds": len(samples) / SAMPLE_RATE})
                if key in kept:
                    shown[row["id"]] = samples if len(samples) else path.speak(row["symbols"], number), heard
            meter.advance(len(some))
    write_table(out, rows, HEARD, rung=rung)
    _write_examples(Path(examples), beginnings, shown)


def _beginnings(prompts: str | Path) -> dict[str, dict[str, Any]]:
    """The prompts' rows of part prompt by id, in their order."""
    columns = ["id", "part", "text", "audio"]
    rows = read_table(prompts, PROMPTS, columns).select(columns).to_pylist()
    return {row["id"]: row for row in rows if row["part"] == "prompt"}


def _read(prompts: str | Path, row: dict[str, Any]) -> np.ndarray:
    try:
        return read_audio(row["audio"] or b"")
    except AudioError as error:
        raise UserError(f"{prompts}, prompt {row['id']!r}: {error}; delete it and run again") from None


def _write_examples(folder: Path, beginnings: dict[str, dict[str, Any]], shown: dict[str, tuple]) -> None:
    about = []
    with atomic_folder(folder) as place:
        for id, row in beginnings.items():
            if id not in shown:
                continue
            samples, heard = shown[id]
            name = re.sub(r"[^\w.-]", "_", id)
            if any(other["name"] == name for other in about):  # ids that differ in punctuation alone
                name += f"-{len(about)}"
            whole = np.concatenate([_read("prompts", row), np.zeros(PAUSE, np.float32), samples])
            (place / f"{name}.flac").write_bytes(encode_flac(whole))
            about.append(
                {"name": name, "prompt": row["text"], **{k: v for k, v in heard.items() if v or k != "direct"}}
            )
        write_json(place / "transcripts.json", about)


def hear_reference(
    prompts: str | Path, asr: ASR, vocoder: Any, units: str | Path | None, out: str | Path, seed: int
) -> None:
    """Write `out` (REFERENCE): the true continuations, heard on three paths, each in its order of the prompts.

    natural: the recording after the cut. tts: the text, spoken. resynthesis, where there is a `vocoder`: the
    recording's units after the cut (`units`, UNITS by item of the prompts), spoken. Raises UserError naming what is
    missing.
    """
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    columns = ["item", "id", "part", "text", "audio"]
    for row in read_table(prompts, PROMPTS, columns).select(columns).to_pylist():
        parts.setdefault(row["id"], {})[row["part"]] = row
    known = {}
    if vocoder is not None:
        if units is None:
            raise UserError("the resynthesis needs the units of the prompts (continuation/units.parquet)")
        known = {row["id"]: row["units"] for row in read_table(units, UNITS).to_pylist()}
    speech = list(_true_speech(prompts, parts, vocoder, known, seed))
    rows = []
    with progress("hear reference", len(speech), "continuations/s") as meter:
        for begin in range(0, len(speech), TOGETHER):
            some = speech[begin : begin + TOGETHER]
            for (path, id, text, _), heard in zip(some, asr.transcribe([samples for *_, samples in some])):
                texts = {"reference": asr.normalise(text), "transcript": asr.normalise(heard)}
                rows.append({"path": path, "id": id} | texts)
            meter.advance(len(some))
    order = ("natural", "tts", "resynthesis")
    write_table(out, sorted(rows, key=lambda row: order.index(row["path"])), REFERENCE)


def _true_speech(
    prompts: str | Path, parts: dict[str, dict[str, dict[str, Any]]], vocoder: Any, units: dict[str, list], seed: int
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """(path, id, text, (n,) samples) of each true continuation."""
    voice = default_voice()
    for id, both in parts.items():
        if both.keys() != {"prompt", "whole"}:
            raise UserError(f"{prompts}: prompt {id!r} has the parts {sorted(both)}; delete it and run again")
        begun, whole = both["prompt"], both["whole"]
        text = " ".join(whole["text"].split()[len(begun["text"].split()) :])
        cut = len(_read(prompts, begun))
        yield "natural", id, text, _read(prompts, whole)[cut:]
        yield "tts", id, text, text_to_speech(text, voice, stable_hash(seed, "hear", id))
        if vocoder is not None:
            if whole["item"] not in units:
                raise UserError(f"the units lack {whole['item']!r}; delete continuation/units.parquet and run again")
            rest = np.array(units[whole["item"]][frame_count(cut) :], dtype=np.int64)
            yield "resynthesis", id, text, vocoder.speak(rest) if len(rest) else SILENT
