"""The audit of a corpus over all shards: counts, the list, and a share of rejects that is too large."""

from dataclasses import replace
from pathlib import Path

import pytest

from speechladder.corpora.audit import audit_corpus, audit_text, reason_kind
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json, write_jsonl

CUT = Cut("", "r", "r.flac", 0.0, 9.0, "s", "train", "a sea", "A sea.", 16_000, 16_000 * 36)


def _lost(name: str, reason: str, speaker: str = "s", split: str = "train", seconds: float | None = 9.0) -> dict:
    row = {"id": name, "reason": reason, "source": f"{name}.flac", "split": split, "speaker": speaker}
    return row | {"recording": f"r{speaker}", "seconds": seconds}


@pytest.fixture
def shards(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """30 cuts of three recordings and two speakers; five left out, one of them with only a reason; two mentions."""
    cuts = [replace(CUT, id=f"u{n}", recording=f"r{n % 3}", speaker="st"[n % 2]) for n in range(30)]
    cuts[4:7] = [replace(c, split="valid") for c in cuts[4:7]]
    lost = [
        _lost("a", "missing recording: not in /data"),
        _lost("b", "missing recording: not in /data", "t", "valid"),
        _lost("c", "too short: 0.1 s", "t", seconds=0.1),
        _lost("d\te", "unreadable audio: a tab\nand a line", "t", seconds=None),
        {"id": "m.jsonl:7", "reason": "not JSON: line 1", "source": "m.jsonl:7"},
    ]
    mentions = [{"id": "r1", "reason": f"another length: {n}", "source": "r1.flac", "mention": True} for n in range(2)]
    names = [[tmp_path / f"{kind}.{n}" for n in range(2)] for kind in ("cuts", "rejected")]
    for n in range(2):
        write_cuts(names[0][n], cuts[n::2])
        write_jsonl(names[1][n], [*mentions[n::2], *lost[n::2]])
    return names[0], names[1]


def test_counts_by_split_reason_speaker_and_recording(shards: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    figures = audit_corpus(*shards, tmp_path / "audit.json", tmp_path / "audit.tsv", 0.2)
    assert figures == read_json(tmp_path / "audit.json")
    assert (figures["utterances"], figures["rejected"]) == (30, 5)
    assert figures["share"] == pytest.approx(1 / 7, abs=1e-6)
    hours = pytest.approx(27 * 9 / 3600, abs=1e-4), pytest.approx(9.1 / 3600, abs=1e-4)
    assert figures["splits"]["train"] == {
        "utterances": 27, "hours": hours[0], "rejected": 3, "rejected_hours": hours[1]
    }  # fmt: skip
    assert figures["splits"]["valid"]["rejected"] == 1
    assert figures["splits"]["unknown"] == {"utterances": 0, "hours": 0.0, "rejected": 1, "rejected_hours": 0.0}
    assert list(figures["reasons"]) == ["missing recording", "not JSON", "too short", "unreadable audio"]
    assert figures["reasons"]["missing recording"]["utterances"] == 2
    assert figures["mentions"] == {"another length": 2}
    assert figures["speakers"]["worst"][0] == {"name": "t", "rejected": 3, "of": 18}
    assert figures["recordings"]["worst"][0] == {"name": "rt", "rejected": 3, "of": 3}
    disk = figures["disk"]
    assert (disk["recordings"], disk["missing recording"], disk["unreadable audio"]) == (3, 2, 1)
    assert disk["hours_of_recordings"] == pytest.approx(3 * 36 / 3600)
    assert figures["manifest"] is None


def test_the_list_has_a_line_for_each_utterance_left_out(shards: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    audit_corpus(*shards, tmp_path / "audit.json", tmp_path / "audit.tsv", 0.2)
    rows = [line.split("\t") for line in (tmp_path / "audit.tsv").read_text().splitlines()]
    assert rows[0] == ["id", "reason", "source"]
    assert sorted(row[0] for row in rows[1:]) == ["a", "b", "c", "d e", "m.jsonl:7"]
    assert ["d e", "unreadable audio: a tab and a line", "d e.flac"] in rows
    assert {len(row) for row in rows} == {3}
    assert not list(tmp_path.glob("*failed*"))


def test_too_many_rejects_fail_and_keep_the_list(shards: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    out = tmp_path / "audit.json", tmp_path / "audit.tsv"
    with pytest.raises(UserError) as error:
        audit_corpus(*shards, *out, 0.1)
    message = str(error.value)
    assert "5 of 35 utterances (14.3 %) are left out, more than corpus.max_rejected = 0.1 allows" in message
    assert "(2 missing recording, " in message and str(tmp_path / "audit.failed.tsv") in message
    assert not any(path.exists() for path in out)  # Snakemake would remove them anyway
    assert len((tmp_path / "audit.failed.tsv").read_text().splitlines()) == 6
    assert read_json(tmp_path / "audit.failed.json")["rejected"] == 5
    audit_corpus(*shards, *out, 0.2)
    assert all(path.exists() for path in out) and not list(tmp_path.glob("*failed*"))


def test_a_corpus_of_nothing_is_an_error(tmp_path: Path) -> None:
    write_cuts(tmp_path / "cuts", [])
    write_jsonl(tmp_path / "rejected", [_lost("a", "missing recording: x")])
    with pytest.raises(UserError, match=r"all of 1 utterances are left out \(1 missing recording\)"):
        audit_corpus([tmp_path / "cuts"], [tmp_path / "rejected"], tmp_path / "a.json", tmp_path / "a.tsv", 1.0)


def test_the_manifests_summary_is_among_the_figures(shards: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    write_json(tmp_path / "manifest" / "summary.json", {"after": {"train": {"utterances": 33}}})
    figures = audit_corpus(*shards, tmp_path / "a.json", tmp_path / "a.tsv", 0.2, tmp_path / "manifest")
    assert figures["manifest"]["after"]["train"]["utterances"] == 33


def test_the_table_is_aligned(shards: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    text = audit_text(audit_corpus(*shards, tmp_path / "a.json", tmp_path / "a.tsv", 0.2))
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert [block[0].split()[0] for block in blocks] == ["split", "left", "noted"]
    assert all(len({len(line) for line in block}) == 1 for block in blocks)
    assert blocks[0][1].split() == ["train", "27", "0.07", "3", "0.00"]
    assert "missing recording" in blocks[1][1] and blocks[1][1].split()[-1] == "5.71"


def test_a_reason_is_counted_without_its_details() -> None:
    assert reason_kind("truncated audio: the window ends at 4 s: really") == "truncated audio"
    assert reason_kind("empty text") == "empty text"
