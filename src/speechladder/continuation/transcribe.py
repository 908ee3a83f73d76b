"""Transcripts of the continuations of a rung, and of the true continuations.

From the symbols of a rung to words: text is read, phones and units are spoken and transcribed by the ASR.
Only the continuation is spoken, never the prompt, because the words of the prompt would help the ASR to guess.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import FRAME_RATE, SAMPLE_RATE
from speechladder.continuation.asr import ASR, cases_metadata, load_asr
from speechladder.continuation.lexicon import Lexicon, observed_pronunciations
from speechladder.continuation.phone_synthesis import phones_to_speech, text_to_speech
from speechladder.continuation.prompt_table import Parts, read_prompt_parts, true_continuation
from speechladder.continuation.sample import rows_of, train_sample
from speechladder.continuation.vocoder.base import Vocoder, load_vocoder
from speechladder.corpora.speak import pronounce
from speechladder.corpora.voices import Voice, voices
from speechladder.io.audio import AudioError, encode_flac, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, CONTINUATIONS, REFERENCE, TRANSCRIPTS, UNITS, read_table, write_table
from speechladder.rungs import registry
from speechladder.rungs.functions import PAUSE_MARK
from speechladder.settings import Continuation

PAUSE = round(0.3 * SAMPLE_RATE)  # samples between prompt and continuation in an example
BATCH = 16  # continuations that the ASR gets at once
SEED_WORD = "hear"  # part of every seed of the synthesis: another word would change the audio
SILENT = np.zeros(0, np.float32)
REFERENCE_PATHS = ("natural", "tts", "resynthesis")

Row = dict[str, Any]


def transcribe_rung(
    rung: str,
    tokens: Path,
    prompts_file: Path,
    out: Path,
    examples_out: Path,
    continuation: Continuation,
    asr_folder: Path | None = None,
    vocoder_folder: Path | None = None,
    cuts: list[Path] = (),
    alignments: list[Path] = (),
    clusters: int | None = None,
    seed: int = 0,
) -> None:
    """Transcribe the continuations of one rung: continuation/{rung}/transcripts.parquet and a folder of examples.

    The table (TRANSCRIPTS) has a row for each row of `tokens` (CONTINUATIONS) in the same order. Rungs of units need
    the vocoder; the column `direct` of rungs of phones needs the lexicon. The examples are {prompt}.flac for the first
    `continuation.examples` prompts: the prompt's own audio, 0.3 s of silence and sample 0 of the first model. Raises
    UserError if the rung has no `transcribed_as` or lacks its vocoder, or if `tokens` belongs to other prompts.

    Args:
        rung: name of the rung
        tokens: continuation/{rung}/tokens.parquet
        prompts_file: continuation/prompts.parquet
        out: continuation/{rung}/transcripts.parquet to write
        examples_out: folder to write, with FLAC files and transcripts.json
        asr_folder: folder continuation/asr, for asr: pocketsphinx
        vocoder_folder: folder continuation/vocoder, for vocoder: run and rungs of units
        cuts: corpus/cuts.{shard}.jsonl.gz, whose words are the lexicon of rungs of phones
        alignments: alignment/{shard}.parquet of the same cuts, whose pronunciations the lexicon has too
        clusters: units.clusters, which the vocoder must have
        seed: seed of the noise in the synthesised speech
    """
    kind = registry.get(rung).transcribed_as
    if kind is None:
        raise UserError(f"rung {rung!r} has no `transcribed_as`, so it takes no part in the continuation task; set it")
    vocoder = _load_vocoder(continuation, vocoder_folder, clusters) if kind.startswith("unit") else None
    if kind.startswith("unit") and vocoder is None:
        raise UserError(f"rung {rung!r} has units, which need a vocoder; name one (continuation.vocoder)")
    lexicon = corpus_lexicon(cuts, alignments) if kind.startswith("phone") and cuts else None
    transcriber = Transcriber(kind, load_asr(continuation, asr_folder), vocoder, lexicon)
    said = _read_continuations(tokens, kind)
    prompt_rows = {id: parts["prompt"] for id, parts in read_prompt_parts(prompts_file, ["text", "audio"]).items()}
    if unknown := sorted({row["id"] for row in said} - prompt_rows.keys()):
        raise UserError(f"{tokens}: prompt {unknown[0]!r} is not in {prompts_file}; delete it and run again")
    first = min((row["seed"] for row in said if row["seed"] >= 0), default=-1)
    kept = {(id, first, 0) for id in list(prompt_rows)[: continuation.examples]}
    rows, shown = [], {}
    with progress(f"transcribe {rung}", len(said), "continuations/s") as meter:
        for begin in range(0, len(said), BATCH):
            batch = said[begin : begin + BATCH]
            keys = [(row["id"], row["seed"], row["sample"]) for row in batch]
            seeds = [stable_hash(seed, SEED_WORD, *key) for key in keys]
            transcripts, audio = transcriber.transcribe([row["symbols"] for row in batch], seeds)
            for row, key, number, transcript, samples in zip(batch, keys, seeds, transcripts, audio):
                words = {"transcript": transcript, "direct": transcriber.direct(row["symbols"])}
                rows.append(dict(zip(("id", "seed", "sample"), key)) | words | {"seconds": len(samples) / SAMPLE_RATE})
                if key in kept:
                    shown[row["id"]] = (
                        samples if len(samples) else transcriber.speak(row["symbols"], number),
                        words,
                    )
            meter.advance(len(batch))
    write_table(out, rows, TRANSCRIPTS, rung=rung, **cases_metadata(transcriber.asr))
    _write_examples(examples_out, prompt_rows, shown)


def _load_vocoder(continuation: Continuation, folder: Path | None, clusters: int | None) -> Vocoder | None:
    """The vocoder that the settings name; None for the run's own without its folder."""
    name = folder if continuation.vocoder == "run" else continuation.vocoder
    return load_vocoder(name, clusters) if name else None


