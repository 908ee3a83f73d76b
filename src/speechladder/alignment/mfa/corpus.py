"""A folder as `mfa align` and `mfa train` read it: SPEAKER/NUMBER.flac (or .wav) and NUMBER.lab beside it."""

from pathlib import Path

import numpy as np

from speechladder.alignment.mfa.dictionary import Dictionary
from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import encode_flac

# MFA divides its work by speaker, so a shard with one main speaker would be mostly one job. Speaker adaptation
# (fMLLR) estimates 40 x 41 numbers, for which a few minutes of speech suffice. Ten minutes are enough for adaptation
# and let MFA divide the work.
MAX_SPEAKER_SECONDS = 600.0
LINKED = (".flac", ".wav")


class MFACorpus:
    """Utterances on disk for MFA, and the words that they need.

    Files are numbered, because an id may contain any character. A word with a pronunciation that a request gives is
    written under another name (`own`); the dictionary gets this name, and the answer is mapped back to the word.
    """

    def __init__(self, folder: Path, dictionary: Dictionary) -> None:
        self.folder, self.dictionary = folder, dictionary
        self.own: dict[tuple[str, str], str] = {}  # (word, phones) -> the name that stands for it
        self.words: set[str] = set()
        self.seconds, self.utterances, self.speakers = 0.0, 0, 0
        self._numbered = 0
        self._parts: dict[str, tuple[str, float]] = {}  # speaker -> the MFA speaker that is being filled, its seconds

    def written(self, text: str, pronunciations: dict[str, list[str]] | None) -> list[str]:
        """The words of `text` as the .lab file has them."""
        given = pronunciations or {}
        return [self._own(word, given[word]) if word in given else word for word in text.split()]

    def _own(self, word: str, phones: list[str]) -> str:
        key = (word, " ".join(self.dictionary.adapted(phones)))
        if key not in self.own:
            number, name = len(self.own), ""
            while True:  # letters alone, so that no tokenizer divides it: xqaaaa, xqaaab, ...
                name = "xq" + "".join(chr(97 + number // 26**k % 26) for k in (3, 2, 1, 0))
                if name not in self.dictionary:
                    break
                number += 1
            self.own[key] = name
            self.dictionary.entries[name] = [key[1]]
        return self.own[key]

    def add(self, speaker: str, samples: np.ndarray, words: list[str], source: str | None = None) -> str:
        """Write an utterance: a link to its file `source`, or else `samples` (n,) at 16 kHz as 16-bit FLAC.

        Returns its path below the folder without suffix; its TextGrid has the same path below MFA's output.
        """
        seconds = len(samples) / SAMPLE_RATE
        stem = f"{self._part(speaker, seconds)}/u{self._numbered:08d}"
        self._numbered += 1
        self.utterances += 1
        self.seconds += seconds
        path = self.folder / stem
        if source and Path(source).suffix.lower() in LINKED:
            path.with_suffix(Path(source).suffix.lower()).symlink_to(Path(source).resolve())
        else:
            path.with_suffix(".flac").write_bytes(encode_flac(samples))
        path.with_suffix(".lab").write_text(" ".join(words) + "\n", encoding="utf-8")
        self.words.update(words)
        return stem

    def remove(self, stem: str, seconds: float) -> None:
        """Remove an utterance."""
        self.utterances -= 1
        self.seconds -= seconds
        for suffix in (*LINKED, ".lab"):
            (self.folder / stem).with_suffix(suffix).unlink(missing_ok=True)

    def _part(self, speaker: str, seconds: float) -> str:
        """The MFA speaker that these seconds of `speaker` go to: a new one if the last is full."""
        name, filled = self._parts.get(speaker, ("", 0.0))
        if not name or filled + seconds > MAX_SPEAKER_SECONDS:
            name, filled = f"s{self.speakers:06d}", 0.0
            self.speakers += 1
            (self.folder / name).mkdir(parents=True)
        self._parts[speaker] = name, filled + seconds
        return name

    def __str__(self) -> str:
        return f"{self.utterances:,} utterances, {self.seconds / 3600:.2f} h, {self.speakers:,} speakers"
