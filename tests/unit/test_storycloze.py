"""Topic-StoryCloze: which recordings form a pair, and which texts and transcripts they have."""

import json

import pytest

from speechladder.benchmarks.storycloze import paired, read_storycloze, read_texts
from speechladder.continuation.stories import asr_name, transcribe_stories
from speechladder.fetch.archives import open_store
from speechladder.io.errors import UserError
from speechladder.io.rejects import Rejects
from speechladder.settings import Continuation
from tests.mini_storycloze import FAULTS, make, stories, texts, write

SAID = stories(3)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A zip with three recorded pairs and faults, and its texts."""
    root = tmp_path_factory.mktemp("story")
    return write(make(SAID), root / "tSC.zip"), texts(SAID, root / "texts.csv")


def test_pairs_and_texts(archive):
    path, table = archive
    rejects = Rejects()
    found = read_storycloze(open_store(path), str(path), table, 0, rejects)
    assert (found.lost, rejects.rows) == (0, [])
    assert {m["id"] for m in rejects.mentions} == {"tSC", "17_tSC_correct"}  # notes.txt is not a recording
    assert {take[0].id for take in found.voiced} == {name for name, *_ in SAID}
    said = {name: rest for name, *rest in SAID}
    for good, bad in found.voiced:
        assert (good.id, good.type, good.voice, good.split) == (bad.id, "tSC", "given", "")
        assert (good.correct, bad.correct, [good.text, bad.text]) == (True, False, said[good.id])
        assert good.official and len(good.read()) > 16_000
    assert found.notes == ["Topic-StoryCloze, 3 pairs", "its texts are those of texts.csv"]


@pytest.mark.parametrize(
    ("names", "pairs", "left"),
    [
        (["1_t_correct", "1_t_incorrect", "1_s_correct", "1_s_incorrect"], ["1_s", "1_t"], []),
        (["a_b-c_t_correct", "a_b-c_t_incorrect"], ["a_b-c_t"], []),
        (["1_x_correct", "1_y_incorrect"], ["1"], []),  # the same story with another prefix
        (["1_x_correct", "1_y_correct"], [], ["1_x_correct", "1_y_correct"]),
        (["1_x_correct", "1_y_incorrect", "1_z_incorrect"], [], ["1_x_correct", "1_y_incorrect", "1_z_incorrect"]),
        (["1_t_correct", "2_t_incorrect"], [], ["1_t_correct", "2_t_incorrect"]),
        (["7_Correct", "7_INCORRECT"], ["7"], []),
        (["right", "correct"], [], ["right", "correct"]),
    ],
)
def test_which_recordings_form_a_pair(names, pairs, left):
    rejects = Rejects()
    found = paired(names, rejects, "x")
    assert list(found) == pairs
    assert sorted(m["id"] for m in rejects.mentions) == sorted(left)
    for good, bad in found.values():
        assert "incorrect" not in good.lower() and "incorrect" in bad.lower()


def test_a_pair_without_a_text_is_rejected(archive, tmp_path):
    path, _ = archive
    table = tmp_path / "texts.jsonl"
    rows = [
        {"filename": f"{name}_{end}.wav", "text": "a story"} for name, *_ in SAID for end in ("correct", "incorrect")
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    rejects = Rejects()
    found = read_storycloze(open_store(path), str(path), table, 0, rejects)
    assert (found.lost, len(found.voiced)) == (1, 2)
    assert rejects.rows[0]["id"] == f"{SAID[0][0]}|given"
    assert rejects.rows[0]["reason"] == f"no text: {SAID[0][0]}_correct"


def test_a_missing_text_is_no_word(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"filename": "1_t_correct.wav", "text": NaN}\n')
    assert read_texts(tmp_path / "t.jsonl") == {"1_t_correct": ""}


def test_a_text_that_cannot_be_spelt_or_read_loses_its_pair_alone(archive, tmp_path):
    path, _ = archive
    texts = {f"{name}_{end}": "a story" for name, *_ in SAID for end in ("correct", "incorrect")}
    names = list(texts)
    texts[names[0]] = "K\u00f8benhavn"
    table = tmp_path / "texts.csv"
    rows = "".join(f"{name},{text}\n" for name, text in texts.items() if name != names[2])
    table.write_bytes(b"filename,text\n" + rows.encode() + f"{names[2]},caf\u00e9\n".encode("cp1252"))
    rejects = Rejects()
    found = read_storycloze(open_store(path), str(path), table, 0, rejects)
    assert (found.lost, len(found.voiced)) == (2, 1)
    assert [row["reason"] for row in rejects.rows] == [
        f"letters that are not English: \u00f8 (U+00F8), in the text of {names[0]}",
        f"no text: {names[2]}",
    ]
    assert [(row["id"], row["reason"][:9]) for row in rejects.mentions if "texts" in row["id"]] == [
        (f"texts.csv, row {len(texts) + 1}", "not UTF-8")
    ]


def test_the_number_of_pairs_is_limited(archive):
    path, table = archive
    assert len(read_storycloze(open_store(path), str(path), table, 2, Rejects()).voiced) == 2


def test_errors_name_the_fault(tmp_path):
    (tmp_path / "texts.csv").write_text("recording,words\na,b\n")
    with pytest.raises(UserError, match=r"texts.csv, row 2: no column 'filename' \(found: recording, words\)"):
        read_texts(tmp_path / "texts.csv")
    (tmp_path / "twice.tsv").write_text("filename\ttext\na.wav\tb\na\tc\n")
    with pytest.raises(UserError, match=r"twice.tsv, row 3: 'a' has another text in an earlier row"):
        read_texts(tmp_path / "twice.tsv")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"none: no .wav or .flac in it; set benchmarks.storycloze"):
        read_storycloze(open_store(tmp_path / "none"), str(tmp_path / "none"), tmp_path / "x.csv", 0, Rejects())
    (tmp_path / "none" / "hello.wav").touch()
    with pytest.raises(UserError, match=r"no recording is named STORY_PREFIX_correct.*found: hello"):
        read_storycloze(open_store(tmp_path / "none"), str(tmp_path / "none"), tmp_path / "x.csv", 0, Rejects())


class LengthRecogniser:
    """Transcribes each recording as its length in tenths of a second."""

    def __init__(self, word: str = "tenths") -> None:
        self.word = word

    def transcribe(self, utterances):
        return [
            f"{round(len(samples) / 1600)} {self.word}" if len(samples) and self.word else "" for samples in utterances
        ]


def test_transcripts_replace_texts(tmp_path, capsys, monkeypatch):
    files = make(SAID[:2], faults=False) | {"9_tSC_correct.wav": b"broken"}
    folder, out = write(files, tmp_path / "tSC"), tmp_path / "transcripts.jsonl"
    monkeypatch.setattr("speechladder.continuation.stories.load_asr", lambda *_: LengthRecogniser())
    transcribe_stories(folder, out, Continuation(asr="whisper", whisper="tiny"))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["filename"] for row in rows] == sorted(name.removesuffix(".wav") for name in files)
    assert {row["asr"] for row in rows} == {"Whisper tiny"}
    assert {"filename": "9_tSC_correct", "text": "", "asr": "Whisper tiny"} in rows
    assert "9_tSC_correct.wav: unreadable audio: Error opening 9_tSC_correct.wav" in capsys.readouterr().err
    found = read_storycloze(open_store(folder), str(folder), out, 0, Rejects(), recogniser=rows[0]["asr"])
    assert len(found.voiced) == 2
    assert found.notes[1] == "its texts were transcribed by Whisper tiny, so text and phone rungs read its transcripts"
    monkeypatch.setattr("speechladder.continuation.stories.load_asr", lambda *_: LengthRecogniser(""))
    with pytest.raises(UserError, match="recognised nothing in 5 recordings"):
        transcribe_stories(folder, tmp_path / "none.jsonl", Continuation())
    assert not (tmp_path / "none.jsonl").exists()


def test_the_recogniser_is_named():
    assert asr_name(Continuation(asr="whisper", whisper="base.en")) == "Whisper base.en"
    assert "PocketSphinx" in asr_name(Continuation())


def test_the_miniature_has_its_faults():
    assert set(FAULTS) <= set(make(SAID[:1], speech=False))