def corpus_lexicon(cuts: Sequence[str | Path], alignments: Sequence[str | Path] = ()) -> Lexicon:
    """Make a lexicon of the words of the train split, or of a sample of it if it is large.

    Pronunciations are those of espeak-ng and, if there are `alignments`, those of the corpus.
    """
    texts = {cut.id: cut.text for cut in train_sample(cuts, "lexicon")}
    rows = rows_of(alignments, ALIGNMENT, list(texts)).values()
    observed = observed_pronunciations((from_rows(row["words"]), from_rows(row["phones"])) for row in rows)
    words = sorted({word for text in texts.values() for word in text.split()})
    return Lexicon.from_words(words, pronounce, observed, texts.values())


def _read_continuations(tokens: Path, kind: str) -> list[Row]:
    """Rows of CONTINUATIONS. Text of a model whose time was up loses its last, perhaps partial word."""
    columns = ["id", "seed", "sample", "symbols", "ended"]
    rows = read_table(tokens, CONTINUATIONS, columns).select(columns).to_pylist()
    for row in rows:
        if kind == "text" and row["seed"] >= 0 and not row["ended"]:
            row["symbols"] = drop_partial_word(row["symbols"])
    return rows


def read_prompt_audio(prompts: Path | str, row: Row) -> np.ndarray:
    try:
        return read_audio(row["audio"] or b"", silent=True)
    except AudioError as error:
        raise UserError(f"{prompts}, prompt {row['id']!r}: {error}; delete it and run again") from None


