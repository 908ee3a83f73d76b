"""Alignments that exist already: the TextGrid of an utterance, and the reasons why one cannot be used."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import soundfile
import soxr

from speechladder.alignment.base import Aligned, AlignmentError
from speechladder.alignment.textgrid_archive import TextGridArchive
from speechladder.corpora.cuts import Cut
from speechladder.corpora.speak import speak, voices
from speechladder.corpora.text import normalise
from speechladder.corpora.world import documents
from speechladder.io.audio import audio_info
from speechladder.io.errors import UserError
from speechladder.io.spans import Span
from tests.textgrids import write_textgrid

PHONES = [Span("DH", 0.1, 0.2), Span("AH0", 0.2, 0.3), Span("K", 0.3, 0.5), Span("AE1", 0.5, 0.7), Span("T", 0.7, 0.9)]
WORDS = [Span("the", 0.1, 0.3), Span("cat", 0.3, 0.9)]


def _cut(name: str, text: str = "the cat", seconds: float = 1.0) -> Cut:
    return Cut(name, "r", "/nowhere.flac", 7.0, seconds, "s", "train", text, text, 16_000, 160_000)


def _grid(words: list[Span] = WORDS, phones: list[Span] = PHONES, seconds: float = 1.0) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_textgrid(Path(folder) / "a.TextGrid", words, phones, seconds)
        return (Path(folder) / "a.TextGrid").read_bytes()


def _folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def _answers(path: Path, *cuts: Cut) -> dict[str, Aligned | Exception]:
    with TextGridArchive(path, [cut.id for cut in cuts]) as known:
        return dict(known.align_all(cuts))


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_the_layout_of_librispeech_alignments(kind: str, tmp_path: Path) -> None:
    name = "LibriSpeech/train-clean-100/103/1240/103-1240-0000.TextGrid"
    files = {name: _grid(), f"__MACOSX/._{name.rpartition('/')[2]}": b"\0\5\26\7", "README.md": b"x"}
    make = {"folder": lambda: _folder(tmp_path / "x", files), "zip": lambda: _zip(tmp_path / "x.zip", files)}
    path = make.get(kind, lambda: _tar(tmp_path / "x.tar", files))()
    found = _answers(path, _cut("103-1240-0000"), _cut("103-1240-0001"))
    answer = found["103-1240-0000"]
    assert isinstance(answer, Aligned) and answer.words == WORDS and answer.seconds == 1.0
    assert [p.label for p in answer.phones] == ["SIL", "DH", "AH0", "K", "AE1", "T", "SIL"]
    assert answer.phones[0].start == 0 and answer.phones[-1].end == 1.0
    assert str(found["103-1240-0001"]) == "no TextGrid"


def test_ids_with_slashes(tmp_path: Path) -> None:
    other = [Span("a", 0.1, 0.9)], [Span("AH0", 0.1, 0.9)]
    files = {
        "medium/100/book one/file_1.TextGrid": _grid(),
        "medium/100/book two/file_1.TextGrid": _grid(*other),
        "elsewhere/only_2.textgrid": _grid(),
    }
    path = _folder(tmp_path, files)
    found = _answers(
        path,
        _cut("medium/100/book one/file_1"),
        _cut("100/book two/file_1", "a"),
        _cut("small/7/book/only_2"),
        _cut("file_1"),
        _cut("one/file_1"),
    )
    assert isinstance(found["medium/100/book one/file_1"], Aligned)
    assert isinstance(found["100/book two/file_1"], Aligned)
    assert isinstance(found["small/7/book/only_2"], Aligned)  # only one file has this last part
    assert str(found["file_1"]).startswith("ambiguous: 2 TextGrids of this name: medium/100/book one/file_1.TextGrid, ")
    assert str(found["one/file_1"]).startswith("ambiguous")  # the folder 'book one' is not a folder 'one'


def test_folders_beside_those_of_the_audio(tmp_path: Path) -> None:
    names = ("tg/ABA/textgrid/a1", "tg/YBA/textgrid/a1", "tg/p225/001", "tg/p226/001", "tg/s1/c/002", "tg/003")
    path = _folder(tmp_path, {f"{name}.TextGrid": _grid() for name in names})
    ids = ["ABA/wav/a1", "YBA/wav/a1", "wav48/p225/001", "s1/d/002", "s2/c/002", "s1/c/003", "s2/c/003"]
    with TextGridArchive(path, ids) as known:
        found = {name: known.find(name) for name in ids[:3]}
        assert found == {
            "ABA/wav/a1": "tg/ABA/textgrid/a1.TextGrid",
            "YBA/wav/a1": "tg/YBA/textgrid/a1.TextGrid",
            "wav48/p225/001": "tg/p225/001.TextGrid",
        }
        for name, file, rival in (
            ("s1/d/002", "tg/s1/c/002", "s2/c/002"),
            ("s1/c/003", "tg/003", "s2/c/003"),
        ):
            with pytest.raises(AlignmentError, match=f"ambiguous: {file}.TextGrid may as well be that of {rival}"):
                known.find(name)


def test_reasons(tmp_path: Path) -> None:
    last = PHONES[-1]
    files = {
        "broken.TextGrid": _grid()[:400],
        "text.TextGrid": b"no grid",
        "tiers.TextGrid": _grid().replace(b'"phones"', b'"segments"'),
        "unknown.TextGrid": _grid([WORDS[0], Span("<unk>", 0.3, 0.9)], [*PHONES[:2], Span("spn", 0.3, 0.9)]),
        "noise.TextGrid": _grid(WORDS, [*PHONES[:2], Span("spn", 0.3, 0.9)]),
        "fewer.TextGrid": _grid(WORDS[:1], PHONES),
        "more.TextGrid": _grid([*WORDS, Span("sat", 0.9, 0.95)]),
        "other.TextGrid": _grid([WORDS[0], Span("hat", 0.3, 0.9)]),
        "ipa.TextGrid": _grid(WORDS, [*PHONES[:3], Span("\u00e6", 0.5, 0.7), last]),
        "short.TextGrid": _grid(seconds=0.94),
        "long.TextGrid": _grid(seconds=1.2),
        "empty.TextGrid": _grid([], []),
    }
    found = _answers(_folder(tmp_path, files), *(_cut(name.removesuffix(".TextGrid")) for name in files))
    reasons = {name: str(answer) for name, answer in found.items()}
    assert not [name for name, answer in found.items() if isinstance(answer, Aligned)]
    for name in ("broken", "text", "tiers"):
        assert reasons[name].startswith(f"unreadable TextGrid: {name}.TextGrid: "), reasons[name]
    assert reasons["unknown"] == "unknown word: cat"
    assert reasons["noise"] == "unknown word: cat"
    assert reasons["fewer"] == "other words than the transcript: nothing for 'cat', word 2"
    assert reasons["more"] == "other words than the transcript: 'sat' after the last"
    assert reasons["other"] == "other words than the transcript: 'hat' for 'cat', word 2"
    assert reasons["ipa"] == "phones that are not ARPAbet: \u00e6"
    assert reasons["short"] == "ends 0.06 s before the audio's end"
    assert reasons["long"] == "ends 0.20 s after the audio's end"
    assert reasons["empty"] == "nothing in the TextGrid"


def test_ends_and_spellings_are_adapted(tmp_path: Path) -> None:
    late = [*PHONES[:-1], Span("T", 0.7, 1.03)]  # to the end of the TextGrid, which is after the end of the audio
    files = {
        "late.TextGrid": _grid([WORDS[0], Span("CAT", 0.3, 1.03)], late, 1.03),
        "early.TextGrid": _grid(seconds=0.97),
        "marks.TextGrid": _grid([Span("The", 0.1, 0.3), Span("'cat,", 0.3, 0.9)]),
    }
    found = _answers(_folder(tmp_path, files), *(_cut(name.removesuffix(".TextGrid")) for name in files))
    assert found["late"].phones[-1] == Span("T", 0.7, 1.0) and found["late"].words[-1] == Span("cat", 0.3, 1.0)
    assert found["early"].phones[-1] == Span("SIL", 0.9, 1.0) and found["early"].words == WORDS
    assert [w.label for w in found["marks"].words] == ["the", "cat"]


def test_archives_that_cannot_be_used(tmp_path: Path) -> None:
    files = {"103/1240/103-1240.alignment.txt": b'103-1240-0000 ",CHAPTER," "0.4,0.9,14.085"\n'}
    with pytest.raises(UserError, match=r"alignment\.textgrids: .* holds no TextGrid; its 1 \*\.alignment\.txt"):
        TextGridArchive(_zip(tmp_path / "condensed.zip", files), ["103-1240-0000"])
    with pytest.raises(UserError, match=r"holds no TextGrid; it holds 1 of \.wav; expected"):
        TextGridArchive(_folder(tmp_path / "x", {"a.wav": b""}), ["a"])
    with pytest.raises(UserError, match="nothing"):
        TextGridArchive(tmp_path / "nothing", ["a"])


def test_members_that_are_left_out_are_named(tmp_path: Path) -> None:
    """The archive collects why it leaves a member out; the error that follows from it says so."""
    path = tmp_path / "grids.zip"
    locked = {f"grids/{k}.TextGrid": _grid() for k in "abc"}
    _zip(path, locked)
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\1\2", at + 1)) >= 0:
        content[at + 8] |= 1  # encrypted
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"holds no TextGrid that can be read: 3 left out \(encrypted\), the first is grids/a"
    ):
        TextGridArchive(path, ["a"])
    tar = _tar(tmp_path / "x.tar", {"../b.TextGrid": _grid(), "ok/a.TextGrid": _grid()})
    found = _answers(tar, _cut("a"), _cut("b"), _cut("c"))
    assert isinstance(found["a"], Aligned)
    assert str(found["b"]) == "no TextGrid: ../b.TextGrid is left out (leaves the folder)"
    assert str(found["c"]) == "no TextGrid"


def test_every_alignment_of_a_folder_of_recordings(tmp_path: Path) -> None:
    """Recordings at 22,050 Hz whose TextGrids end at the nearest hundredth of a second, as MFA writes them."""
    cuts = []
    for number, document in enumerate(documents(0, 60)):
        name, spoken = f"LJ001-{number:04d}", speak(document.text, voices(3)[number], seed=number)
        path = tmp_path / "wavs" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, soxr.resample(spoken.samples, 16_000, 22_050), 22_050)
        frames, rate = audio_info(path)[:2]
        end = round(frames / rate, 2)
        write_textgrid(tmp_path / "grids" / f"{name}.TextGrid", spoken.words, spoken.phones[:-1], end)
        text = normalise(document.text)
        cuts.append(Cut(name, name, str(path), 0.0, frames / rate, "lj", "train", text, text, rate, frames))
    found = _answers(tmp_path / "grids", *cuts)
    lost = {name: str(answer) for name, answer in found.items() if not isinstance(answer, Aligned)}
    assert len(found) == len(cuts) > 2 and not lost, lost


@pytest.mark.shared
def test_every_alignment_of_ljspeech(shared_data: Path) -> None:
    folder = shared_data / "ljspeech"
    texts = dict(line.split("|", 1) for line in (folder / "metadata.csv").read_text().splitlines())
    cuts = []
    for path in sorted((folder / "wavs").glob("*.wav")):
        frames, rate = audio_info(path)[:2]
        text = normalise(texts[path.stem])
        cuts.append(Cut(path.stem, path.stem, str(path), 0.0, frames / rate, "lj", "train", text, text, rate, frames))
    found = _answers(folder / "TextGrid", *cuts)
    lost = {name: str(answer) for name, answer in found.items() if not isinstance(answer, Aligned)}
    assert len(found) == 18 and not lost, lost
