"""What `mfa align` needs, in one folder: acoustic model, and a dictionary that holds every word of the corpus."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from speechladder.alignment.mfa.check import EXAMPLE, is_name
from speechladder.alignment.mfa.command import run_mfa, version
from speechladder.alignment.mfa.dictionary import Dictionary, pronounce_all, read_dictionary
from speechladder.corpora.cuts import read_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, read_json, work_folder, write_json
from speechladder.io.progress import progress, say

# kind as MFA calls it -> field, name in our folders, its suffix in MFA's
KINDS = {
    "acoustic": ("mfa_model", "acoustic.zip", ".zip"),
    "dictionary": ("mfa_dictionary", "dictionary.dict", ".dict"),
    "g2p": ("mfa_g2p", "g2p.zip", ".zip"),
}


def fetch(out: Path, acoustic: str | None, dictionary: str, g2p: str | None) -> None:
    """Write the folder `out`: acoustic.zip, dictionary.dict, g2p.zip of those that are given, and about.json.

    Each is a file, which is copied, or the name of a pretrained model, which `mfa model download` fetches. Raises
    UserError naming the field where one cannot be had or a dictionary is not ARPAbet.
    """
    with work_folder(out) as work, atomic_folder(out) as folder:
        about: dict[str, Any] = {"mfa": version(work / "root"), "models": {}}
        for kind, given in {"acoustic": acoustic, "dictionary": dictionary, "g2p": g2p}.items():
            if given is not None:
                field, name, _ = KINDS[kind]
                shutil.copyfile(_found(kind, given, work / "root"), folder / name)
                (folder / name).chmod(0o644)
                digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
                about["models"][field] = {"given": given, "sha256": digest}
        read_dictionary(folder / "dictionary.dict", "alignment.mfa_dictionary", called=dictionary)
        write_json(folder / "about.json", about)


def _found(kind: str, given: str, root: Path) -> Path:
    """The file of a model, downloaded where it is a name."""
    field, _, suffix = KINDS[kind]
    if Path(given).is_file():
        return Path(given)
    if not is_name(given):
        raise UserError(f"alignment.{field}: {given}: no such file, nor a pretrained one's name (such as {EXAMPLE})")
    say(f"mfa model download: {kind} {given}")
    try:
        run_mfa(["model", "download", kind, given], root)
    except UserError as error:
        raise UserError(f"alignment.{field}: {given} cannot be downloaded: {error}") from None
    path = root / "pretrained_models" / kind / f"{given}{suffix}"
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.glob("*"))) or "nothing"
        raise UserError(f"alignment.{field}: mfa downloaded {given}, but not to {path.name}; there is {there}")
    return path


def count_words(cuts: Iterable[Path]) -> Counter[str]:
    """How often each word of the corpus is said, all shards and splits together."""
    counts: Counter[str] = Counter()
    with progress("words of the corpus", None, "utterances/s") as meter:
        for path in cuts:
            for cut in read_cuts(path):
                counts.update(cut.text.split())
                meter.advance(1)
    return counts


def prepare(cuts: list[Path], models: Path, lexicon: Path | None, out: Path, jobs: int) -> None:
    """Write the folder `out`: what `fetch` put into `models`, the dictionary made complete for the words of `cuts`.

    A word is looked up in the dictionary and in `lexicon`, whose pronunciations are added to the dictionary's, then
    asked of the G2P model. oov.tsv (word, count) lists those that still have none: their utterances will be rejected.
    about.json counts them all. Raises UserError where a file is not ARPAbet or MFA fails.
    """
    about = read_json(models / "about.json")
    dictionary = read_dictionary(models / "dictionary.dict", "alignment.mfa_dictionary")
    counts: dict[str, Any] = {"dictionary": len(dictionary)}
    if lexicon:
        added = read_dictionary(lexicon, "alignment.lexicon")
        counts["lexicon"] = len(added)
        for word, lines in added.entries.items():
            for line in lines:
                dictionary.add(word, dictionary.fitted(line.split("\t")[-1].split()))
    said = count_words(cuts)
    missing = [word for word in said if word not in dictionary]
    with work_folder(out) as work, atomic_folder(out) as folder:
        spelt: dict[str, list[str]] = {}
        for name in ("acoustic.zip", "g2p.zip"):
            if (models / name).is_file():
                shutil.copyfile(models / name, folder / name)
        if missing and (models / "g2p.zip").is_file():
            spelt = pronounce_all(missing, models / "g2p.zip", work, jobs)
            for word, phones in spelt.items():
                dictionary.add(word, dictionary.fitted(phones))
        unknown = {word: said[word] for word in missing if word not in dictionary}
        dictionary.write(folder / "dictionary.dict")
        _write_oov(folder / "oov.tsv", unknown)
        counts |= {
            "corpus_words": len(said),
            "g2p": len(spelt),
            "without_pronunciation": len(unknown),
            "occurrences": said.total(),
            "occurrences_without_pronunciation": sum(unknown.values()),
        }
        write_json(folder / "about.json", about | {"words": counts})
    say(_summary(counts, dictionary))


def _write_oov(path: Path, unknown: dict[str, int]) -> None:
    rows = sorted(unknown.items(), key=lambda row: (-row[1], row[0]))
    path.write_text("word\tcount\n" + "".join(f"{word}\t{count}\n" for word, count in rows), encoding="utf-8")


def _summary(counts: dict[str, Any], dictionary: Dictionary) -> str:
    lost = counts["occurrences_without_pronunciation"]
    return (
        f"dictionary of {len(dictionary):,} words, {counts['g2p']:,} of them by G2P; "
        f"{counts['without_pronunciation']:,} of the corpus's {counts['corpus_words']:,} words have no pronunciation "
        f"({lost:,} of {counts['occurrences']:,} occurrences; oov.tsv)"
    )