def _write_examples(folder: Path, prompt_rows: dict[str, Row], shown: dict[str, tuple[np.ndarray, Row]]) -> None:
    """Write a FLAC file for each prompt in `shown` (samples and words of its continuation), and transcripts.json."""
    about = []
    with atomic_folder(folder) as place:
        for id, row in prompt_rows.items():
            if id not in shown:
                continue
            samples, words = shown[id]
            name = re.sub(r"[^\w.-]", "_", id)
            if any(other["name"] == name for other in about):  # ids that differ only in punctuation
                name += f"-{len(about)}"
            whole = np.concatenate([read_prompt_audio("prompts", row), np.zeros(PAUSE, np.float32), samples])
            (place / f"{name}.flac").write_bytes(encode_flac(whole))
            about.append(
                {"name": name, "prompt": row["text"], **{k: v for k, v in words.items() if v or k != "direct"}}
            )
        write_json(place / "transcripts.json", about)


def transcribe_reference(
    prompts_file: Path,
    out: Path,
    continuation: Continuation,
    asr_folder: Path | None = None,
    units: Path | None = None,
    vocoder_folder: Path | None = None,
    clusters: int | None = None,
    seed: int = 0,
) -> None:
    """Transcribe the true continuations (natural, spoken from text, resynthesised): continuation/reference.parquet.

    The table (REFERENCE) has up to three paths, in the prompts' order. natural: the recording after the cut. tts: the
    text, spoken. resynthesis, if there are units and a vocoder: the recording's units after the cut, spoken. Raises
    UserError naming what is missing.

    Args:
        prompts_file: continuation/prompts.parquet
        out: continuation/reference.parquet to write
        asr_folder: folder continuation/asr, for asr: pocketsphinx
        units: continuation/units.parquet. Without it there is no resynthesis.
        vocoder_folder: folder continuation/vocoder, for vocoder: run. Without a vocoder there is no resynthesis.
        clusters: units.clusters, which the vocoder must have
        seed: seed of the noise in the synthesised speech
    """
    asr = load_asr(continuation, asr_folder)
    rows = hear_reference(asr, prompts_file, continuation, units, vocoder_folder, clusters, seed)
    write_table(out, rows, REFERENCE, **cases_metadata(asr))


def hear_reference(
    asr: ASR,
    prompts_file: Path,
    continuation: Continuation,
    units: Path | None,
    vocoder_folder: Path | None,
    clusters: int | None,
    seed: int,
) -> list[Row]:
    """Return the rows that `transcribe_reference` writes, with the transcripts of this recogniser."""
    vocoder = _load_vocoder(continuation, vocoder_folder, clusters) if units else None
    known = {row["id"]: row["units"] for row in read_table(units, UNITS).to_pylist()} if vocoder else {}
    parts = read_prompt_parts(prompts_file, ["item", "text", "audio"])
    speech = list(_true_speech(prompts_file, parts, vocoder, known, seed))
    heard = transcripts(asr, [samples for *_, samples in speech], "transcribe reference")
    rows = [
        {"path": path, "id": id, "reference": asr.normalise(text), "transcript": found}
        for (path, id, text, _), found in zip(speech, heard, strict=True)
    ]
    return sorted(rows, key=lambda row: REFERENCE_PATHS.index(row["path"]))


def transcripts(asr: ASR, audio: Sequence[np.ndarray], title: str) -> list[str]:
    """Return the normalised transcript of each utterance, (n,) float32 at 16 kHz; `title` names the progress bar."""
    found: list[str] = []
    with progress(title, len(audio), "utterances/s") as meter:
        for begin in range(0, len(audio), BATCH):
            batch = list(audio[begin : begin + BATCH])
            found += map(asr.normalise, asr.transcribe(batch))
            meter.advance(len(batch))
    return found


