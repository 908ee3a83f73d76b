"""Where the archives, manifests and audio of a run are: on disk, or made by the rules download and unpack_archive.

Fetched and unpacked files are kept in downloads.folder. Snakemake sees links to them below results/, and removes only
those before it runs a job again.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from speechladder.fetch.checksums import expected_checks, read_record
from speechladder.fetch.download import SCHEMES, downloads_folder, local_path
from speechladder.fetch.transfer import safe_url
from speechladder.io.errors import UserError, suggestion
from speechladder.io.files import is_left_alone
from speechladder.settings import CORPORA, Download, Settings
from speechladder.workflow.paths import as_input

LINKS, UNPACKED, INDEX = "results/downloads", "results/unpacked", "results/corpus/index"
TAR, ZIP = ".tar", ".zip"
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
SUBSETS = {  # names of the folders of each corpus's subsets
    "librispeech": re.compile(r"(train|dev|test)-[\w-]+"),
    "libriheavy": re.compile(r"small|medium|large|duplicate"),
}


class _Audio(NamedTuple):
    """Where the audio of a subset is: in a folder on disk, in a tar, or in a folder that a tar is unpacked to."""

    name: str
    kind: str  # folder, tar, packed
    place: str


def place(settings: Settings, name: str, field: str) -> str:
    """A file that the configuration names, as an input of a rule: where it lies, or where the rule download links it.

    A name under downloads.files is looked for in corpus.source first. Another name is looked for where the command was
    typed, in the working directory, then in corpus.source. Raises UserError that names `field` and the nearest name.
    """
    source = Path(settings.corpus.source) / name if settings.corpus.source else None
    if name not in settings.downloads.files:
        bases = (os.environ.get("PWD", "."), Path.cwd())
        found = next((path for base in bases if (path := Path(base) / Path(name).expanduser()).exists()), None)
        if found:
            return str(found)
    if source and source.exists():
        return as_input(str(source), "corpus.source")
    if name in settings.downloads.files:
        return f"{LINKS}/{name}"
    hint = suggestion(name, settings.downloads.files, 0.5)
    names = ", ".join(settings.downloads.files) or "none"
    raise UserError(
        f"{field}: {name}: no such file or folder, and no name under downloads.files; {hint}names there: {names}"
    )


def readable(settings: Settings, name: str, field: str) -> str:
    """What a stage opens (fetch.archives.open_store): a folder, a .zip or a .tar, or the folder that the rule
    unpack_archive makes of a compressed tar. Raises UserError as `place` does, and for anything else."""
    found = place(settings, name, field)
    if Path(found).is_dir() or name.endswith((ZIP, TAR)):
        return found
    if name.endswith(PACKED):
        return f"{UNPACKED}/{Path(name).name}"
    raise UserError(f"{field}: {name} is neither a folder nor an archive ({', '.join((TAR, *PACKED, ZIP))})")


def tars(settings: Settings) -> dict[str, str]:
    """The corpus's tars that are read in place: name -> file, as `place`."""
    return {audio.name: audio.place for audio in _corpus(settings) if audio.kind == "tar"}


def roots(settings: Settings) -> list[str]:
    """The folders with unpacked audio of the corpus.

    For libriheavy each holds small/, medium/ or large/. For librispeech each is the folder of a subset
    (train-clean-100, whose name gives the split), or holds such folders.
    """
    return list(dict.fromkeys(audio.place for audio in _corpus(settings) if audio.kind != "tar"))


def audio_inputs(settings: Settings) -> list[str]:
    """The tars and unpacked folders that a stage waits for before it reads audio; none for folders on disk."""
    return [audio.place for audio in _corpus(settings) if audio.kind != "folder"]


def unpacked(settings: Settings) -> dict[str, str]:
    """What the rule unpack_archive makes: name of the folder below UNPACKED -> archive, as `place` gives it."""
    packed = (archive.given for archive in _archives(settings) if archive.packed)
    out = {Path(name).name: place(settings, name, "corpus.archives") for name in packed}
    for name, field in _benchmarks(settings):
        if readable(settings, name, field).startswith(UNPACKED):
            out[Path(name).name] = place(settings, name, field)
    return out


