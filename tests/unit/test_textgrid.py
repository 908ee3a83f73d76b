"""TextGrids in and out."""

import itertools
from pathlib import Path

import pytest

from speechladder.alignment.textgrid import read_textgrid, write_textgrid
from speechladder.io.errors import UserError
from speechladder.io.spans import Span

WORDS = [Span("the", 0.1, 0.25), Span("cat", 0.4, 0.9)]
PHONES = [
    Span("SIL", 0.0, 0.1),
    Span("DH", 0.1, 0.15),
    Span("AH0", 0.15, 0.25),
    Span("SIL", 0.25, 0.4),
    Span("K", 0.4, 0.55),
    Span("AE1", 0.55, 0.8),
    Span("T", 0.8, 0.9),
    Span("SIL", 0.9, 1.0125),
]

SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1
<exists>
2
"IntervalTier"
"Words"
0
1
2
0
0.4
"hi"
0.4
1
"sp"
"IntervalTier"
"phone"
0
1
4
0
0.2
"hh"
0.2
0.4
"ay1"
0.4
0.6
"sil"
0.6
1
""
"""


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_textgrid(tmp_path / "a.TextGrid", WORDS, PHONES, 1.0125)
    assert read_textgrid(tmp_path / "a.TextGrid") == (WORDS, PHONES)


def test_an_utterance_without_edge_pauses_survives(tmp_path: Path) -> None:
    phones = [Span("AH", 0.0, 0.2), Span("N", 0.2, 0.5)]
    write_textgrid(tmp_path / "a.TextGrid", [Span("an", 0.0, 0.5)], phones, 0.5)
    assert read_textgrid(tmp_path / "a.TextGrid")[1] == phones


def test_short_format_other_names_and_pauses(tmp_path: Path) -> None:
    (tmp_path / "a.TextGrid").write_text(SHORT)
    words, phones = read_textgrid(tmp_path / "a.TextGrid")
    assert words == [Span("hi", 0.0, 0.4)]
    assert phones == [Span("HH", 0.0, 0.2), Span("AY1", 0.2, 0.4), Span("SIL", 0.4, 1.0)]


def test_errors_name_the_file_and_its_tiers(tmp_path: Path) -> None:
    file = tmp_path / "a.TextGrid"
    file.write_text(SHORT.replace('"phone"', '"segments"'))
    with pytest.raises(UserError, match=r"a\.TextGrid.*phones or phone.*Words, segments"):
        read_textgrid(file)
    assert read_textgrid(file, phones_tier="segments")[1][0].label == "HH"
    with pytest.raises(UserError, match="no interval tier nothing"):
        read_textgrid(file, words_tier="nothing")
    file.write_text("not a grid")
    with pytest.raises(UserError, match=r"a\.TextGrid: not readable"):
        read_textgrid(file)
    with pytest.raises(UserError, match="no such file"):
        read_textgrid(tmp_path / "b.TextGrid")


@pytest.mark.shared
def test_every_textgrid_at_hand(shared_data: Path, tmp_path: Path) -> None:
    files = sorted(shared_data.rglob("*.TextGrid"))
    unfit = {"msajc003", "msajc010", "msajc012", "msajc015", "61-70968-0000"}  # other tiers, or the utterance alone
    assert len(files) > len(unfit)
    for file in files:
        if file.stem in unfit:
            with pytest.raises(UserError, match="its tiers are"):
                read_textgrid(file)
            continue
        words, phones = read_textgrid(file)
        assert phones[0].start == 0
        assert all(a.end == b.start for a, b in itertools.pairwise(phones)), file
        write_textgrid(tmp_path / "again.TextGrid", words, phones, phones[-1].end)
        assert read_textgrid(tmp_path / "again.TextGrid") == (words, phones), file


@pytest.mark.shared
def test_other_tiers_by_name(shared_data: Path) -> None:
    words, phones = read_textgrid(shared_data / "alignments/emu_ae/msajc003.TextGrid", "Text", "Phonetic")
    assert [w.label for w in words][:3] == ["amongst", "her", "friends"]
    assert phones[0].label == "SIL" and len(phones) > 20
