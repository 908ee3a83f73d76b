"""The folder that `mfa align` needs: an acoustic model, and a dictionary with every word of the corpus."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from speechladder.alignment.check import EXAMPLE, SUFFIXES, is_pretrained_name
from speechladder.alignment.mfa.command import mfa_version, run_mfa
from speechladder.alignment.mfa.dictionary import pronounce_all, read_dictionary
from speechladder.corpora.cuts import read_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, read_json, work_folder, write_json
from speechladder.io.progress import progress, say

KINDS = {"acoustic": "mfa_model", "dictionary": "mfa_dictionary", "g2p": "mfa_g2p"}  # MFA's name -> our setting


def fetch_models(out: Path, dictionary: str, model: str | None = None, g2p: str | None = None) -> None:
    """Collect the Montreal Forced Aligner's models: files are copied, pretrained models are downloaded.

    Writes acoustic.zip, dictionary.dict and g2p.zip, as far as they are given, and about.json. `mfa model download`
    fetches a pretrained model. Raises UserError with the field if a model cannot be found or a dictionary is not
    ARPAbet.

    Args:
        out: alignment/mfa_models, a folder to write
        dictionary: pronunciations in ARPAbet: a .dict, or the name of a pretrained dictionary
        model: acoustic model: a .zip, or the name of a pretrained model; without it a model is trained
        g2p: model for words that the dictionary lacks: a .zip, or the name of a pretrained model
    """
    with work_folder(out) as work, atomic_folder(out) as folder:
        about: dict[str, Any] = {"mfa": mfa_version(work / "root"), "models": {}}
        for kind, given in {"acoustic": model, "dictionary": dictionary, "g2p": g2p}.items():
            if given is not None:
                file = folder / f"{kind}{SUFFIXES[KINDS[kind]]}"
                shutil.copyfile(_found(kind, given, work / "root"), file)
                file.chmod(0o644)
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                about["models"][KINDS[kind]] = {"given": given, "sha256": digest}
        read_dictionary(folder / "dictionary.dict", "alignment.mfa_dictionary", called=dictionary)
        write_json(folder / "about.json", about)


def _found(kind: str, given: str, root: Path) -> Path:
    """The file of a model, downloaded if `given` is the name of a pretrained model."""
    field = KINDS[kind]
    if Path(given).is_file():
        return Path(given)
    if not is_pretrained_name(given):
        raise UserError(
            f"alignment.{field}: {given}: no such file, nor the name of a pretrained model (such as {EXAMPLE})"
        )
    say(f"mfa model download: {kind} {given}")
    try:
        run_mfa(["model", "download", kind, given], root)
    except UserError as error:
        raise UserError(f"alignment.{field}: {given} cannot be downloaded: {error}") from None
    path = root / "pretrained_models" / kind / f"{given}{SUFFIXES[field]}"
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.glob("*"))) or "nothing"
        raise UserError(f"alignment.{field}: mfa downloaded {given}, but not to {path.name}; there is {there}")
    return path


def count_words(cuts: Iterable[Path]) -> Counter[str]:
    """The number of times that each word occurs in the corpus, in all shards and splits together."""
    counts: Counter[str] = Counter()
    with progress("words of the corpus", None, "utterances/s") as meter:
        for path in cuts:
            for cut in read_cuts(path):
                counts.update(cut.text.split())
                meter.advance(1)
    return counts


def prepare_mfa(cuts: list[Path], models: Path, out: Path, lexicon: Path | None = None, jobs: int = 1) -> None:
    """Complete the Montreal Forced Aligner's dictionary for the words of the corpus.

    A word is looked up in the dictionary and in the lexicon, whose pronunciations are added to the dictionary. The G2P
    model is asked for the others. oov.tsv (word, count) lists the words that still have no pronunciation; their
    utterances will be rejected. about.json counts them. Raises UserError if a file is not ARPAbet or MFA fails.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of all shards
        models: alignment/mfa_models, the folder that fetch_mfa made
        out: the folder to write: alignment/mfa, or alignment/mfa_dictionary if a model is to be trained
        lexicon: more pronunciations: on each line a word and its ARPAbet phones
        jobs: processes of MFA
    """
    about = read_json(models / "about.json")
    dictionary = read_dictionary(models / "dictionary.dict", "alignment.mfa_dictionary")
    counts: dict[str, Any] = {"dictionary": len(dictionary)}
    if lexicon:
        added = read_dictionary(lexicon, "alignment.lexicon")
        counts["lexicon"] = len(added)
        for word, lines in added.entries.items():
            for line in lines:
                dictionary.add(word, dictionary.adapted(line.split("\t")[-1].split()))
    spoken = count_words(cuts)
    missing = [word for word in spoken if word not in dictionary]
    with work_folder(out) as work, atomic_folder(out) as folder:
        predicted: dict[str, list[str]] = {}
        for name in ("acoustic.zip", "g2p.zip"):
            if (models / name).is_file():
                shutil.copyfile(models / name, folder / name)
        if missing and (models / "g2p.zip").is_file():
            predicted = pronounce_all(missing, models / "g2p.zip", work, jobs, dictionary)
            for word, phones in predicted.items():
                dictionary.add(word, dictionary.adapted(phones))
        unknown = {word: spoken[word] for word in missing if word not in dictionary}
        dictionary.write(folder / "dictionary.dict")
        rows = sorted(unknown.items(), key=lambda row: (-row[1], row[0]))
        oov = "word\tcount\n" + "".join(f"{word}\t{count}\n" for word, count in rows)
        (folder / "oov.tsv").write_text(oov, encoding="utf-8")
        counts |= {
            "corpus_words": len(spoken),
            "g2p": len(predicted),
            "without_pronunciation": len(unknown),
            "occurrences": spoken.total(),
            "occurrences_without_pronunciation": sum(unknown.values()),
        }
        write_json(folder / "about.json", about | {"words": counts})
    say(
        f"dictionary of {len(dictionary):,} words, {len(predicted):,} of them by G2P; "
        f"{len(unknown):,} of the corpus's {len(spoken):,} words have no pronunciation "
        f"({sum(unknown.values()):,} of {spoken.total():,} occurrences; oov.tsv)"
    )