def missing(settings: Settings) -> list[str]:
    """The names under downloads.files that the run reads and that must still be fetched."""
    here = (name for name, field in used(settings) if place(settings, name, field) == f"{LINKS}/{name}")
    return [name for name in dict.fromkeys(here) if not (downloads_folder(settings.downloads) / name).exists()]


def content(settings: Settings, name: str) -> str:
    """What identifies a download: its checksums and size, as the configuration gives them.

    If the file exists and fits them, this is what the configuration gave when it was fetched. So a checksum that is
    added later triggers no rerun, and a changed one does.
    """
    wanted = expected_checks(settings.downloads.files[name])
    known = read_record(downloads_folder(settings.downloads) / name) or {}
    return json.dumps(known.get("asked", {}) if wanted.items() <= known.items() else wanted, sort_keys=True)


def pattern(names: list[str] | dict[str, object]) -> str:
    """A wildcard constraint that only these names match."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def check_sources(settings: Settings) -> None:
    """Raise UserError for mistakes in archives, manifests, corpus.source and downloads, before any job runs."""
    folder = downloads_folder(settings.downloads)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"downloads.folder: {folder} is a file; name a folder, which need not be there")
    if folder.resolve().is_relative_to(Path("results").resolve()):
        raise UserError(
            f"downloads.folder: {settings.downloads.folder} lies in results, which goes with a run; name another folder"
        )
    if settings.corpus.source and not Path(settings.corpus.source).is_dir():
        raise UserError(
            f"corpus.source: {settings.corpus.source} is no folder; a single archive goes under corpus.archives"
        )
    for name, field in used(settings):
        if place(settings, name, field) == f"{LINKS}/{name}":
            _check_urls(name, settings.downloads.files[name])
    for name, field in _benchmarks(settings):
        readable(settings, name, field)
    given = [a.given for a in _archives(settings)] + [name for name, _ in _benchmarks(settings)]
    for name in given:
        same = [other for other in dict.fromkeys(given) if Path(other).name == Path(name).name]
        if len(same) > 1:
            raise UserError(
                f"{' and '.join(same)} have one file name; rename one, since they would be unpacked to one place"
            )
    _corpus(settings)


def _check_urls(name: str, wanted: Download) -> None:
    """Raise UserError for addresses that can never give the file."""
    field = f"downloads.files.{name}.urls"
    for url in wanted.urls:
        scheme = url.partition("://")[0]
        if "://" in url and scheme not in SCHEMES:
            raise UserError(
                f"{field}: {safe_url(url)}: {scheme}:// is not fetched; allowed: {', '.join(SCHEMES)}, or a path"
            )
    paths = [local_path(url) for url in wanted.urls]
    if all(path and not path.is_file() for path in paths):
        raise UserError(f"{field}: {', '.join(map(str, paths))}: no such file")


class _Archive(NamedTuple):
    """One of corpus.archives that is read: as given, and whether it is unpacked."""

    given: str
    packed: bool


def _archives(settings: Settings) -> Iterator[_Archive]:
    """The corpus's archives that are needed; those whose subset corpus.source holds unpacked are not."""
    corpus = settings.corpus
    if corpus.name not in CORPORA:
        return
    names = corpus.archives or ([] if _whole_source(settings) else _found_archives(settings))
    for name in names:
        if _subset(settings, name) is None:
            if not name.endswith((TAR, ZIP, *PACKED)):
                known = ", ".join((TAR, *PACKED, ZIP))
                raise UserError(f"corpus.archives: {name} is no archive ({known}); a folder goes under corpus.source")
            # LibriSpeech's transcripts lie beside its audio, and are read as files
            in_place = name.endswith(TAR) and not corpus.unpack and corpus.name == "libriheavy"
            yield _Archive(name, not in_place)


