"""Reading TextGrids."""

import itertools
from pathlib import Path

import pytest
from praatio import textgrid

from speechladder.alignment.base import AlignmentError
from speechladder.alignment.praat import parse_grid
from speechladder.alignment.textgrid import parse_textgrid, read_alignment, read_textgrid
from speechladder.corpora.text import normalise
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
    """Tiers as phoneticians name them, among point tiers."""
    file = tmp_path / "a.TextGrid"
    tones = '"TextTier"\n"Phones"\n0\n1\n1\n0.3\n"H*"\n'
    file.write_text(SHORT.replace("<exists>\n2\n", f"<exists>\n3\n{tones}").replace('"phone"', '"Phonetic"'))
    with pytest.raises(
        UserError, match=r"a\.TextGrid: .*called words and phones; its tiers are Words, Phonetic, its point"
    ):
        read_textgrid(file)
    file.write_text(SHORT.replace("<exists>\n2\n", f"<exists>\n3\n{tones}"))
    assert read_textgrid(file)[1][0].label == "HH"  # the point tier of that name is none of intervals
    file.write_text("not a grid")
    with pytest.raises(UserError, match=r"a\.TextGrid: not readable"):
        read_textgrid(file)
    with pytest.raises(UserError, match="no such file"):
        read_textgrid(tmp_path / "b.TextGrid")


def test_everything_that_praat_reads_is_read(tmp_path: Path) -> None:
    """Strings with quotes, line ends and look-alikes of the format, other encodings, point tiers, numbers like 2e-1."""
    grid = SHORT.replace('"hi"', '"say ""item [1]:"" xmin = 3\n"').replace("\n0.2\n", "\n2e-1\n")
    points = '"TextTier"\n"tones"\n0\n1\n2\n0.1\n"H*"\n0.5\n"L-"\n'
    grid = grid.replace("<exists>\n2\n", f"<exists>\n3\n{points}")
    file = tmp_path / "a.TextGrid"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        file.write_bytes(grid.replace("\n", "\r\n").encode(encoding))
        words, phones = read_textgrid(file)
        assert words[0].label.replace("\r", "") == 'say "item [1]:" xmin = 3'
        assert [p.label for p in phones] == ["HH", "AY1", "SIL"]


def _problem(content: str | bytes) -> str:
    with pytest.raises(UserError) as error:
        parse_textgrid(content if isinstance(content, bytes) else content.encode(), "a.TextGrid")
    assert str(error.value).startswith("a.TextGrid: not readable as a TextGrid (")
    return str(error.value)


def _long(short: str) -> str:
    """The same TextGrid in the long format."""
    values = [line for line in short.splitlines()[3:] if line != "<exists>"]
    out = [*short.splitlines()[:3], f"xmin = {values[0]} ", f"xmax = {values[1]} ", "tiers? <exists> "]
    out += [f"size = {values[2]} ", "item []: "]
    rest, item = values[3:], 0
    while rest:
        kind, name, begin, end, size, *rest = rest
        item += 1
        out += [
            f"    item [{item}]:",
            f"        class = {kind} ",
            f"        name = {name} ",
            f"        xmin = {begin} ",
        ]
        out += [f"        xmax = {end} ", f"        intervals: size = {size} "]
        number = 0
        while rest and not rest[0].startswith('"'):
            start, stop, label, *rest = rest
            number += 1
            out += [f"        intervals [{number}]:", f"            xmin = {start} ", f"            xmax = {stop} "]
            out += [f"            text = {label} "]
    return "\n".join(out) + "\n"


@pytest.mark.parametrize("form", [str, _long])
def test_counts_that_do_not_hold(form) -> None:
    """Both counts are named, in whichever tier, and whether too many or too few follow."""
    words, phones = '"Words"\n0\n1\n{}\n', '"phone"\n0\n1\n{}\n'
    assert parse_textgrid(form(SHORT).encode(), "x") == parse_textgrid(SHORT.encode(), "x")
    for tier, name, right in ((words, "Words", 2), (phones, "phone", 4)):
        for stated in (0, 1, 3, 5, 40):
            grid = SHORT.replace(tier.format(right), tier.format(stated))
            assert f"tier {name}: it states {stated} intervals, but {right} follow" in _problem(form(grid))
    for stated in (0, 1, 3):
        assert f"it states {stated} tiers, but 2 follow" in _problem(
            form(SHORT.replace("<exists>\n2", f"<exists>\n{stated}"))
        )
    lost = SHORT.replace('0.2\n0.4\n"ay1"\n', "")  # a line of the phones lost, the counts as they were
    assert "tier phone: it states 4 intervals, but 3 follow" in _problem(form(lost))
    assert "tier tones: it states 3 points, but 2 follow" in _problem(
        SHORT.replace("<exists>\n2\n", '<exists>\n3\n"TextTier"\n"tones"\n0\n1\n3\n0.1\n"H*"\n0.5\n"L-"\n')
    )


