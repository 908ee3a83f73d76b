"""Files and folders on disk that a run reads: each must hold something of its kind, which shows before any job."""

import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.corpora.folders import AUDIO, TRANSCRIPT
from speechladder.fetch.members import explain_errors
from speechladder.io.errors import UserError
from speechladder.io.files import is_left_alone
from speechladder.io.rejects import found_instead
from speechladder.settings import CORPORA, Settings
from speechladder.workflow.sources import LINKS, PACKED, TAR, UNPACKED, ZIP, place, readable, roots, used

# Field: the ends of names of which a folder or a zip must hold one, and what the field expects.
_EXPECTED = {
    "benchmarks.slm21": (("gold.csv",), "lexical/dev/gold.csv and the like, as zerospeech publishes sLM21"),
    "benchmarks.storycloze": ((".wav", ".flac"), "STORY_PREFIX_correct.wav and STORY_PREFIX_incorrect.wav"),
    "alignment.textgrids": ((".textgrid",), "ID.TextGrid with the tiers words and phones"),
}
_SPEECH = {
    "librispeech": ((TRANSCRIPT,), f"speaker/chapter/*{TRANSCRIPT} beside its audio"),
    "libriheavy": (AUDIO, "audio"),
    "local": ((TRANSCRIPT,), f"speaker/chapter/*{TRANSCRIPT} beside its audio"),
}


def check_contents(settings: Settings) -> None:
    """Raise UserError that names the field if a folder or zip holds nothing of its kind, or if a file is a folder or
    empty. What is still to be fetched passes."""
    corpus = settings.corpus
    for name, field in used(settings):
        if not (found := place(settings, name, field)).startswith(LINKS):
            _check_archive(field, Path(found))
    if corpus.name == "local":
        _check_folder("corpus.path", Path(str(corpus.path)), *_SPEECH["local"])
    elif corpus.name in CORPORA:
        for root in roots(settings):
            if not root.startswith(UNPACKED):
                _check_folder("corpus.source", Path(root), *_SPEECH[corpus.name])
    for field, expected in _EXPECTED.items():
        section, _, name = field.partition(".")
        given = getattr(getattr(settings, section), name)
        if given and not (found := readable(settings, given, field)).startswith((LINKS, UNPACKED)):
            _check_folder(field, Path(found), *expected)
    for field, path in _files(settings):
        _check_file(field, Path(path))


def _files(settings: Settings) -> Iterator[tuple[str, str]]:
    """The files on disk that the run reads, each with its field."""
    for task in TASKS:
        yield from ((f"benchmarks.{task}", path) for path in TASKS[task].pairs_files(settings.benchmarks))
    named = [("benchmarks.storycloze_text", settings.benchmarks.storycloze_text)]
    named += [("corpus.manifests", name) for name in settings.corpus.manifests if settings.corpus.name in CORPORA]
    for field, name in named:
        if name and not (found := place(settings, name, field)).startswith(LINKS):
            yield field, found


def _check_folder(field: str, path: Path, ends: tuple[str, ...], expected: str) -> None:
    if not path.is_dir() and not path.name.endswith(ZIP):
        return  # a tar, whose listing takes minutes
    names = []
    for name in _names(path):
        if name.lower().endswith(ends):
            return
        names.append(name)
    what = "is empty" if path.is_dir() and not any(path.iterdir()) else f"holds no {' or '.join(ends)}"
    raise UserError(f"{field}: {path} {what}{found_instead(names, ())}; expected {expected}")


def _check_archive(field: str, path: Path) -> None:
    """Raise UserError for a file named as an archive that does not begin as one, or for a zip without its end."""
    if not path.is_file() or not path.name.endswith((TAR, ZIP, *PACKED)):
        return
    if not (zipfile.is_zipfile if path.name.endswith(ZIP) else tarfile.is_tarfile)(path):
        raise UserError(f"{field}: {path} is not an archive, or not a whole one; fetch it again, or name another")


def _names(path: Path) -> Iterator[str]:
    """The names of the files of a folder or zip that are not left alone, one after another, so that a look may end."""
    if path.is_dir():
        seen = {os.path.realpath(path)}  # links may lead in a circle
        for folder, folders, names in os.walk(path, followlinks=True):
            below = {os.path.realpath(Path(folder, name)): name for name in folders if not is_left_alone(name)}
            folders[:] = [name for real, name in below.items() if real not in seen]
            seen |= below.keys()
            yield from (name for name in names if not is_left_alone(name))
    else:
        with explain_errors(path), zipfile.ZipFile(path) as archive:
            names = (name.rpartition("/")[2] for name in archive.namelist() if not name.endswith("/"))
            yield from (name for name in names if not is_left_alone(name))


def _check_file(field: str, path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{field}: {path} is a folder; name a file in it")
    if not path.stat().st_size:
        raise UserError(f"{field}: {path} is empty; name a file with content")
