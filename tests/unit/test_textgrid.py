"""Reading TextGrids."""

import itertools
from pathlib import Path

import pytest
from praatio import textgrid

from speechladder.alignment.textgrid import parse_tiers, read_textgrid
from speechladder.io.errors import UserError
from speechladder.io.spans import Span
from tests.textgrids import write_textgrid

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


def test_a_written_textgrid_is_read_back(tmp_path: Path) -> None:
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


def test_other_tiers_by_name(tmp_path: Path) -> None:
    """Tiers as phoneticians name them, among point tiers, and labels that are not ARPAbet."""
    tones = '"TextTier"\n"Tone"\n0\n1\n1\n0.3\n"H*"\n'
    grid = SHORT.replace("<exists>\n2\n", f"<exists>\n3\n{tones}").replace("Words", "Text").replace("phone", "Phonetic")
    (tmp_path / "a.TextGrid").write_text(grid.replace('"ay1"', '"aI"'))
    with pytest.raises(UserError, match="its tiers are Text, Phonetic;"):
        read_textgrid(tmp_path / "a.TextGrid")
    words, phones = read_textgrid(tmp_path / "a.TextGrid", "Text", "Phonetic")
    assert [w.label for w in words] == ["hi"]
    assert [p.label for p in phones] == ["HH", "aI", "SIL"]


@pytest.mark.shared
def test_other_tiers_of_a_genuine_file_by_name(shared_data: Path) -> None:
    words, phones = read_textgrid(shared_data / "alignments/emu_ae/msajc003.TextGrid", "Text", "Phonetic")
    assert [w.label for w in words][:3] == ["amongst", "her", "friends"]
    assert phones[0].label == "SIL" and len(phones) > 20


def test_everything_that_praat_reads_is_read(tmp_path: Path) -> None:
    """Strings with quotes, line ends and look-alikes of the format, other encodings, point tiers, numbers like 2e-1."""
    grid = SHORT.replace('"hi"', '"say ""item [1]:"" xmin = 3\n"').replace("\n0.2\n", "\n2e-1\n")
    points = '"TextTier"\n"tones"\n0\n1\n2\n0.1\n"H*"\n0.5\n"L-"\n'
    grid = grid.replace("<exists>\n2\n", f"<exists>\n3\n{points}")
    file = tmp_path / "a.TextGrid"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file.write_bytes(grid.replace("\n", "\r\n").encode(encoding))
        words, phones = read_textgrid(file)
        assert words[0].label.replace("\r", "") == 'say "item [1]:" xmin = 3'
        assert [p.label for p in phones] == ["HH", "AY1", "SIL"]


def test_disorder_is_not_readable(tmp_path: Path) -> None:
    file = tmp_path / "a.TextGrid"
    file.write_text(SHORT.replace("0.2\n0.4\n", "0.2\n0.1\n"))
    with pytest.raises(UserError, match=r"a\.TextGrid: not readable as a TextGrid \(tier phone: the interval at 0.2"):
        read_textgrid(file)
    file.write_text(SHORT[:-30])
    with pytest.raises(UserError, match="it breaks off"):
        read_textgrid(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not readable"):
        read_textgrid(file)


@pytest.mark.parametrize("form", ["short_textgrid", "long_textgrid"])
@pytest.mark.parametrize("blanks", [True, False])
def test_intervals_are_those_that_praatio_writes_and_reads(tmp_path: Path, form: str, blanks: bool) -> None:
    grid = textgrid.Textgrid(0, 1.0125)
    grid.addTier(textgrid.IntervalTier("words", [(s.start, s.end, s.label) for s in WORDS], 0, 1.0125))
    grid.addTier(textgrid.PointTier("tones", [(0.3, "H*"), (0.6, 'L-"')], 0, 1.0125))
    odd = [(0.0, 1 / 3, 'say "x = 1"'), (0.4, 0.7, "\u00e6 [1]:"), (0.7, 1.0125, "xmax = 2")]
    grid.addTier(textgrid.IntervalTier("odd labels", odd, 0, 1.0125))
    path = tmp_path / "a.TextGrid"
    grid.save(str(path), format=form, includeBlankSpaces=blanks)
    _same_as_praatio(path)


def _same_as_praatio(path: Path) -> None:
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    tiers, end = parse_tiers(path.read_bytes())
    wanted = [t for t in grid.tiers if isinstance(t, textgrid.IntervalTier)]
    assert [t.name for t in tiers] == [t.name for t in wanted] and end == grid.maxTimestamp
    for found, tier in zip(tiers, wanted):
        labels = [(e.start, e.end, e.label) for e in tier.entries]
        assert [(s.start, s.end, s.label.strip()) for s in found.intervals] == labels, path


@pytest.mark.shared
def test_every_genuine_textgrid(shared_data: Path, tmp_path: Path) -> None:
    """Files of several aligners and annotators."""
    files = sorted(shared_data.rglob("*.TextGrid"))
    unfit = {
        "msajc003",
        "msajc010",
        "msajc012",
        "msajc015",
        "61-70968-0000",
    }  # they have other tiers
    assert len(files) > len(unfit)
    for file in files:
        _same_as_praatio(file)
        if file.stem in unfit:
            with pytest.raises(UserError, match="its tiers are"):
                read_textgrid(file)
            continue
        words, phones = read_textgrid(file)
        assert phones[0].start == 0
        assert all(a.end == b.start for a, b in itertools.pairwise(phones)), file
        write_textgrid(tmp_path / "again.TextGrid", words, phones, phones[-1].end)
        assert read_textgrid(tmp_path / "again.TextGrid") == (words, phones), file