def test_disorder_is_not_readable() -> None:
    backwards = _problem(SHORT.replace("0.2\n0.4\n", "0.2\n0.1\n"))
    assert "tier phone: interval 2, 'ay1' from 0.2 to 0.1 s, ends before it starts" in backwards
    overlap = _problem(SHORT.replace("0.2\n0.4\n", "0.15\n0.4\n"))
    assert "tier phone: interval 2, 'ay1' from 0.15 to 0.4 s, starts before 0.2 s" in overlap
    assert "tier Words: interval 1, 'hi' from -0.5 to 0.4 s, starts before 0 s" in _problem(
        SHORT.replace('0\n0.4\n"hi"', '-0.5\n0.4\n"hi"')
    )
    for lost, problem in (('"ay1"\n', "0.4 in place of a text"), ("0.2\n0.4\n", "'ay1' in place of a number")):
        grid = SHORT.replace(lost, lost[4:] if lost.startswith("0") else "")
        assert f"tier phone, number 2 of its intervals: {problem}" in _problem(grid)
    for end in range(len(SHORT) - 2, 90, -7):  # cut off anywhere
        _problem(SHORT[:end])
    assert "it starts at 3.5 s" in _problem(SHORT.replace("\n0\n1\n<exists>", "\n3.5\n4.5\n<exists>"))
    assert "no TextGrid but a Pitch 1" in _problem(SHORT.replace('"TextGrid"', '"Pitch 1"'))
    assert "let Praat save it as a text file" in _problem(b"ooBinaryFile\x08TextGrid\0\0")
    assert "let Praat save it as a text file" in _problem('"Praat chronological TextGrid text file"\n0 1\n')
    assert "let Praat save it as a text file" in _problem('{"start": 0, "end": 1, "tiers": {}}')
    assert "its tiers are none" in _problem(SHORT[: SHORT.index("<exists>")] + "<absent>\n")
    assert "line 15 is not UTF-8; let Praat save it" in _problem(SHORT.replace("hi", "caf\u00e9").encode("latin-1"))
    _problem(b"\xff\xfe\x00")
    _problem(b"")


def test_times_that_rounding_parts_are_one_boundary() -> None:
    grid = SHORT.replace("0.2\n0.4\n", "0.2008\n0.4\n").replace('0.4\n0.6\n"sil"', '0.3993\n0.6\n"sil"')
    phones = parse_textgrid(grid.encode(), "x")[1]
    assert phones == [Span("HH", 0.0, 0.2), Span("AY1", 0.2, 0.4), Span("SIL", 0.4, 1.0)]
    tiny = SHORT.replace('0.2\n0.4\n"ay1"', '0.2\n0.2007\n""\n0.2007\n0.4\n"ay1"').replace("1\n4\n0\n", "1\n5\n0\n")
    assert parse_textgrid(tiny.encode(), "x")[1] == phones  # as a program writes that fills all gaps


def _speakers(*names: str) -> str:
    """The tiers of SHORT for each speaker, called NAME - words and NAME - phones."""
    head, body = SHORT.split("<exists>\n2\n")
    tiers = [body.replace('"Words"', f'"{name}words"').replace('"phone"', f'"{name}phones"') for name in names]
    return f"{head}<exists>\n{2 * len(names)}\n" + "".join(tiers)


@pytest.mark.parametrize("name", ["", "spk1 - ", "1272-", "Anne - Marie - ", "\u00c9mile -", "words - ", "  x  -  "])
def test_the_tiers_of_one_speaker_are_read(name: str) -> None:
    assert parse_textgrid(_speakers(name).encode(), "x") == parse_textgrid(SHORT.encode(), "x")
    odd = _speakers(name).replace("phones", "PHONE ")
    assert parse_textgrid(odd.encode(), "x") == parse_textgrid(SHORT.encode(), "x")


def test_the_tiers_of_several_speakers() -> None:
    problem = _problem(_speakers("anne - ", "ben - "))
    assert "tiers of 2 speakers: anne, ben;" in problem and "each with a TextGrid of its own" in problem
    assert "tiers of 2 speakers: one without a name, ben" in _problem(_speakers("", "ben - "))
    silent = _speakers("anne - ", "ben - ")
    at = silent.index("ben - words")
    silent = silent[:at] + silent[at:].replace('"hi"', '""')  # a speaker without a word
    assert parse_textgrid(silent.encode(), "x")[0] == [Span("hi", 0.0, 0.4)]
    twice = _speakers("", "").replace("words", "Word", 1)
    assert "2 tiers where one is needed: Word, words;" in _problem(twice)
    # a tier of another thing whose name ends like one of words is of no speaker
    keys = _speakers("", "key - ").replace("key - phones", "keys")
    assert parse_textgrid(keys.encode(), "x") == parse_textgrid(SHORT.encode(), "x")


