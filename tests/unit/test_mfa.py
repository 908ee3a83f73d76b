"""The Montreal Forced Aligner, by a stand-in for its command: its input, and the use of its output."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from speechladder.alignment.aligners import PocketSphinx, load_aligner
from speechladder.alignment.base import Aligned, AlignmentError, Request
from speechladder.alignment.check import check_aligner_files, check_mfa_command
from speechladder.alignment.mfa import aligner as mfa_aligner
from speechladder.alignment.mfa import corpus
from speechladder.alignment.mfa.command import common_options, mfa_version, run_mfa
from speechladder.alignment.mfa.dictionary import Dictionary, pronounce_all, read_dictionary, split_line
from speechladder.alignment.mfa.prepare import fetch_models, prepare_mfa
from speechladder.alignment.mfa.train import draw_training, train_mfa
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.speak import speak, voices
from speechladder.corpora.text import normalise
from speechladder.io.audio import AudioError, encode_flac, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, work_folder
from speechladder.settings import Alignment
from tests import fake_mfa
from tests.textgrids import write_textgrid

RATE = 16_000


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in on PATH; it writes its calls into this file."""
    fake_mfa.install(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("FAKE_MFA_LOG", str(tmp_path / "calls.jsonl"))
    return tmp_path / "calls.jsonl"


@pytest.fixture
def models(log: Path, tmp_path: Path) -> Path:
    """A folder as prepare_mfa makes it, with the dictionary of the stand-in and three more words."""
    folder = tmp_path / "mfa"
    folder.mkdir()
    fake_mfa.write_model(folder / "acoustic.zip", "acoustic")
    more = "cat\tK AE1 T\nred\tR EH1 D\nhat\tHH AE1 T\n"
    (folder / "dictionary.dict").write_text(fake_mfa.DICTIONARY + more)
    return folder


def _samples(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def _request(name: str, text: str, seconds: float = 3.0, speaker: str = "s", **more) -> Request:
    return Request(name, speaker, text, lambda: _samples(seconds), **more)


def _align(models: Path, tmp_path: Path, *requests: Request, jobs: int = 2) -> list[tuple]:
    return list(mfa_aligner.MFA(models, tmp_path / "work", jobs).align_all(requests))


def _cut(folder: Path, name: str, text: str, seconds: float = 2.0, speaker: str = "s", split: str = "train") -> Cut:
    path = folder / f"{name}.flac"
    path.write_bytes(encode_flac(_samples(seconds)))
    count = round(seconds * RATE)
    return Cut(name, name, str(path), 0.0, seconds, speaker, split, text, text, RATE, count)


def test_answers_are_in_order_and_contiguous_and_nothing_is_left(models: Path, log: Path, tmp_path: Path) -> None:
    said = [("a/b, c", "the cat had a red hat"), ("\u00fc 2", "it was not on that"), ("x", "of his cat")]
    told: list[float] = []
    # this duration is neither a multiple of a frame nor of a millionth of a second
    requests = (_request(name, text, 3.0 + 1 / RATE) for name, text in said)
    found = list(mfa_aligner.MFA(models, tmp_path / "work", 2).align_all(requests, told.append))
    assert [name for name, _ in found] == [name for name, _ in said]
    for (_, answer), (_, text) in zip(found, said):
        assert isinstance(answer, Aligned), answer
        assert [w.label for w in answer.words] == text.split()
        assert answer.phones[0].start == 0 and answer.phones[-1].end == answer.seconds == 3.0 + 1 / RATE
        assert all(a.end == b.start for a, b in itertools.pairwise(answer.phones))
    assert [p.label for p in found[2][1].phones] == ["SIL", "AH1", "V", "HH", "IH1", "Z", "K", "AE1", "T", "SIL"]
    assert told == [3.0 + 1 / RATE] * 3
    (call,) = fake_mfa.calls(log)
    assert call["command"] == "align" and call["texts"] == [text for _, text in said]
    assert call["words"] == len({w for _, text in said for w in text.split()})  # only the words of the shard
    assert "home" not in call["root"] and call["root"].startswith(str(tmp_path))
    assert not list((tmp_path / "work").iterdir()) and not Path(call["root"]).exists()


def test_whole_files_are_linked_and_other_windows_written(models: Path, log: Path, tmp_path: Path) -> None:
    path = tmp_path / "whole file.flac"
    path.write_bytes(encode_flac(_samples(2.0)))
    requests = [_request("one", "the cat", 2.0, source=str(path)), _request("two", "the hat", 2.0)]
    assert all(isinstance(answer, Aligned) for _, answer in _align(models, tmp_path, *requests))
    assert fake_mfa.calls(log)[0]["links"] == 1


def test_a_giant_speaker_is_divided_among_the_jobs(
    models: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "MAX_SPEAKER_SECONDS", 5.0)
    requests = [_request(f"u{k}", "the cat", 2.0, "giant" if k % 4 else f"small {k}") for k in range(12)]
    answers = _align(models, tmp_path, *requests, jobs=3)
    assert all(isinstance(answer, Aligned) for _, answer in answers)
    (call,) = fake_mfa.calls(log)
    assert call["jobs"] == 3 and call["longest_speaker"] <= 5.0
    assert call["speakers"] == 3 + 5  # nine utterances of the giant, two in each part


def test_bad_utterances_have_their_reasons(
    models: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> np.ndarray:
        raise AudioError("unreadable audio: x")

    monkeypatch.setenv("FAKE_MFA_LEAVE_OUT", "red")
    monkeypatch.setenv("FAKE_MFA_SPN", "on")
    monkeypatch.setenv("FAKE_MFA_BREAK", "not")
    monkeypatch.setenv("FAKE_MFA_OTHER", "that")
    monkeypatch.setenv("FAKE_MFA_LOSE", "with")
    requests = [
        Request("audio", "s", "the cat", broken),
        Request("silent", "s", "the cat", lambda: np.zeros(RATE, np.float32)),
        _request("empty", ""),
        _request("unknown", "the zyzzyva had a brontosaurus"),
        _request("left out", "the red hat"),
        _request("spn", "it was on the cat"),
        _request("broken", "it was not the cat"),
        _request("other", "was that it"),
        _request("lost", "the cat with it"),
        _request("short", "the cat had a hat", 0.3),
        _request("good", "the cat"),
    ]
    found = dict(_align(models, tmp_path, *requests))
    assert list(found) == [r.id for r in requests]
    assert isinstance(found["audio"], AudioError) and isinstance(found["good"], Aligned)
    reasons = {name: str(answer) for name, answer in found.items() if not isinstance(answer, Aligned)}
    assert reasons["silent"] == "silent" and reasons["empty"] == "empty text"
    assert reasons["unknown"] == "unknown word: zyzzyva, brontosaurus"
    assert reasons["left out"].startswith("not aligned: ") and "Did not successfully decode file" in reasons["left out"]
    assert reasons["short"].startswith("not aligned: ")
    assert reasons["spn"] == "unknown word: on"
    assert reasons["broken"].startswith("unreadable TextGrid: ")
    assert reasons["other"] == "other words than the transcript: 'something' for 'that', word 2"
    # TextGrids of MFA are checked as given ones are
    assert reasons["lost"].startswith("word with a gap: word 3, 'with' from ")
    (call,) = fake_mfa.calls(log)
    assert call["utterances"] == 7 and not any("zyzzyva" in text for text in call["texts"])  # MFA gets no others


def test_mfa_is_not_called_if_nothing_can_be_aligned(models: Path, log: Path, tmp_path: Path) -> None:
    ((_, answer),) = _align(models, tmp_path, _request("u", "zyzzyva"))
    assert isinstance(answer, AlignmentError) and not fake_mfa.calls(log)


def test_pronunciations_of_requests_precede_the_dictionary(models: Path, log: Path, tmp_path: Path) -> None:
    requests = [
        _request("non-word", "blick", pronunciations={"blick": ["B", "L", "IH", "K"]}),
        _request("again", "blick", pronunciations={"blick": ["B", "L", "AY", "K", "IH"]}),
        _request("known", "the cat", pronunciations={"cat": ["K", "AE", "D"]}),
        _request("plain", "the cat"),
    ]
    found = dict(_align(models, tmp_path, *requests))
    phones = {name: " ".join(p.label for p in answer.phones if p.label != "SIL") for name, answer in found.items()}
    # the acoustic model has only vowels with stress
    assert phones == {
        "non-word": "B L IH1 K",
        "again": "B L AY1 K IH0",
        "known": "DH AH0 K AE1 D",
        "plain": "DH AH0 K AE1 T",
    }
    assert [w.label for w in found["non-word"].words] == ["blick"]
    assert [w.label for w in found["known"].words] == ["the", "cat"]


def test_words_of_items_are_asked_of_g2p(models: Path, log: Path, tmp_path: Path) -> None:
    fake_mfa.write_model(models / "g2p.zip", "g2p")
    (models / "oov.tsv").write_text("word\tcount\nhmm\t3\n")
    found = dict(
        _align(models, tmp_path, _request("a", "the zebra"), _request("b", "hmm cat"), _request("c", "pst cat"))
    )
    assert [p.label for p in found["a"].phones][3:-1] == fake_mfa.spell("zebra")
    assert (str(found["b"]), str(found["c"])) == ("unknown word: hmm", "unknown word: pst")
    asked = fake_mfa.calls(log)[0]
    assert asked["command"] == "g2p" and asked["words"][-2:] == ["pst", "zebra"]  # and not those of oov.tsv


def test_failures_say_exit_code_and_log(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_MFA_EXIT", "3")
    with pytest.raises(
        UserError, match=r"mfa align failed with exit code 3(.|\n)*There was an error in the run(.|\n)*own log has"
    ):
        _align(models, tmp_path, _request("u", "the cat"))
    shown = capfd.readouterr().err
    assert "mfa: " in shown and "the reason that MFA's own log has" in shown  # its whole log is in the job's log
    assert "it/s" not in shown
    assert not list((tmp_path / "work").iterdir())
    monkeypatch.setenv("FAKE_MFA_EXIT", "")
    monkeypatch.setenv("FAKE_MFA_SIGNAL", "9")
    with pytest.raises(UserError, match="mfa align was killed by SIGKILL; perhaps the machine ran out of memory"):
        _align(models, tmp_path, _request("u", "the cat"))
    monkeypatch.setenv("FAKE_MFA_SIGNAL", "10")  # not SIGHUP, which nohup lets no child die of
    with pytest.raises(UserError, match="killed by SIGUSR1"):
        run_mfa(["g2p", "--num_jobs", 1, "a", "b", "c"], tmp_path / "root")


def test_mfa_keeps_its_log(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    """Each command opens its log, and then cleans its folder unless it is told not to; without a word it cleans too."""
    monkeypatch.setenv("FAKE_MFA_EXIT", "1")
    for command, places in (("g2p", ["words.txt", "m", "o"]), ("align", ["corpus", "d", "m", "o"])):
        for kept in (True, False):
            root = tmp_path / f"{command} {kept}"
            options = common_options(root / "temporary", 1) if kept else ["-t", root / "temporary"]
            with pytest.raises(UserError, match="failed with exit code 1"):
                run_mfa([command, *places, *options], root)
            assert ("the reason that MFA's own log has" in capfd.readouterr().err) == kept


def test_a_run_without_a_single_textgrid_is_an_error(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MFA_LEAVE_OUT", "the")
    with pytest.raises(UserError, match="without a single TextGrid"):
        _align(models, tmp_path, _request("u", "the cat"), _request("v", "the hat"))


def test_without_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no `mfa` on PATH.*--sdm conda"):
        run_mfa(["version"], tmp_path / "root")
    with pytest.raises(UserError, match=r"alignment.aligner: mfa: there is no `mfa` on PATH"):
        check_mfa_command(Alignment(aligner="mfa"), conda=False)
    check_mfa_command(Alignment(aligner="mfa"), conda=True)
    check_mfa_command(Alignment(aligner="pocketsphinx"), conda=False)


def test_an_unsupported_version_is_refused(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mfa_version(tmp_path / "root") == "3.4.3"
    monkeypatch.setenv("FAKE_MFA_VERSION", "4.0.1")
    with pytest.raises(UserError, match=r"mfa is version 4\.0\.1"):
        mfa_version(tmp_path / "root")


WARNING = "/opt/env/lib/python3.11/site-packages/x.py:7: UserWarning: numpy 3.1.2 was built for 3.4.0"


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        (f"{WARNING}\n  warnings.warn(\n3.4.3", "3.4.3"),
        (f"3.4.3\n{WARNING}", "3.4.3"),
        ("  3.4.4.dev3+g93411fc0d.d20250101 ", "3.4.4.dev3+g93411fc0d.d20250101"),
        ("v3.4.0rc1", "3.4.0rc1"),
    ],
)
def test_the_version_is_a_line_of_its_own(
    printed: str, version: str, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MFA_VERSION", printed)
    assert mfa_version(tmp_path / "root") == version


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        (f"{WARNING}\n4.0.0", r"mfa is version 4\.0\.0; only 3\.x is supported"),
        (f"{WARNING}\nNone", r"printed no line that is a version, but: .*python3\.11.* / None"),
        ("", "but: nothing"),
    ],
)
def test_a_path_or_a_warning_is_no_version(
    printed: str, problem: str, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MFA_VERSION", printed)
    with pytest.raises(UserError, match=problem):
        mfa_version(tmp_path / "root")


def test_the_stand_in_is_strict(log: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exit code 2(.|\n)*No such option: --num-jobs"):
        run_mfa(["align", "a", "b", "c", "d", "--num-jobs", "2"], tmp_path / "root")
    with pytest.raises(UserError, match="Missing argument 'OUTPUT_MODEL_PATH'"):
        run_mfa(["train", "a", "b"], tmp_path / "root")


def test_mfa_ends_with_the_job_that_runs_it(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MFA_SLEEP", "60")
    code = (
        "import sys; from pathlib import Path; from speechladder.alignment.mfa.command import run_mfa\n"
        "from speechladder.io.files import work_folder\n"
        "with work_folder(Path(sys.argv[1])) as work:\n"
        "    run_mfa(['g2p', 'a', 'b', 'c'], work / 'root')\n"
    )
    out = tmp_path / "out" / "0.parquet"
    job = subprocess.Popen([sys.executable, "-c", code, str(out)], start_new_session=True)
    sleeping = f"{tmp_path}/bin/mfa".encode()

    def alive() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                found += [entry.name] if sleeping in words and state != "Z" else []
        return found

    try:
        _until(alive, "mfa did not start")
    finally:
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
    _until(lambda: not alive(), "mfa still runs after the job")
    (left,) = out.parent.iterdir()
    assert left.name.startswith(".tmp-work-0.parquet-")
    (out.parent / ".tmp-work-10.parquet-abc").mkdir()
    with work_folder(out) as work:  # only the next run of the same job removes it
        assert sorted(p.name for p in out.parent.iterdir()) == sorted([work.name, ".tmp-work-10.parquet-abc"])
    assert not work.exists()


def _until(true, otherwise: str, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)


# dictionaries


def test_lines_of_dictionaries() -> None:
    assert split_line("the\t0.99\t0.05\t1.0\t1.0\tDH AH0\n") == ("the", "0.99\t0.05\t1.0\t1.0", ["DH", "AH0"])
    assert split_line("HELLO(2)  hh ah0 l ow1") == ("hello", "", ["HH", "AH0", "L", "OW1"])
    assert split_line("aalborg AO1 L B # place, danish") == ("aalborg", "", ["AO1", "L", "B"])
    assert split_line("<unk>\tspn") == ("<unk>", "", ["spn"])


def test_a_dictionary_in_other_phones_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.dict"
    path.write_text("hat\tHH AE1 T\ncat\tk\u02b0 \u00e6 t\n")
    with pytest.raises(
        UserError, match=r"alignment\.mfa_dictionary: .*a\.dict is not written in ARPAbet.*line 2.*english_us_arpa"
    ):
        read_dictionary(path, "alignment.mfa_dictionary")
    path.write_text("hat\t0.5\n")
    with pytest.raises(UserError, match="line 1: 'hat' has no phones"):
        read_dictionary(path, "alignment.lexicon")


def test_probabilities_are_written_as_mfa_reads_them(models: Path, tmp_path: Path) -> None:
    """MFA takes 1e-05, 2 or .5 for a phone."""
    lines = ["\ufeffcat\t1e-05\tK AE1 T", "the .5 1E-3 2 0 DH AH0", "a\t1\tEY1", "hat\t1.\t9.9e-02\tHH AE1 T"]
    (models / "dictionary.dict").write_text("\n".join(lines))
    found = read_dictionary(models / "dictionary.dict", "x")
    assert list(found.entries) == ["cat", "the", "a", "hat"]  # without the byte order mark
    assert [entry.rpartition("\t")[0] for (entry,) in found.entries.values()] == [
        "0.00001",
        "0.5\t0.001\t2.0\t0.0",
        "1",
        "1.0\t0.099",
    ]
    ((_, answer),) = _align(models, tmp_path, _request("u", "the cat a hat"))  # the stand-in reads them as MFA does
    assert isinstance(answer, Aligned), answer


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("cat 0.5 0.5 0.5 0.5 0.5 K AE1 T", "5 numbers before the phones; MFA reads at most 4"),
        ("cat -0.5 K AE1 T", "'-0.5' before the phones; the first two numbers are probabilities"),
        ("cat\t12\tK AE1 T", "'12.0' before the phones"),
        ("cat\t0.9\t1.0\tK AE1 T", "'0.9 1.0' before the phones"),
    ],
)
def test_numbers_that_are_no_probabilities(line: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.dict").write_text(f"hat HH AE1 T\n{line}\n")
    with pytest.raises(UserError, match=f"alignment.mfa_dictionary: .*a.dict, line 2: {problem}"):
        read_dictionary(tmp_path / "a.dict", "alignment.mfa_dictionary")


def test_stress_is_adapted_to_the_dictionary() -> None:
    stressed, plain = Dictionary(), Dictionary()
    stressed.add("cat", ["K", "AE1", "T"], "0.9")
    plain.add("cat", ["K", "AE", "T"])
    phones = ["R", "AH", "T", "AE", "T"]
    assert stressed.adapted(phones) == ["R", "AH1", "T", "AE0", "T"]
    assert stressed.adapted(["AH0", "K"]) == ["AH0", "K"]
    assert plain.adapted(["R", "AH0", "T"]) == ["R", "AH", "T"]
    stressed.add("cat", ["K", "AE1", "T"])  # the same pronunciation again
    assert stressed.entries["cat"] == ["0.9\tK AE1 T"]


def test_a_dictionary_of_a_hundred_thousand_words() -> None:
    from pocketsphinx import get_model_path

    path = Path(get_model_path(), "en-us", "cmudict-en-us.dict")  # CMUdict without stress
    found = read_dictionary(path, "alignment.mfa_dictionary")
    assert len(found) > 100_000 and not found.stressed
    assert found.entries["tomato"] == ["T AH M EY T OW", "T AH M AA T OW"]


@pytest.mark.shared
def test_real_dictionaries(shared_data: Path) -> None:
    found = read_dictionary(next((shared_data / "cmudict").glob("*.dict")), "alignment.mfa_dictionary")
    assert len(found) > 1000 and found.stressed
    with pytest.raises(UserError, match="not written in ARPAbet"):
        read_dictionary(shared_data / "alignments/mfa_fixtures/english_us_mfa_reduced.dict", "alignment.mfa_dictionary")


# made once for all shards


def test_models_by_name_and_by_file(log: Path, tmp_path: Path) -> None:
    fake_mfa.write_model(tmp_path / "mine.zip", "acoustic")
    fetch_models(tmp_path / "a", "english_us_arpa", "english_us_arpa", "english_us_arpa")
    fetch_models(tmp_path / "b", "english_us_arpa", str(tmp_path / "mine.zip"), None)
    fetch_models(tmp_path / "c", "english_us_arpa", None, None)
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"acoustic.zip", "dictionary.dict", "g2p.zip", "about.json"}
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"acoustic.zip", "dictionary.dict", "about.json"}
    assert {p.name for p in (tmp_path / "c").iterdir()} == {"dictionary.dict", "about.json"}
    about = read_json(tmp_path / "b" / "about.json")
    assert about["mfa"] == "3.4.3" and about["models"]["mfa_model"]["given"] == str(tmp_path / "mine.zip")
    assert (tmp_path / "b" / "acoustic.zip").read_bytes() == (tmp_path / "mine.zip").read_bytes()
    with pytest.raises(UserError, match=r"alignment\.mfa_dictionary: english_mfa is not written in ARPAbet"):
        fetch_models(tmp_path / "d", "english_mfa", "english_us_arpa", None)
    with pytest.raises(UserError, match=r"alignment\.mfa_model: klingon cannot be downloaded(.|\n)*Could not find"):
        fetch_models(tmp_path / "d", "english_us_arpa", "klingon", None)
    assert not list(tmp_path.glob(".tmp*")) and not (tmp_path / "d").exists()


def test_the_dictionary_is_completed(log: Path, tmp_path: Path) -> None:
    fetch_models(tmp_path / "models", "english_us_arpa", "english_us_arpa", "english_us_arpa")
    (tmp_path / "lexicon.txt").write_text("GANDALF G AE N D AA L F\nthe DH IY1\n")
    cuts = []
    for shard, texts in enumerate((["the gandalf had it", "the zebra"], ["hmm the zebra", "hmm pst"])):
        cuts.append(tmp_path / f"cuts.{shard}.jsonl.gz")
        write_cuts(cuts[-1], [_cut(tmp_path, f"{shard}-{k}", text) for k, text in enumerate(texts)])
    prepare_mfa(cuts, tmp_path / "models", tmp_path / "mfa", tmp_path / "lexicon.txt", 2)
    found = read_dictionary(tmp_path / "mfa" / "dictionary.dict", "x").entries
    assert found["gandalf"] == ["G AE1 N D AA0 L F"]  # with stress, like the dictionary
    assert found["the"] == ["0.99\t0.05\t1.0\t1.0\tDH AH0", "0.2\t0.05\t1.0\t1.0\tDH IY0", "DH IY1"]
    assert found["zebra"] == [" ".join(fake_mfa.spell("zebra"))]
    assert "<unk>" in found
    assert (tmp_path / "mfa" / "oov.tsv").read_text() == "word\tcount\nhmm\t2\npst\t1\n"
    counts = read_json(tmp_path / "mfa" / "about.json")["words"]
    assert counts["corpus_words"] == 7 and counts["g2p"] == 1 and counts["lexicon"] == 2
    assert (counts["occurrences"], counts["occurrences_without_pronunciation"]) == (11, 3)
    assert {p.name for p in (tmp_path / "mfa").iterdir()} >= {"acoustic.zip", "g2p.zip"}
    assert fake_mfa.calls(log)[-1]["words"][-3:] == ["hmm", "pst", "zebra"]


def test_the_first_word_may_have_no_pronunciation(log: Path, tmp_path: Path) -> None:
    """MFA fails if the model's first answer is empty, so words that it can pronounce come first."""
    fake_mfa.write_model(tmp_path / "g2p.zip", "g2p")
    with pytest.raises(UserError, match=r"min\(\) arg is an empty sequence"):
        pronounce_all(["brr", "zebra"], tmp_path / "g2p.zip", tmp_path, 1, Dictionary())
    (tmp_path / "a.dict").write_text(fake_mfa.DICTIONARY)
    known = read_dictionary(tmp_path / "a.dict", "x")
    for asked in (["brr", "zebra"], ["zebra"], ["brr"]):
        found = pronounce_all(asked, tmp_path / "g2p.zip", tmp_path, 1, known)
        assert found == {word: fake_mfa.spell(word) for word in asked if word == "zebra"}


def test_without_g2p_the_words_stay_unknown(log: Path, tmp_path: Path) -> None:
    fetch_models(tmp_path / "models", "english_us_arpa", "english_us_arpa", None)
    write_cuts(tmp_path / "cuts.jsonl.gz", [_cut(tmp_path, "a", "the zebra")])
    prepare_mfa([tmp_path / "cuts.jsonl.gz"], tmp_path / "models", tmp_path / "mfa", None, 1)
    assert (tmp_path / "mfa" / "oov.tsv").read_text() == "word\tcount\nzebra\t1\n"


def test_a_model_of_the_runs_own_speech(log: Path, tmp_path: Path) -> None:
    fetch_models(tmp_path / "models", "english_us_arpa", None, None)
    (tmp_path / "silent.flac").write_bytes(encode_flac(np.zeros(2 * RATE, np.float32)))
    cuts = [
        _cut(tmp_path, f"{s}{k}", "the had it", 2.0, s) for s, n in (("a", 20), ("b", 5), ("c", 5)) for k in range(n)
    ]
    cuts += [_cut(tmp_path, "v", "the had it", 2.0, "d", "valid"), _cut(tmp_path, "o", "the zebra", 2.0, "e")]
    write_cuts(tmp_path / "cuts.jsonl.gz", cuts)
    files = [tmp_path / "cuts.jsonl.gz"]
    prepare_mfa(files, tmp_path / "models", tmp_path / "dictionary", None, 1)
    kept = draw_training(files, read_dictionary(tmp_path / "dictionary" / "dictionary.dict", "x"), 24 / 3600)
    assert len(kept) == 30 and kept.sum() == 12  # utterances of train whose words all have a pronunciation
    assert [kept[:20].sum(), kept[20:25].sum(), kept[25:].sum()] == [4, 4, 4]  # the same for every speaker
    Path(cuts[int(np.flatnonzero(kept)[0])].path).write_bytes((tmp_path / "silent.flac").read_bytes())
    train_mfa(files, tmp_path / "dictionary", 24 / 3600, tmp_path / "mfa", 2)
    call = fake_mfa.calls(log)[-1]
    assert (call["command"], call["utterances"], call["speakers"], call["seconds"]) == ("train", 11, 3, 22.0)
    about = read_json(tmp_path / "mfa" / "about.json")
    assert about["trained"] == {"hours": round(22 / 3600, 4), "utterances": 11, "unread": 1}
    (answer,) = dict(_align(tmp_path / "mfa", tmp_path, _request("u", "the had it"))).values()
    assert isinstance(answer, Aligned)
    assert not list(tmp_path.glob(".tmp*"))
    write_cuts(files[0], [_cut(tmp_path, "o", "the zebra")])
    with pytest.raises(UserError, match=r"alignment\.mfa_model: null asks for"):
        train_mfa(files, tmp_path / "dictionary", 1.0, tmp_path / "none", 1)


# the choice of the aligner


def test_which_aligner(models: Path, tmp_path: Path) -> None:
    for name in ("truth", "textgrids", "pocketsphinx"):
        assert load_aligner(Alignment(aligner=name), tmp_path).name == "pocketsphinx"
    assert load_aligner(Alignment(aligner="mfa"), tmp_path, 2, models).name == "mfa"
    with pytest.raises(UserError, match="--models"):
        load_aligner(Alignment(aligner="mfa"), tmp_path)
    (models / "acoustic.zip").unlink()
    with pytest.raises(UserError, match=r"no acoustic\.zip"):
        load_aligner(Alignment(aligner="mfa"), tmp_path, 2, models)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aligner": "mfa", "mfa_model": "nowhere/a.zip"}, r"alignment\.mfa_model: nowhere/a\.zip: no such file"),
        ({"aligner": "mfa", "mfa_dictionary": "a.dict"}, r"alignment\.mfa_dictionary: a\.dict: no such file"),
        ({"aligner": "mfa", "lexicon": "words.txt"}, r"alignment\.lexicon: words\.txt"),
        ({"aligner": "textgrids"}, r"alignment\.textgrids: is missing"),
    ],
)
def test_missing_files_are_named_before_any_job(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_aligner_files(Alignment(**settings))


def test_names_files_and_downloads_pass(tmp_path: Path) -> None:
    check_aligner_files(Alignment(aligner="mfa"))
    check_aligner_files(Alignment(aligner="mfa", mfa_model=None, mfa_g2p=None))
    check_aligner_files(Alignment(aligner="mfa", mfa_model="own.zip", lexicon="l.txt"), downloads={"own.zip", "l.txt"})
    check_aligner_files(Alignment(aligner="pocketsphinx", mfa_model="nowhere.zip"))  # not read by this aligner
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"a\.txt is no \.dict file"):
        check_aligner_files(Alignment(aligner="mfa", mfa_dictionary=str(tmp_path / "a.txt")))


def test_pocketsphinx_gives_the_same_in_several_processes() -> None:
    spoken = [speak(text, voices(0)[0], seed=3).samples for text in ("the cooks bake bread", "the small dog barks")]
    requests = [
        Request("a", "s", "the cooks bake bread", lambda: spoken[0]),
        Request("b", "s", "the cooks bake bread", lambda: spoken[0][:300]),
        Request("c", "s", "", lambda: spoken[1]),
        Request("d", "s", "the small dog barks", lambda: spoken[1]),
    ]
    told: list[float] = []
    alone = list(PocketSphinx(1e-300).align_all(requests))
    shared = list(PocketSphinx(1e-300, jobs=2).align_all(requests, told.append))
    assert [name for name, _ in alone] == list("abcd")
    for (_, one), (_, other) in zip(alone, shared):
        assert one == other or (type(one), str(one)) == (type(other), str(other))
    assert isinstance(alone[0][1], Aligned) and isinstance(alone[1][1], AlignmentError)
    assert told == [len(spoken[0]) / RATE, 0.0, 0.0, len(spoken[1]) / RATE]


def align_known(cuts: list[Cut], folder: Path, log: Path) -> dict[str, Aligned]:
    """Align three cuts, whose times the stand-in knows, and check that words and ends are those of the cuts."""
    write_cuts(folder / "cuts.jsonl.gz", cuts)
    prepare_mfa([folder / "cuts.jsonl.gz"], folder / "models", folder / "mfa", None, 1)
    requests = [Request(c.id, c.speaker, c.text, c.samples) for c in cuts]
    found = dict(mfa_aligner.MFA(folder / "mfa", folder / "work", 2).align_all(requests))
    assert fake_mfa.calls(log)[-1]["known"] == 3
    for cut in cuts:
        assert isinstance(found[cut.id], Aligned), found[cut.id]
        assert [w.label for w in found[cut.id].words] == cut.text.split()
        assert found[cut.id].phones[-1].end == len(cut.samples()) / RATE
    return found


def test_recordings_have_the_times_of_their_textgrids(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings at 22,050 Hz, and the TextGrids that MFA would write of them."""
    monkeypatch.setenv("FAKE_MFA_KNOWN", str(tmp_path / "grids"))
    fetch_models(tmp_path / "models", "english_us_arpa", "english_us_arpa", "english_us_arpa")
    cuts, truth = [], {}
    for number, text in enumerate(("the cats had a red hat", "he was not at the window", "her small dog barks")):
        name, spoken = f"u{number}", speak(text, voices(0)[0], seed=number)
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, soxr.resample(spoken.samples, RATE, 22_050), 22_050)
        seconds = len(read_audio(path)) / RATE
        truth[name] = spoken
        write_textgrid(tmp_path / "grids" / f"{name}.TextGrid", spoken.words, spoken.phones[:-1], seconds)
        cuts.append(Cut(name, name, str(path), 0.0, seconds, "s", "train", text, text, 22_050, round(seconds * 22_050)))
    found = align_known(cuts, tmp_path, log)
    for cut in cuts:
        assert [p.start for p in found[cut.id].phones] == pytest.approx([p.start for p in truth[cut.id].phones])


@pytest.mark.shared
def test_real_recordings_have_mfas_real_times(
    log: Path, tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared_data / "ljspeech"
    monkeypatch.setenv("FAKE_MFA_KNOWN", str(folder / "TextGrid"))
    texts = dict(line.split("|", 1) for line in (folder / "metadata.csv").read_text().splitlines())
    fetch_models(tmp_path / "models", "english_us_arpa", "english_us_arpa", "english_us_arpa")
    cuts = []
    for name in ("LJ001-0001", "LJ001-0002", "LJ001-0006"):
        path = folder / "wavs" / f"{name}.wav"  # 22,050 Hz: written as cut audio
        seconds = len(read_audio(path)) / RATE
        text = normalise(texts[name])
        cuts.append(
            Cut(name, name, str(path), 0.0, seconds, "lj", "train", text, text, 22_050, round(seconds * 22_050))
        )
    align_known(cuts, tmp_path, log)
