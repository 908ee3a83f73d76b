"""What one hears on the page, of a synthetic run: a held-out utterance with its tokens, and prompts with examples."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.transcribe import PAUSE
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.audio import encode_flac, frame_count
from speechladder.io.files import write_json
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import (
    ALIGNMENT,
    JUDGED,
    PROMPTS,
    REFERENCE,
    TOKEN_INDEX,
    TRANSCRIPTS,
    UNITS,
    UTTERANCES,
    read_table,
    write_table,
)
from speechladder.rungs import registry, tokenizers
from speechladder.rungs.registry import Utterance
from speechladder.settings import Tokens

ID = "held-out"
SECONDS = 2.5
WORDS = [Span("the", 0.1, 0.4), Span("cat", 0.4, 1.0), Span("sleeps", 1.3, 2.3)]
SOUNDS = ["DH", "AH0", "K", "AE1", "T", "S", "L", "IY1", "P", "S"]
PROMPT, REST = 0.6, 0.4  # seconds of a prompt and of its true continuation


def tone(seconds: float, pitch: float = 220.0) -> np.ndarray:
    """(n,) float32 at 16 kHz: a sine that swells."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * time / seconds * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def phones() -> list[Span]:
    """The phones of the words, each word's of equal length, with the pauses around them."""
    counts, found, at, left = (2, 3, 5), [], 0.0, iter(SOUNDS)
    for word, count in zip(WORDS, counts):
        if word.start > at:
            found.append(Span("SIL", at, word.start))
        part = (word.end - word.start) / count
        found += [Span(next(left), word.start + n * part, word.start + (n + 1) * part) for n in range(count)]
        at = word.end
    return [*found, Span("SIL", at, SECONDS)]


def utterance() -> Utterance:
    """The held-out utterance as rungs see it."""
    frames = frame_count(round(SECONDS * SAMPLE_RATE))
    units = np.arange(frames) // 3 % 100
    text = " ".join(word.label for word in WORDS)
    return Utterance(ID, text, WORDS, phones(), units, frames, SECONDS)


def write_utterance(results: Path, rungs) -> None:
    """A held-out utterance: its recording, cut, alignment, units, and the tokens of each rung that is registered."""
    said = utterance()
    path = results / "corpus" / "audio" / "0" / "held-out.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(SECONDS + 1), SAMPLE_RATE)
    where = f"results/corpus/audio/0/{path.name}"
    whole = round((SECONDS + 1) * SAMPLE_RATE)
    cut = Cut(ID, ID, where, 1.0, SECONDS, "s", "test", said.text, said.text, SAMPLE_RATE, whole)
    write_cuts(results / "corpus" / "cuts.0.jsonl.gz", [cut])
    aligned = {"words": as_rows(said.words), "phones": as_rows(said.phones), "seconds": SECONDS, "aligner": "truth"}
    write_table(results / "alignment" / "0.parquet", [{"id": ID} | aligned], ALIGNMENT)
    write_table(results / "units" / "0.parquet", [{"id": ID, "units": said.units.tolist()}], UNITS)
    row = {"id": ID, "split": "test", "shard": 0, "speaker": "s", "seconds": SECONDS, "frames": said.frames}
    path = results / "tokens" / "utterances.parquet"
    before = read_table(path, UTTERANCES)
    write_table(path, pa.concat_tables([before, pa.Table.from_pylist([row], schema=UTTERANCES)]), UTTERANCES)
    for name in rungs:
        if name in registry.RUNGS:
            _write_tokens(results / "tokens" / name, registry.get(name), said)


def _write_tokens(folder: Path, rung: registry.Rung, said: Utterance) -> None:
    symbols = rung.function(said)
    tokenizers.build(rung, rung.alphabet(Tokens(), 100), Tokens(), [symbols] * 9, folder / "tokenizer")
    ids = [tokenizers.BOS, *next(tokenizers.Codec(folder / "tokenizer").encode([symbols])), tokenizers.EOS]
    np.array(ids, np.uint16).tofile(folder / "test.bin")
    row = {"id": ID, "offset": 0, "length": len(ids), "seconds": SECONDS}
    write_table(folder / "test.parquet", [row], TOKEN_INDEX)


def write_prompts(results: Path, rungs, count: int = 3, examples: int = 2) -> None:
    """Prompts, and for each rung transcripts of two samples of two models, with examples of the first prompts."""
    folder = results / "continuation"
    ids = [f"prompt {n}" for n in range(count)]
    whole = tone(PROMPT + REST)
    cut = round(PROMPT * SAMPLE_RATE)
    parts = {"prompt": (whole[:cut], "the cat"), "whole": (whole, "the cat sleeps <b>well</b>")}
    rows = [
        {
            "item": f"{id}|{part}",
            "id": id,
            "part": part,
            "voice": "v",
            "text": f"{id} {text}",
            "words": [],
            "phones": [],
        }
        | {"seconds": len(audio) / SAMPLE_RATE, "audio": encode_flac(audio)}
        for id in ids
        for part, (audio, text) in parts.items()
    ]
    write_table(folder / "prompts.parquet", rows, PROMPTS)
    judged = [_judged("reference", "true", id, -1, -1) for id in ids]
    for number, rung in enumerate(rungs):
        keys = [(id, seed, sample) for id in ids for seed, sample in ((-1, -1), (3, 0), (3, 1), (4, 0))]
        said = [
            {"id": id, "seed": seed, "sample": sample, "transcript": f"{rung} {id} {seed} {sample}", "direct": ""}
            for id, seed, sample in keys
        ]
        write_table(folder / rung / "transcripts.parquet", [row | {"seconds": 0.3} for row in said], TRANSCRIPTS)
        judged += [_judged(rung, "transcript", *key) for key in keys]
        about = []
        for id in ids[:examples]:
            name = id.replace(" ", "_")
            path = folder / rung / "examples" / f"{name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio = [whole[:cut], np.zeros(PAUSE, np.float32), tone(0.3 + number / 10)]
            path.write_bytes(encode_flac(np.concatenate(audio)))
            about.append({"name": name, "prompt": f"{id} the cat", "transcript": ""})
        write_json(folder / rung / "examples" / "transcripts.json", about)
    write_table(folder / "judged.parquet", judged, JUDGED)
    heard = [{"path": "natural", "id": id, "reference": "sleeps well", "transcript": "sleep well"} for id in ids]
    write_table(folder / "reference.parquet", heard, REFERENCE)


def _judged(rung: str, path: str, id: str, seed: int, sample: int) -> dict[str, object]:
    return {"rung": rung, "path": path, "id": id, "seed": seed, "sample": sample, "nll": 4.0, "words": 2, "tokens": 3}
