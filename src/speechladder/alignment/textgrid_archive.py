"""Alignments that exist already: TextGrids in a folder, a .zip or a .tar, such as the LibriSpeech alignments.

(https://github.com/CorentinJ/librispeech-alignments)
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from speechladder.alignment.base import Aligned, AlignmentError, Answer
from speechladder.alignment.textgrid import read_alignment
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut
from speechladder.fetch.archives import open_store
from speechladder.io.errors import UserError
from speechladder.io.progress import no_progress
from speechladder.io.rejects import found_instead

SUFFIX = ".textgrid"  # whatever the case
CONDENSED = ".alignment.txt"
NONE = "no TextGrid"


class TextGridArchive:
    """The TextGrids of utterances.

    `path`: a folder or an archive, as fetch.archives.open_store takes it. `ids`: the ids of the utterances. The file of
    an utterance is named after its id, or after the last part of an id with slashes. If several files have that name,
    the one whose path ends with the whole id is taken, or else the one that shares most folders with the id. Raises
    UserError if the archive holds no TextGrid at all.
    """

    name = "textgrids"

    def __init__(self, path: str | Path, ids: Iterable[str]) -> None:
        self.path, self._store = Path(path), open_store(path)
        self._ids: dict[str, list[str]] = defaultdict(list)
        for name in ids:
            self._ids[_last(name)].append(name)
        self._files: dict[str, list[str]] = {}
        seen = condensed = 0
        for file in self._store.names():
            condensed += file.endswith(CONDENSED)
            if stem := _stem(file):
                seen += 1
                if stem in self._ids:
                    self._files.setdefault(stem, []).append(file)
        # members that are not among the store's files, in an archive with / or with \
        rows = ((_stem(row["id"].replace("\\", "/")), row) for row in self._store.rejects.rows)
        self._left_out = {stem: row for stem, row in rows if stem}
        if not seen:
            self._store.close()
            raise UserError(f"alignment.textgrids: {path} holds no TextGrid{self._instead(condensed)}")

    def _instead(self, condensed: int) -> str:
        """What an archive without a TextGrid holds, and what to do."""
        if self._left_out:
            reasons = Counter(row["reason"] for row in self._left_out.values())
            counts = ", ".join(f"{count:,} left out ({reason})" for reason, count in reasons.items())
            first = next(iter(self._left_out.values()))["id"]
            return f" that can be read: {counts}, the first is {first}; unpack it and name the folder"
        if condensed:
            return (
                f"; its {condensed:,} *{CONDENSED} (condensed alignments) have words alone, but the phone rungs need "
                "phones; take the archive with the TextGrids"
            )
        held = found_instead(self._store.names(), self._store.rejects.rows)
        return f"{held}; expected .../ID{SUFFIX} (any case) with tiers words and phones"

    def __enter__(self) -> "TextGridArchive":
        return self

    def __exit__(self, *error: object) -> None:
        self._store.close()

    def find(self, utterance: str) -> str:
        """The file of an utterance; raises AlignmentError if there is none, or more than one."""
        found = self._files.get(_last(utterance), [])
        whole = [file for file in found if f"/{file[: -len(SUFFIX)]}".endswith(f"/{utterance}")]
        most = max((_shared(file, utterance) for file in found), default=0)
        found = whole or [file for file in found if _shared(file, utterance) == most]
        if not found:
            left_out = self._left_out.get(_last(utterance))
            raise AlignmentError(
                f"no TextGrid: {left_out['id']} is left out ({left_out['reason']})" if left_out else NONE
            )
        if len(found) > 1:
            raise AlignmentError(f"ambiguous: {len(found)} TextGrids of this name: {found[0]}, {found[1]}")
        if not whole and (rival := self._rival(found[0], utterance)):
            raise AlignmentError(f"ambiguous: {found[0]} may as well be that of {rival}")
        return found[0]

    def _rival(self, file: str, utterance: str) -> str | None:
        """Another utterance of the same name that shares as many folders with a file."""
        shared = _shared(file, utterance)
        others = (name for name in self._ids[_last(utterance)] if name != utterance)
        return next((name for name in others if _shared(file, name) >= shared), None)

    def align(self, cut: Cut) -> Aligned:
        """The alignment in the cut's TextGrid; raises AlignmentError with the reason if it cannot be used."""
        file = self.find(cut.id)
        seconds = round(cut.duration * SAMPLE_RATE) / SAMPLE_RATE
        try:
            content = self._store.read(file)
        except UserError as error:
            raise AlignmentError(f"unreadable TextGrid: {error}") from None
        return read_alignment(content, file, cut.text.split(), seconds)

    def align_all(self, cuts: Iterable[Cut], advance: Callable[[float], None] = no_progress) -> Iterator[Answer]:
        """Yield (id, alignment or the reason why there is none) for each cut in order. The audio is not read."""
        for cut in cuts:
            try:
                answer: Aligned | AlignmentError = self.align(cut)
            except AlignmentError as error:
                answer = error
            advance(cut.duration)
            yield cut.id, answer


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _shared(file: str, utterance: str) -> int:
    """How many folders of an id are among the folders of a file."""
    return len({*utterance.split("/")[:-1]} & {*file.split("/")[:-1]})


def _stem(path: str) -> str:
    """The name of a TextGrid without its suffix; '' for another file, such as macOS's ._NAME.TextGrid."""
    base = _last(path)
    return base[: -len(SUFFIX)] if base.lower().endswith(SUFFIX) and not base.startswith("._") else ""
