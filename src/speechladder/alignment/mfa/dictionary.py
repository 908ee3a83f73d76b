"""Pronunciation dictionaries as MFA reads them: each line has a word, optional probabilities, and phones."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from speechladder.alignment.check import EXAMPLE
from speechladder.alignment.mfa.command import common_options, run_mfa
from speechladder.corpora.phones import ARPABET, VOWELS, is_vowel, strip_stress
from speechladder.io.errors import UserError
from speechladder.io.files import atomic
from speechladder.io.progress import say

FIRST = 30  # words for each process of `mfa g2p` that the model can surely pronounce
NO_SPEECH = {"spn", "sil", "sp"}  # MFA's phones for noises and unknown words, in lines such as "<unk> spn"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_MFA_NUMBER = re.compile(r"\d+\.\d+|1")  # as MFA reads one; it takes any other for a phone
_PHONES = {*ARPABET, *(f"{vowel}{digit}" for vowel in VOWELS for digit in "012")}


def split_line(line: str) -> tuple[str, str, list[str]]:
    """(word, probabilities, phones) of a line. The word is in lower case, ARPAbet phones are in upper case.

    The probabilities are decimal numbers, as MFA reads them.

    >>> split_line("hello\\t0.9\\t1e-05\\tHH AH0 L OW1")
    ('hello', '0.9\\t0.00001', ['HH', 'AH0', 'L', 'OW1'])
    """
    word, _, rest = line.strip().partition("\t") if "\t" in line.strip() else line.strip().partition(" ")
    parts = rest.partition(" #")[0].split()  # CMUdict has comments
    count = next((k for k, part in enumerate(parts) if not _NUMBER.fullmatch(part)), len(parts))
    phones = [p if p in NO_SPEECH else p.upper() if p.upper() in _PHONES else p for p in parts[count:]]
    return re.sub(r"\(\d+\)$", "", word.strip()).lower(), "\t".join(map(_decimal, parts[:count])), phones


def _numbers_problem(probabilities: str) -> str | None:
    """Why MFA cannot use the numbers of a line: a pronunciation's probability, that of silence, two corrections."""
    numbers = [float(number) for number in probabilities.split("\t") if number]
    if len(numbers) > 4:
        return f"{len(numbers)} numbers before the phones; MFA reads at most 4"
    if min(numbers, default=0) < 0 or max(numbers[:2], default=0) > 1 or numbers[1:2] == [1]:
        shown = probabilities.replace("\t", " ")
        return f"'{shown}' before the phones; the first two numbers are probabilities, from 0 to 1; leave others out"
    return None


def _decimal(number: str) -> str:
    return number if _MFA_NUMBER.fullmatch(number) else np.format_float_positional(float(number), trim="0")


class Dictionary:
    """The lines of each word, in order: word -> ['PROBABILITIES\\tPHONES' or 'PHONES', ...]."""

    def __init__(self) -> None:
        self.entries: dict[str, list[str]] = {}

    def __contains__(self, word: str) -> bool:
        return word in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def stressed(self) -> bool:
        """Whether its vowels have stress digits; its acoustic model has the same phones."""
        for lines in self.entries.values():
            for phone in lines[0].split("\t")[-1].split():
                if is_vowel(phone):
                    return phone[-1] in "012"
        return True

    def add(self, word: str, phones: Iterable[str], probabilities: str = "") -> None:
        """Add a pronunciation, unless the word has one with the same phones."""
        line = " ".join(phones)
        known = self.entries.setdefault(word, [])
        if line not in (other.split("\t")[-1] for other in known):
            known.append(f"{probabilities}\t{line}" if probabilities else line)

    def adapted(self, phones: Iterable[str]) -> list[str]:
        """Phones as this dictionary writes them.

        Stress digits are removed if the dictionary has none. If it has them, vowels without a digit get one: 1 for the
        first, 0 for the others.
        """
        if not self.stressed:
            return [strip_stress(p) for p in phones]
        out, stress = [], "1"
        for phone in phones:
            if is_vowel(phone):
                phone = phone if phone[-1] in "012" else phone + stress
                stress = "0"
            out.append(phone)
        return out

    def write(self, path: str | Path, words: Iterable[str] | None = None) -> None:
        """Write the dictionary, or the lines of `words` alone, sorted and atomically."""
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as out:
            for word in sorted(self.entries if words is None else words):
                out.writelines(f"{word}\t{line}\n" for line in self.entries[word])


def read_dictionary(path: str | Path, field: str, called: str | None = None) -> Dictionary:
    """Read a .dict or a lexicon.

    Raises UserError with `field`, the file (by the name `called`) and the line if a line has no phones, if phones are
    not ARPAbet, if MFA cannot use its probabilities, or if the file is empty or cannot be read.
    """
    out, foreign, called = Dictionary(), {}, called or str(path)
    for number, line in _lines(Path(path), field):
        word, probabilities, phones = split_line(line)
        if not phones:
            raise UserError(f"{field}: {called}, line {number}: '{word}' has no phones; expected WORD and its phones")
        if problem := _numbers_problem(probabilities):
            raise UserError(f"{field}: {called}, line {number}: {problem}")
        if " " in word:  # no text has such a word, and MFA would read its second half as a phone
            continue
        for phone in phones:
            if phone not in _PHONES and phone not in NO_SPEECH:
                foreign.setdefault(phone, number)
        out.add(word, phones, probabilities)
    if foreign:
        line = next(iter(foreign.values()))
        raise UserError(
            f"{field}: {called} is not written in ARPAbet: {' '.join(list(foreign)[:8])} (line {line}); the phone "
            f"rungs need ARPAbet; take {EXAMPLE}, which has it (english_mfa is written in IPA)"
        )
    if not out.entries:
        raise UserError(f"{field}: {called} is empty; expected a word and its phones on each line")
    return out


def _lines(path: Path, field: str) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not line.startswith(";;;"):  # a comment of CMUdict
                    yield number, line
    except FileNotFoundError:
        raise UserError(f"{field}: {path}: no such file") from None
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{field}: {path}, line {number + 1}: not readable as text ({error})") from None


def pronounce_all(words: Iterable[str], model: Path, work: Path, jobs: int, known: Dictionary) -> dict[str, list[str]]:
    """The likeliest phones of each word by `mfa g2p`, without the words that the model cannot pronounce.

    `known` words are asked first: MFA 3.4 fails if the first answer of its model is empty. Its processes may answer out
    of order, so there are some for each. Raises UserError if the command fails or the model's phones are not ARPAbet.
    """
    asked = sorted(set(words))
    plain = (word for word in known.entries if re.fullmatch("[a-z]{3,}", word) and re.search("[aeiou]", word))
    first = list(islice(plain, FIRST * jobs))
    listed, out = work / "words.txt", work / "g2p.dict"
    listed.write_text("".join(f"{word}\n" for word in [*first, *asked]), encoding="utf-8")
    say(f"mfa g2p: {len(asked):,} words, {jobs} jobs")
    root = work / "root"
    options = ["--num_pronunciations", 1, *common_options(root / "temporary", jobs)]
    run_mfa(["g2p", listed, model.resolve(), out, *options], root)
    found = read_dictionary(out, "alignment.mfa_g2p").entries if out.is_file() and out.stat().st_size else {}
    wanted = set(asked)
    return {word: lines[0].split("\t")[-1].split() for word, lines in found.items() if word in wanted}