def _corpus(settings: Settings) -> list[_Audio]:
    """Where the audio of a downloaded corpus is. Raises UserError if a part of it is nowhere."""
    if settings.corpus.name not in CORPORA:
        return []
    out = [_Audio(str(path), "folder", str(path)) for path in _folders(settings)]
    for archive in _archives(settings):
        name, found = Path(archive.given).name, place(settings, archive.given, "corpus.archives")
        if Path(found).is_dir():
            raise UserError(f"corpus.archives: {archive.given} is a folder; name it as corpus.source")
        out.append(_Audio(name, "packed", f"{UNPACKED}/{name}") if archive.packed else _Audio(name, "tar", found))
    if not out:
        example = {"librispeech": "train-clean-100/", "libriheavy": "small/ or small.tar"}[settings.corpus.name]
        raise UserError(
            f"corpus.source: {settings.corpus.source} holds no {settings.corpus.name}, such as {example}; "
            "name the archives under corpus.archives, or another folder"
        )
    return out


def _folders(settings: Settings) -> list[Path]:
    """The folders of corpus.source that hold audio of the run."""
    if settings.corpus.archives:
        found = (_subset(settings, name) for name in settings.corpus.archives)
        return list(dict.fromkeys(path for path in found if path))
    return _whole_source(settings)


def _bases(settings: Settings) -> list[Path]:
    """The folders of corpus.source that may hold the subsets' folders."""
    if not settings.corpus.source:
        return []
    source = Path(settings.corpus.source)
    below = {"librispeech": ("", "LibriSpeech"), "libriheavy": ("", "librilight", "download/librilight")}
    return [source / name for name in below[settings.corpus.name] if (source / name).is_dir()]


def _subset(settings: Settings, name: str) -> Path | None:
    """The root of a subset that corpus.source holds unpacked: its folder, or for libriheavy the folder that holds it.

    None if corpus.source does not hold it, or if `name` is a path of its own.
    """
    if name not in settings.downloads.files and Path(name).is_absolute():
        return None
    stem = Path(name).name
    stem = next((stem.removesuffix(end) for end in (TAR, ZIP, *PACKED) if stem.endswith(end)), stem)
    for base in _bases(settings):
        found = base if base.name == stem and not (base / Path(name).name).exists() else base / stem
        if found.is_dir():
            return found if settings.corpus.name == "librispeech" else found.parent
    return None


def _whole_source(settings: Settings) -> list[Path]:
    """Everything that corpus.source holds unpacked, if no archives are named."""
    form = SUBSETS[settings.corpus.name]
    for base in _bases(settings):
        if form.fullmatch(base.name) and not any(not is_left_alone(path.name) for path in base.glob("*.tar*")):
            return [base if settings.corpus.name == "librispeech" else base.parent]
        if any(form.fullmatch(path.name) and path.is_dir() for path in base.iterdir()):
            return [base]
    return []


def _found_archives(settings: Settings) -> list[str]:
    """The archives of corpus.source that have the corpus's own names, if no archives are named."""
    source, form = Path(settings.corpus.source or "."), SUBSETS[settings.corpus.name]
    files = sorted(path.name for path in source.iterdir()) if source.is_dir() else []
    return [name for name in files if name.endswith((TAR, *PACKED)) and form.fullmatch(name.partition(".")[0])]


def _benchmarks(settings: Settings) -> Iterator[tuple[str, str]]:
    """The official benchmarks and alignments that the run reads, each with its field."""
    used = {"benchmarks.slm21": settings.benchmarks.slm21, "benchmarks.storycloze": settings.benchmarks.storycloze}
    used["alignment.textgrids"] = settings.alignment.textgrids
    yield from ((name, field) for field, name in used.items() if name)


def used(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every file that the run reads, each with its field."""
    if settings.corpus.name in CORPORA:
        yield from ((name, "corpus.manifests") for name in settings.corpus.manifests)
        yield from ((archive.given, "corpus.archives") for archive in _archives(settings))
    yield from _benchmarks(settings)
    if settings.benchmarks.storycloze_text:
        yield settings.benchmarks.storycloze_text, "benchmarks.storycloze_text"
    if settings.alignment.aligner == "mfa":
        for field in ("mfa_model", "mfa_dictionary", "mfa_g2p", "lexicon"):
            name = getattr(settings.alignment, field)
            if name in settings.downloads.files:  # other names are pretrained models or files
                yield name, f"alignment.{field}"
