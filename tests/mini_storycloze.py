"""A miniature of Topic-StoryCloze in its genuine format: STORY_PREFIX_correct.wav and ..._incorrect.wav, and faults."""

import csv
import zipfile
from collections.abc import Iterable
from pathlib import Path

from speechladder.benchmarks.generation import sentences
from speechladder.corpora.speak import speak, voices
from tests.mini_slm21 import wav

FAULTS = ("notes.txt", "tSC.wav", "17_tSC_correct.wav")


def stories(count: int) -> list[tuple[str, str, str]]:
    """(name of the pair, story with its own ending, with another one) of the world."""
    names = ("{n}_tSC", "a-{n}_b_tSC", "8f2c-{n}_tSC")
    return [(names[n % 3].format(n=n), pair.good, pair.bad) for n, pair in enumerate(sentences.topic_pairs(0, count))]


def make(said: Iterable[tuple[str, str, str]], faults: bool = True, speech: bool = True) -> dict[str, bytes]:
    """Files by name. `speech`: False leaves the recordings empty, for tests that read none."""
    files, voice = {}, voices(2)[0]
    for name, good, bad in said:
        for ending, text in (("correct", good), ("incorrect", bad)):
            files[f"{name}_{ending}.wav"] = wav(speak(text, voice, 1).samples) if speech else b""
    if faults:  # no audio, a name that says nothing, a half without its partner
        files |= {name: next(iter(files.values())) for name in FAULTS}
    return files


def texts(said: Iterable[tuple[str, str, str]], path: Path) -> Path:
    """The texts as a table with columns filename and text."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["filename", "text"])
        for name, good, bad in said:
            writer.writerows([[f"{name}_correct.wav", good], [f"{name}_incorrect.wav", bad]])
    return path


def write_storycloze(path: Path, count: int = 4, faults: bool = True) -> list[tuple[str, str, str]]:
    """Make `count` pairs and write them: a .zip or a flat folder, whichever `path` is named. Gives their texts."""
    said = stories(count)
    write(make(said, faults), path)
    return said


def write(files: dict[str, bytes], path: Path) -> Path:
    """As a .zip or a flat folder, whichever `path` is named."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"tSC/{name}", content)
        return path
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path
