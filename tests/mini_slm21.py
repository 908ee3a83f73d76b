"""A miniature of zerospeech's sLM21 in its genuine format: gold tables, recordings by the synthesizer, and faults."""

import csv
import io
import random
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from speechladder.benchmarks.generation import sentences as generated
from speechladder.corpora.speak import pronounce, speak, voices
from speechladder.io.hashing import stable_hash

WORDS = (  # word, non-word, occurrences of the word in LibriSpeech: every band, and both sides of every edge
    *(("brick", "blick", 0), ("garden", "garlen", 1), ("window", "wimdow", 4), ("morning", "morling", 5)),
    *(("water", "wather", 19), ("river", "rimmer", 20), ("silver", "silger", 99), ("letter", "lettom", 100)),
    *(("people", "peeble", 2500), ("summer", "sunter", 0), ("winter", "wunter", 3), ("market", "marpet", 7)),
)
VOICES = ("en-US-Wavenet-A", "en-US-Wavenet-B", "en-US-Wavenet-C", "en-US-Wavenet-D")
LEXICAL = ("filename", "id", "voice", "frequency", "word", "phones", "length", "correct")
SYNTACTIC = ("filename", "id", "voice", "type", "subtype", "transcription", "correct")


@dataclass
class Mini:
    """A miniature: files by name, gold rows by part and split, and what the reader must reject or mention."""

    files: dict[str, bytes] = field(default_factory=dict)
    rows: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)  # pair|voice -> beginning of the reason
    mentioned: dict[str, str] = field(default_factory=dict)


def wav(samples: np.ndarray) -> bytes:
    """(n,) at 16 kHz as a WAV file of 16 bits."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def name_of(*parts: object) -> str:
    """A file name like zerospeech's: 11 random letters and digits."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(random.Random(stable_hash("slm21", *parts)).choices(letters, k=11))


def make(
    splits: Sequence[str] = ("dev", "test"),
    words: Iterable[tuple[str, str, int]] = WORDS,
    sentences: int = 8,
    speakers: int = 2,
    speech: bool = True,
    faults: bool = True,
    spelt: bool = True,
) -> Mini:
    """Make a miniature. Without `speech` recordings are empty; without `spelt` non-words have no letters."""
    mini, words = Mini(), list(words)
    pool = voices(2)
    for split in splits:
        for part in ("lexical", "syntactic"):
            rows = mini.rows[part, split] = []
            for place, said in _lexical(words, spelt) if part == "lexical" else _syntactic(sentences):
                for number, voice in enumerate(VOICES[:speakers]):
                    for correct, (text, cells) in ((1, said[0]), (0, said[1])):
                        name = name_of(part, split, *place.values(), voice, correct)
                        every = {"filename": name, "voice": voice, "correct": str(correct)}
                        rows.append(every | place | cells)
                        spoken = wav(speak(text, pool[number % len(pool)], 1).samples) if speech else b""
                        mini.files[f"{part}/{split}/{name}.wav"] = spoken
            rows.sort(key=lambda row: (row["voice"], row["correct"] == "0", row.get("type", ""), int(row["id"])))
    if faults:
        _spoil(mini, splits[0])
    for (part, split), rows in mini.rows.items():
        mini.files[f"{part}/{split}/gold.csv"] = table(rows, LEXICAL if part == "lexical" else SYNTACTIC)
    return mini


def _lexical(words, spelt):
    for number, (word, other, frequency) in enumerate(words, 1):
        phones = pronounce(word)
        shared = {"length": str(len(phones))}
        good = {"word": word, "phones": " ".join(phones), "frequency": str(frequency)} | shared
        bad = {"word": other if spelt else "", "phones": " ".join(pronounce(other)), "frequency": ""} | shared
        yield {"id": str(number)}, ((word, good), (other, bad))


def _syntactic(sentences):
    counts: dict[str, int] = {}
    for number, pair in enumerate(generated.sblimp_pairs(0, sentences)):
        subtype = f"{pair.type}_{number % 2}"
        counts[subtype] = counts.get(subtype, 0) + 1  # ids are unique within type and subtype only
        place = {"id": str(counts[subtype]), "type": pair.type, "subtype": subtype}
        halves = ((text, {"transcription": text.capitalize() + "."}) for text in (pair.good, pair.bad))
        yield place, tuple(halves)


def _spoil(mini: Mini, split: str) -> None:
    """Add faults to the lexical part of a split, in its first voice, each to one of the last pairs."""
    rows, voice = mini.rows["lexical", split], VOICES[0]
    folder = f"lexical/{split}"

    def row(back: int, correct: str) -> dict[str, str]:
        last = max(int(r["id"]) for r in rows)
        return next(r for r in rows if r["id"] == str(last - back) and r["voice"] == voice and r["correct"] == correct)

    def reject(back: int, reason: str, correct: str = "1") -> dict[str, str]:
        found = row(back, correct)
        mini.rejected[f"{split}/{found['id']}|{voice}"] = reason
        return found

    del mini.files[f"{folder}/{reject(0, 'missing recording')['filename']}.wav"]
    mini.files[f"{folder}/{reject(1, 'unreadable audio')['filename']}.wav"] = b"RIFF no wave"
    lost = reject(2, "half missing", "0")
    rows.remove(lost)
    mini.mentioned[lost["filename"]] = "recording without a row"
    reject(3, "unreadable flag")["correct"] = "maybe"
    reject(4, "unknown phone", "0")["phones"] += " QX"
    rows.append(dict(row(5, "1")))
    mini.mentioned[rows[-1]["filename"]] = "duplicate row"


def table(rows: list[dict[str, str]], fields: Sequence[str]) -> bytes:
    """A gold table as CSV."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def write_slm21(path: Path, **options: object) -> Mini:
    """Make a miniature with the options of `make`, and write it as `write` does."""
    mini = make(**options)
    write(mini, path)
    return mini


def write(mini: Mini, path: Path, below: str = "") -> Path:
    """Write a .zip if `path` is named so, else a folder; `below` is a folder inside it."""
    files = {f"{below}{name}": content for name, content in mini.files.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path