def _true_speech(
    prompts: Path, prompt_parts: dict[str, Parts], vocoder: Vocoder | None, units: dict[str, list], seed: int
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield (path, id, text, (n,) samples) of each true continuation."""
    voice = default_voice()
    for id, parts in prompt_parts.items():
        prompt, whole = parts["prompt"], parts["whole"]
        text = true_continuation(parts)
        cut = len(read_prompt_audio(prompts, prompt))
        yield "natural", id, text, read_prompt_audio(prompts, whole)[cut:]
        yield "tts", id, text, text_to_speech(text, voice, stable_hash(seed, SEED_WORD, id))
        if vocoder is not None:
            if whole["item"] not in units:
                raise UserError(f"the units lack {whole['item']!r}; delete continuation/units.parquet and run again")
            rest = np.array(units[whole["item"]][frame_count(cut) :], dtype=np.int64)
            yield "resynthesis", id, text, vocoder.speak(rest) if len(rest) else SILENT


def default_voice() -> Voice:
    """The voice for text and phones: a speaker of the world, whatever the corpus."""
    return voices(2)[0]


@dataclass(frozen=True)
class Transcriber:
    """Turns the symbols of one rung into audio and words.

    `kind` is the rung's `transcribed_as`. Units need a vocoder. The lexicon is optional, for the direct words of
    phones.
    """

    kind: str
    asr: ASR
    vocoder: Vocoder | None = None
    lexicon: Lexicon | None = None
    voice: Voice = field(default_factory=default_voice)

    def speak(self, symbols: Sequence[str], seed: int) -> np.ndarray:
        """Return the audio of the symbols, (n,) float32 at 16 kHz; empty if there is nothing to say."""
        if not symbols:
            return SILENT
        if self.kind == "text":
            return text_to_speech(". ".join(join_characters(symbols)), self.voice, seed)
        if self.kind == "phones":
            return phones_to_speech(list(symbols), None, self.voice, seed)
        if self.kind == "phone-frames":
            phones, frames = collapse_runs(symbols)
            return phones_to_speech(phones, [n / FRAME_RATE for n in frames], self.voice, seed)
        units = np.array([int(symbol.removeprefix("u")) for symbol in symbols])
        if self.kind == "unit-runs":
            units = np.repeat(units, self.vocoder.durations(units))
        return self.vocoder.speak(units)

    def direct(self, symbols: Sequence[str]) -> str:
        """Return the words of phones by the lexicon, without speech and ASR; "" for other symbols."""
        if self.lexicon is None or not self.kind.startswith("phone"):
            return ""
        phones = collapse_runs(symbols)[0] if self.kind == "phone-frames" else list(symbols)
        return self.asr.normalise(self.lexicon.words(phones))

    def transcribe(self, symbols: list[Sequence[str]], seeds: list[int]) -> tuple[list[str], list[np.ndarray]]:
        """Return the normalised transcripts of several continuations, and the audio that was transcribed.

        Text is normalised as it is, so its audio is empty.
        """
        if self.kind == "text":
            return [self.asr.normalise(" ".join(join_characters(s))) for s in symbols], [SILENT] * len(symbols)
        audio = [self.speak(s, seed) for s, seed in zip(symbols, seeds)]
        return [self.asr.normalise(text) for text in self.asr.transcribe(audio)], audio


def join_characters(symbols: Sequence[str]) -> list[str]:
    """Join characters to the texts between pauses, each with single spaces and none of them empty."""
    texts = "".join(symbols).replace(registry.SPACE, " ").split(PAUSE_MARK)
    return [" ".join(text.split()) for text in texts if text.strip()]


def drop_partial_word(symbols: Sequence[str]) -> list[str]:
    """Return the characters up to the last space or pause: a continuation whose time is up may end within a word.

    A single word is kept.
    """
    symbols, breaks = list(symbols), (registry.SPACE, PAUSE_MARK)
    first = next((at for at, symbol in enumerate(symbols) if symbol not in breaks), len(symbols))
    ends = [at for at, symbol in enumerate(symbols) if symbol in breaks and at > first]
    return symbols[: ends[-1]] if ends else symbols


def collapse_runs(symbols: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the symbol and the length of each run of equal symbols."""
    found = [(symbol, sum(1 for _ in group)) for symbol, group in groupby(symbols)]
    return [symbol for symbol, _ in found], [length for _, length in found]
