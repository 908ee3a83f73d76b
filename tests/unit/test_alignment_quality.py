"""The figures of an alignment's quality, with and without a reference."""

from pathlib import Path

import pyarrow as pa
import pytest

from speechladder.alignment.phone_statistics import PhoneStatistics
from speechladder.alignment.quality import (
    alignment_quality,
    compare_phones,
    match_labels,
    sample_cuts,
)
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.columns import SpanColumn
from speechladder.io.files import write_jsonl
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ALIGNMENT, SPAN, write_table
from speechladder.settings import Alignment


def _spans(text: str, shift: float = 0.0) -> list[Span]:
    return [Span(p, 0.1 * k + shift, 0.1 * (k + 1) + shift) for k, p in enumerate(text.split())]


def _cut(name: str, split: str) -> Cut:
    return Cut(name, name, f"/nowhere/{name}.flac", 0.0, 1.0, "s", split, "a", "a", 16_000, 16_000)


def test_match_counts_edits_and_pairs_equal_labels() -> None:
    assert match_labels(list("abcd"), list("abcd")) == ([(0, 0), (1, 1), (2, 2), (3, 3)], 0)
    assert match_labels(list("abcd"), list("acd")) == ([(0, 0), (2, 1), (3, 2)], 1)
    assert match_labels(list("abd"), list("abcd")) == ([(0, 0), (1, 1), (2, 3)], 1)
    assert match_labels(list("axd"), list("ayd")) == ([(0, 0), (2, 2)], 1)
    assert match_labels([], list("ab")) == ([], 2)
    assert match_labels(list("ab"), []) == ([], 2)


def test_a_known_shift_comes_out() -> None:
    reference = _spans("SIL HH AH0 L OW1 SIL")
    late = _spans("SIL HH AH L OW SIL", shift=0.03)
    figures = compare_phones([(reference, late)])
    assert figures["phones"] == figures["boundaries"] == 4  # pauses are not counted
    assert figures["phone_error_rate"] == 0  # stress is not compared
    assert figures["median_signed_ms"] == pytest.approx(30)
    assert (figures["within_20ms"], figures["within_50ms"]) == (0, 1)
    early = compare_phones([(reference, _spans("SIL HH AH L OW SIL", shift=-0.02))])
    assert early["median_signed_ms"] == pytest.approx(-20) and early["median_absolute_ms"] == pytest.approx(20)
    assert early["within_20ms"] == 1


def test_wrong_phones_are_errors_and_no_boundaries() -> None:
    figures = compare_phones([(_spans("HH AH L OW"), _spans("HH EH L OW Z")), (_spans("B IY"), _spans("B IY"))])
    assert figures["phone_error_rate"] == pytest.approx(2 / 6, abs=1e-4)
    assert figures["boundaries"] == 5 and figures["utterances"] == 2
    assert compare_phones([])["within_20ms"] is None


def test_statistics_without_a_reference() -> None:
    found = PhoneStatistics()
    found.add(SpanColumn(pa.chunked_array([pa.array([as_rows(_spans("SIL B AH0 B SIL"))], pa.list_(SPAN))])))
    figures = found.figures()
    assert figures["silence_share"] == pytest.approx(0.4)
    assert figures["phones_per_second"]["median"] == pytest.approx(10)
    assert figures["mean_phone_ms"] == {"AH": 100.0, "B": 100.0}


def test_the_sample_is_even_and_completed_from_the_valid_split() -> None:
    cuts = [_cut(f"t{k:02}", "test") for k in range(10)] + [_cut(f"v{k}", "valid") for k in range(5)]
    cuts += [_cut("x", "train")]
    assert [c.id for c in sample_cuts(cuts[::-1], 4)] == ["t00", "t03", "t06", "t09"]
    assert [c.id for c in sample_cuts(cuts, 12)][-2:] == ["v0", "v4"]
    assert len(sample_cuts(cuts, 99)) == 15


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two shards that pocketsphinx aligned 10 ms late, with one rejected utterance."""
    for shard in range(2):
        names = [f"{shard}{k}" for k in range(5)]
        write_cuts(tmp_path / f"cuts.{shard}.jsonl.gz", [_cut(n, "test") for n in names])
        for kind, shift, kept in (("truth", 0.0, names), ("pocketsphinx", 0.01, names[shard:])):
            rows = [
                {
                    "id": n,
                    "words": [],
                    "phones": as_rows(_spans("SIL B AH0 B SIL", shift)),
                    "seconds": 1.0,
                    "aligner": kind,
                }
                for n in kept
            ]
            write_table(tmp_path / f"{kind}.{shard}.parquet", rows, ALIGNMENT)
        lost = [{"id": "10", "reason": "too fast: 99", "source": ""}] if shard else []
        write_jsonl(tmp_path / f"rejected.{shard}.jsonl", lost)
    return tmp_path


def _files(run: Path, name: str) -> list[Path]:
    return sorted(run.glob(name))


def test_the_aligner_in_use_against_the_truth(run: Path) -> None:
    figures = alignment_quality(
        _files(run, "cuts.*"),
        _files(run, "truth.*"),
        _files(run, "pocketsphinx.*"),
        _files(run, "rejected.*"),
        Alignment(aligner="pocketsphinx"),
    )
    assert (figures["reference"], figures["aligner"]) == ("truth", "pocketsphinx")
    assert figures["median_signed_ms"] == pytest.approx(10) and figures["within_20ms"] == 1
    assert figures["utterances"] == 9 and figures["rejected"] == 1 and figures["reasons"] == {"too fast": 1}


def test_an_aligner_that_the_run_does_not_use_reports_its_rejects(run: Path) -> None:
    figures = alignment_quality(
        _files(run, "cuts.*"), _files(run, "truth.*"), _files(run, "truth.*"), [], Alignment(sample_utterances=4)
    )
    assert figures["aligner"] == "pocketsphinx" and figures["utterances"] == 0
    assert figures["rejected"] == 4 and figures["reasons"] == {"unreadable audio": 4}  # the test has no audio
    assert figures["run"]["aligner"] == "truth"


def test_natural_speech_has_no_accuracy(run: Path) -> None:
    figures = alignment_quality(
        _files(run, "cuts.*"),
        [],
        _files(run, "pocketsphinx.*"),
        _files(run, "rejected.*"),
        Alignment(aligner="pocketsphinx"),
    )
    assert figures["reference"] is None and "within_20ms" not in figures
    assert figures["run"]["rejected_share"] == pytest.approx(0.1)
    assert figures["statistics"]["utterances"] == 9
