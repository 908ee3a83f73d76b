"""Transcripts of the continuations of a rung, and of the true continuations."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.asr import ASR, load_asr
from speechladder.continuation.lexicon import Lexicon, observed_pronunciations
from speechladder.continuation.phone_synthesis import text_to_speech
from speechladder.continuation.prompt_table import Parts, read_prompt_parts, true_continuation
from speechladder.continuation.sample import rows_of, train_sample
from speechladder.continuation.transcriber import SILENT, Transcriber, default_voice, drop_partial_word
from speechladder.continuation.vocoder.base import Vocoder, load_vocoder
from speechladder.corpora.speak import pronounce
from speechladder.io.audio import AudioError, encode_flac, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.spans import from_rows
from speechladder.io.tables import (
    ALIGNMENT,
    CONTINUATIONS,
    REFERENCE,
    TRANSCRIPTS,
    UNITS,
    read_table,
    write_table,
)
from speechladder.rungs import registry
from speechladder.settings import Continuation

PAUSE = round(0.3 * SAMPLE_RATE)  # samples between prompt and continuation in an example
BATCH = 16  # continuations that the ASR gets at once
SEED_WORD = "hear"  # part of every seed of the synthesis: another word would change the audio
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
    """Transcribe what the models of one rung said: continuation/{rung}/transcripts.parquet and a folder of examples.

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
    kind, vocoder, lexicon = registry.get(rung).transcribed_as or "", None, None
    if kind.startswith("unit"):
        vocoder = _load_vocoder(continuation, vocoder_folder, clusters)
    if kind.startswith("phone") and cuts:
        lexicon = corpus_lexicon(cuts, alignments)
    asr = load_asr(continuation, asr_folder)
    write_transcripts(rung, tokens, prompts_file, asr, vocoder, lexicon, out, examples_out, continuation.examples, seed)


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


def write_transcripts(
    rung: str,
    tokens: Path,
    prompts: Path,
    asr: ASR,
    vocoder: Vocoder | None,
    lexicon: Lexicon | None,
    out: Path,
    examples_out: Path,
    examples: int,
    seed: int,
) -> None:
    """Write `out` (TRANSCRIPTS), a row for each row of `tokens` (CONTINUATIONS) in the same order, and the examples.

    Rungs of units need the vocoder; the column `direct` of rungs of phones needs the lexicon. The folder `examples_out`
    holds {prompt}.flac for the first `examples` prompts, and transcripts.json. A file has the prompt's own audio, 0.3 s
    of silence and sample 0 of the first model. Raise UserError if the rung has no `transcribed_as` or lacks its
    vocoder, or if `tokens` belongs to other prompts.
    """
    kind = registry.get(rung).transcribed_as
    if kind is None:
        raise UserError(f"rung {rung!r} has no `transcribed_as`, so it takes no part in the continuation task; set it")
    if kind.startswith("unit") and vocoder is None:
        raise UserError(f"rung {rung!r} has units, which need a vocoder; name one (continuation.vocoder)")
    transcriber = Transcriber(kind, asr, vocoder, lexicon)
    said = _read_continuations(tokens, kind)
    prompt_rows = {id: parts["prompt"] for id, parts in read_prompt_parts(prompts, ["text", "audio"]).items()}
    if unknown := sorted({row["id"] for row in said} - prompt_rows.keys()):
        raise UserError(f"{tokens}: prompt {unknown[0]!r} is not in {prompts}; delete it and run again")
    first = min((row["seed"] for row in said if row["seed"] >= 0), default=-1)
    kept = {(id, first, 0) for id in list(prompt_rows)[:examples]}
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
    write_table(out, rows, TRANSCRIPTS, rung=rung)
    _write_examples(Path(examples_out), prompt_rows, shown)


def _read_continuations(tokens: Path, kind: str) -> list[Row]:
    """Rows of CONTINUATIONS. Text of a model whose time was up loses its last, perhaps partial word."""
    columns = ["id", "seed", "sample", "symbols", "ended"]
    rows = read_table(tokens, CONTINUATIONS, columns).select(columns).to_pylist()
    for row in rows:
        if kind == "text" and row["seed"] >= 0 and not row["ended"]:
            row["symbols"] = drop_partial_word(row["symbols"])
    return rows


def _read_prompt_audio(prompts: Path | str, row: Row) -> np.ndarray:
    try:
        return read_audio(row["audio"] or b"")
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
            whole = np.concatenate([_read_prompt_audio("prompts", row), np.zeros(PAUSE, np.float32), samples])
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

    Args:
        prompts_file: continuation/prompts.parquet
        out: continuation/reference.parquet to write
        asr_folder: folder continuation/asr, for asr: pocketsphinx
        units: continuation/units.parquet. Without it there is no resynthesis.
        vocoder_folder: folder continuation/vocoder, for vocoder: run. Without a vocoder there is no resynthesis.
        clusters: units.clusters, which the vocoder must have
        seed: seed of the noise in the synthesised speech
    """
    vocoder = _load_vocoder(continuation, vocoder_folder, clusters) if units else None
    write_reference(prompts_file, load_asr(continuation, asr_folder), vocoder, units, out, seed)


def write_reference(prompts: Path, asr: ASR, vocoder: Vocoder | None, units: Path | None, out: Path, seed: int) -> None:
    """Write `out` (REFERENCE): transcripts of the true continuations on up to three paths, in the prompts' order.

    natural: the recording after the cut. tts: the text, spoken. resynthesis, if there is a `vocoder`: the recording's
    units after the cut (`units`, UNITS by item of the prompts), spoken. Raise UserError naming what is missing.
    """
    prompt_parts = read_prompt_parts(prompts, ["item", "text", "audio"])
    known = {}
    if vocoder is not None:
        if units is None:
            raise UserError("the resynthesis needs the units of the prompts; give continuation/units.parquet (--units)")
        known = {row["id"]: row["units"] for row in read_table(units, UNITS).to_pylist()}
    speech = list(_true_speech(prompts, prompt_parts, vocoder, known, seed))
    rows = []
    with progress("transcribe reference", len(speech), "continuations/s") as meter:
        for begin in range(0, len(speech), BATCH):
            batch = speech[begin : begin + BATCH]
            for (path, id, text, _), found in zip(batch, asr.transcribe([samples for *_, samples in batch])):
                texts = {"reference": asr.normalise(text), "transcript": asr.normalise(found)}
                rows.append({"path": path, "id": id} | texts)
            meter.advance(len(batch))
    write_table(out, sorted(rows, key=lambda row: REFERENCE_PATHS.index(row["path"])), REFERENCE)


def _true_speech(
    prompts: Path, prompt_parts: dict[str, Parts], vocoder: Vocoder | None, units: dict[str, list], seed: int
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield (path, id, text, (n,) samples) of each true continuation."""
    voice = default_voice()
    for id, parts in prompt_parts.items():
        prompt, whole = parts["prompt"], parts["whole"]
        text = true_continuation(parts)
        cut = len(_read_prompt_audio(prompts, prompt))
        yield "natural", id, text, _read_prompt_audio(prompts, whole)[cut:]
        yield "tts", id, text, text_to_speech(text, voice, stable_hash(seed, SEED_WORD, id))
        if vocoder is not None:
            if whole["item"] not in units:
                raise UserError(f"the units lack {whole['item']!r}; delete continuation/units.parquet and run again")
            rest = np.array(units[whole["item"]][frame_count(cut) :], dtype=np.int64)
            yield "resynthesis", id, text, vocoder.speak(rest) if len(rest) else SILENT