def _reason(words: list[Span], phones: list[Span], text: str = "the cat", seconds: float = 1.0125) -> str | None:
    """The reason why words and phones are rejected, or None."""

    def tier(name: str, spans: list[Span]) -> str:
        return f'"IntervalTier"\n"{name}"\n0\n{seconds}\n{len(spans)}\n' + "".join(
            f'{s.start}\n{s.end}\n"{"" if s.label == "SIL" else s.label}"\n' for s in spans
        )

    head = f'"ooTextFile"\n"TextGrid"\n0\n{seconds}\n<exists>\n2\n'
    try:
        found = read_alignment(
            (head + tier("words", words) + tier("phones", phones)).encode(), "x", text.split(), seconds
        )
    except AlignmentError as error:
        return str(error)
    assert all(a.end == b.start for a, b in itertools.pairwise(found.phones))
    return None


def test_phones_must_cover_their_words() -> None:
    assert _reason(WORDS, PHONES) is None
    spoken = [p for p in PHONES if p.label != "SIL"]
    assert _reason(WORDS, spoken) is None  # pauses as gaps
    for lost in spoken:  # whichever phone is lost, with its interval or with its label
        word = next(w for w in WORDS if w.start <= lost.start < w.end)
        expected = f"'{word.label}' from {word.start:.3f} to {word.end:.3f} s, has no phone from {lost.start:.3f} to "
        for phones in (
            [p for p in spoken if p != lost],
            [p._replace(label="SIL") if p == lost else p for p in PHONES],
            [p._replace(label="sp") if p == lost else p for p in PHONES],
        ):
            reason = _reason(WORDS, phones)
            assert (
                reason.startswith("word with a gap: word ")
                and expected + f"{lost.end:.3f} s in the phones tier" in reason
            )
    none = _reason(WORDS, [p for p in spoken if p.end <= 0.25])
    assert none == "word without phones: word 2, 'cat' from 0.400 to 0.900 s, has none in the phones tier"


@pytest.mark.shared
def test_every_phone_that_a_genuine_file_loses_is_missed(shared_data: Path) -> None:
    """MFA's own TextGrid, with phones of 0.01 s."""
    file = shared_data / "alignments/acoustic_corpus/acoustic_corpus.mfa.TextGrid"
    words, phones = read_textgrid(file)
    text, seconds = " ".join(normalise(w.label) for w in words), phones[-1].end
    assert _reason(words, phones, text, seconds) is None
    for lost in (phone for phone in phones if phone.label != "SIL"):
        reason = _reason(words, [phone for phone in phones if phone != lost], text, seconds)
        assert reason.startswith(("word with a gap: ", "word without phones: ")), lost


def test_a_lost_phone_between_words_that_touch() -> None:
    words = [Span("the", 0.0, 0.5), Span("cat", 0.5, 1.0)]
    phones = [Span(p, k / 10, (k + 2) / 10) for k, p in zip(range(0, 10, 2), ("DH", "AH0", "K", "AE1", "T"))]
    assert "word 1, 'the' from 0.000 to 0.500 s" in _reason(words, phones[:1] + phones[2:], seconds=1.0)
    ten = [Span("DH", 0.0, 0.3), Span("AH0", 0.3, 0.5), Span("AE1", 0.51, 0.8), Span("T", 0.8, 1.0)]
    assert "'cat' from 0.500 to 1.000 s, has no phone from 0.500 to 0.510 s" in _reason(words, ten, seconds=1.0)


def test_edges_that_differ_by_less_than_a_phone_are_read() -> None:
    """Boundaries of the two tiers that were set one by one."""
    words = [Span("the", 0.092, 0.258), Span("cat", 0.391, 0.893)]
    assert _reason(words, PHONES) is None
    away = [Span("the", 0.1, 0.25), Span("cat", 0.39, 0.9)]  # MFA's shortest phones last 0.01 s
    assert "has no phone from 0.390 to 0.400 s" in _reason(away, PHONES)


def test_a_phone_without_a_word() -> None:
    extra = [*PHONES[:-1], Span("S", 0.95, 1.0)]
    assert _reason(WORDS, extra) == (
        "phone without a word: 'S' from 0.950 to 1.000 s in the phones tier; the words tier has no word there"
    )


def test_a_noise_names_its_word() -> None:
    noise = [p._replace(label="spn") if p.label == "AE1" else p for p in PHONES]
    assert _reason(WORDS, noise) == "unknown word: cat"
    assert _reason(WORDS, [*PHONES[:-1], Span("spn", 0.95, 1.0)]) == "unknown word: its phone is spn"


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
    tiers, points, end = parse_grid(path.read_bytes())
    assert points == [t.name for t in grid.tiers if isinstance(t, textgrid.PointTier)]
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
