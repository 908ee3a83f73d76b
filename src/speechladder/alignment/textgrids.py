"""Alignments that exist already: TextGrids in a folder, a .zip or a .tar, such as those of LibriSpeech-Alignments."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from speechladder.alignment.aligners import Aligned, Answer, unheeded
from speechladder.alignment.pocketsphinx import AlignmentError
from speechladder.alignment.textgrid import believed, parse_textgrid
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut
from speechladder.fetch.archives import open_store
from speechladder.io.errors import UserError

SUFFIX = ".textgrid"  # whatever the case
CONDENSED = ".alignment.txt"


class TextGrids:
    """TextGrids by utterance. `path`: as io.archives.open_store takes it; `ids`: those of the utterances to come.

    The file of an utterance has its id as name, or, where the id holds slashes, its last part; where several have
    that name, the id as the end of the path decides. Raises UserError where the archive holds no TextGrid at all.
    """

    name = "textgrids"

    def __init__(self, path: str | Path, ids: Iterable[str]) -> None:
        self.path, self._store = Path(path), open_store(path)
        wanted = {_last(name) for name in ids}
        self._files: dict[str, list[str]] = {}
        seen = condensed = 0
        for file in self._store.names():
            base = _last(file)
            condensed += base.endswith(CONDENSED)
            if base.lower().endswith(SUFFIX) and not base.startswith("._"):  # those of a Mac's archiver hold no text
                seen += 1
                if (stem := base[: -len(SUFFIX)]) in wanted:
                    self._files.setdefault(stem, []).append(file)
        if not seen:
            self._store.close()
            hint = f"expected .../ID{SUFFIX} (any case) with tiers words and phones"
            if condensed:
                hint = (
                    f"its {condensed:,} *{CONDENSED} (condensed alignments) have words alone, and the phone rungs need "
                    "phones; take the archive with the TextGrids"
                )
            raise UserError(f"alignment.textgrids: {path} holds no TextGrid; {hint}")

    def __enter__(self) -> "TextGrids":
        return self

    def __exit__(self, *error: object) -> None:
        self._store.close()

    def find(self, utterance: str) -> str:
        """The file of an utterance; raises AlignmentError where there is none, or more than one."""
        found = self._files.get(_last(utterance), [])
        whole = [file for file in found if f"/{file[: -len(SUFFIX)]}".endswith(f"/{utterance}")]
        found = whole or found
        if not found:
            raise AlignmentError("no TextGrid")
        if len(found) > 1:
            raise AlignmentError(f"ambiguous: {len(found)} TextGrids of this name: {found[0]}, {found[1]}")
        return found[0]

    def align(self, cut: Cut) -> Aligned:
        """What the cut's TextGrid says; raises AlignmentError with the reason why it cannot be used."""
        file = self.find(cut.id)
        seconds = round(cut.duration * SAMPLE_RATE) / SAMPLE_RATE
        try:
            words, phones = parse_textgrid(self._store.read(file), file)
        except UserError as error:
            raise AlignmentError(f"unreadable TextGrid: {error}") from None
        return Aligned(*believed(words, phones, cut.text.split(), seconds), seconds)

    def align_all(self, cuts: Iterable[Cut], advance: Callable[[float], None] = unheeded) -> Iterator[Answer]:
        """(id, alignment or the reason why there is none) of each cut in order; the audio is not read."""
        for cut in cuts:
            try:
                answer: Aligned | AlignmentError = self.align(cut)
            except AlignmentError as error:
                answer = error
            advance(cut.duration)
            yield cut.id, answer


def _last(path: str) -> str:
    return path.rpartition("/")[2]
