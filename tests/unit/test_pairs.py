"""Pairs files in the forms in which they are published."""

import csv
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechladder.benchmarks.pairs import Pair, read_pairs, spread
from speechladder.io.errors import UserError


def put(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


BLIMP = {"sentence_good": "Ann sleeps.", "sentence_bad": "Ann sleep.", "UID": "agreement", "pairID": "7"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson"])
def test_blimp(tmp_path, name):
    path = put(tmp_path / name, json.dumps(BLIMP) + "\n\n" + json.dumps(BLIMP | {"pairID": "8"}) + "\n")
    pairs, rejects = read_pairs(path)
    assert pairs[0] == Pair("agreement-7", "agreement", "Ann sleeps.", "Ann sleep.")
    assert pairs[1].id == "agreement-8"
    assert rejects == []


@pytest.mark.parametrize("name", ["w.csv", "w.csv.gz", "w.tsv"])
@pytest.mark.parametrize("header", ["Word,Pseudoword", "word,NONWORD", "correct,incorrect", "Good,Bad"])
def test_tables(tmp_path, name, header):
    text = f"{header}\nPRISON,prenon\nCAFE,ERR_Sequence cafe was not found\n\nSILVER,sidger\n"
    path = put(tmp_path / name, "\ufeff" + (text.replace(",", "\t") if "tsv" in name else text))
    pairs, rejects = read_pairs(path)
    assert [(p.id, p.type, p.good, p.bad) for p in pairs] == [
        ("w-2", "w", "PRISON", "prenon"),
        ("w-5", "w", "SILVER", "sidger"),
    ]
    assert [row for row, _ in rejects] == [3]
    assert "ERR_Sequence cafe" in rejects[0][1]


def test_generic_columns_and_rejects(tmp_path):
    (tmp_path / "x.wav").touch()
    lines = [
        "id,type,good,bad,good_audio,bad_audio",
        'a,t,"Yes, sir.",No sir.,x.wav,x.wav',
        "a,t,One.,Two.,,",
        "b,t,,Two.,,",
        "c,t,Two.,two,,",
        "d,t,One.,Two.,x.wav,",
        "e,t,One.,Two.,x.wav,gone.wav",
        "f,t,One.,...,,",
        "g,t,One.",
        'h,,"One",Two,,',
    ]
    pairs, rejects = read_pairs(put(tmp_path / "p.csv", "\n".join(lines)))
    assert [(p.id, p.type, p.good_audio) for p in pairs] == [("a", "t", str(tmp_path / "x.wav")), ("h", "p", None)]
    assert pairs[0].good == "Yes, sir."
    expected = {
        3: "duplicate id a",
        4: "good is empty",
        5: "equal",
        6: "together",
        7: "gone.wav",
        8: "no letters",
        9: "bad is empty",
    }
    assert [row for row, _ in rejects] == list(expected)
    for row, reason in rejects:
        assert expected[row] in reason


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "file,word\nx,y\n", r"a\.csv, row 2: no column for the bad item.*sentence_bad.*found: file, word"),
        ("a.csv", "frase,mala\nx,y\n", r"no column for the good item.*good, sentence_good, word, correct"),
        ("a.jsonl", '{"good": "x"}\n', r"a\.jsonl, row 1: no column for the bad item"),
        ("a.jsonl", "1\n", r"row 1: not a"),
        ("a.jsonl", '{"good": "x"\n', r"no usable pair among 1 rows; row 1: not JSON"),
        ("a.csv", "good,bad\nx,x\n", r"no usable pair among 1 rows; row 2: good and bad are equal"),
        ("a.csv", "", r"no usable pair"),
        ("a.csv", 'good,bad\n"x,y\n', r"a\.csv: no usable pair among 1 rows; row 2: a quote that is not closed"),
        ("a.txt", "good,bad\n", r"named \.jsonl"),
    ],
)
def test_mistakes_are_named(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message):
        read_pairs(put(tmp_path / name, text))


def test_missing_and_truncated(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_pairs(tmp_path / "no.csv")
    path = put(tmp_path / "t.csv.gz", "good,bad\n" + "".join(f"x{i},y{i}\n" for i in range(4000)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"t\.csv\.gz, line"):
        read_pairs(path)
    (tmp_path / "latin.csv").write_bytes("good,bad\ncaf\u00e9,b\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.csv.*UTF-8"):
        read_pairs(tmp_path / "latin.csv")


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_every_row_is_a_pair_or_a_reject(tmp_path_factory, rows):
    """Each row that is not empty is a pair or a reject, whatever its cells hold."""
    path = tmp_path_factory.mktemp("p") / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["good", "bad"])
        writer.writerows([("ax", "bx"), *rows])
    pairs, rejects = read_pairs(path)
    filled = [r for r in rows if r[0].strip() or r[1].strip()]
    assert len(pairs) + len(rejects) == 1 + len(filled)


def made(name, count):
    return [Pair(f"{name}{i}", name, "a", "b") for i in range(count)]


def test_spread():
    files = {"x": made("x", 3), "y": made("y", 100), "z": made("z", 100)}
    taken = spread(files, 43)
    assert [sum(p.type == n for p in taken) for n in files] == [3, 20, 20]
    assert [p.id for p in taken[3:7]] == ["y0", "y5", "y10", "y15"]
    assert spread(files, 43) == taken
    assert len(spread(files, 0)) == 203
    assert len(spread(files, 500)) == 203
    assert len(spread(files, 2)) == 2


@given(st.lists(st.integers(0, 12), max_size=6), st.integers(1, 40))
def test_spread_is_even(sizes, wanted):
    files = {f"f{i}.csv": made("same", n) for i, n in enumerate(sizes)}
    taken = spread(files, wanted)
    assert len(taken) == min(wanted, sum(sizes))
    assert len({p.id for p in taken}) == len(taken)


@pytest.mark.shared
def test_published_files(shared_data):
    pairs, rejects = read_pairs(shared_data / "nonwords" / "pseudowords_wuggy_final.csv")
    assert len(pairs) == 99
    assert [row for row, _ in rejects] == [27]
    paths = sorted((shared_data / "blimp").glob("*.jsonl.gz"))[:3]
    read = {str(p): read_pairs(p)[0] for p in paths}
    assert all(len(pairs) > 990 for pairs in read.values())
    taken = spread(read, 60)
    assert len(taken) == 60
    assert sorted({p.type for p in taken}) == [p.name.split(".")[0] for p in paths]


def test_a_row_with_an_unquoted_comma_is_rejected(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('good,bad\nthe dog, the old one,the dog old\n"a, b","b, a"\nthe cat,cat the,\n')
    pairs, rejects = read_pairs(path)
    assert [(p.good, p.bad) for p in pairs] == [("a, b", "b, a"), ("the cat", "cat the")]
    assert rejects == [(2, "3 cells in 2 columns; put quotes around a text with ','")]


def table_of_twos(path, rows):
    return put(path, "\n".join(["id,good,bad,two", *rows]))


def test_the_pairs_of_a_two_stay_together(tmp_path):
    rows = ["a,one,two,x", "b,three,four,", "c,five,six,y", "d,seven,eight,x", "e,nine,ten,y"]
    path = table_of_twos(tmp_path / "p.csv", rows)
    pairs, rejects = read_pairs(path)
    assert [(p.id, p.two) for p in pairs] == [("a", "x"), ("b", ""), ("c", "y"), ("d", "x"), ("e", "y")]
    assert rejects == []
    assert [p.id for p in spread({str(path): pairs}, 0)] == ["a", "d", "b", "c", "e"]
    for most in range(2, 6):
        taken = spread({str(path): pairs}, most)
        assert 0 < len(taken) <= most
        assert all(sum(p.two == q.two for q in taken) == 2 for p in taken if p.two)
    both = spread({"p.csv": pairs, "q.csv": pairs}, 0)
    assert [p.two for p in both] == ["x", "x", "", "y", "y", "q/x", "q/x", "", "q/y", "q/y"]
    only = [p for p in pairs if p.two]
    with pytest.raises(UserError, match=r"max_pairs=1: is less than the two pairs of a two"):
        spread({str(path): only}, 1)


def test_a_two_has_two_pairs(tmp_path):
    path = table_of_twos(tmp_path / "p.csv", ["a,one,two,x", "b,three,four,", "c,five,six,x", "d,seven,eight,x"])
    with pytest.raises(UserError, match=r"p.csv, row 2: the two 'x' has 3 pairs \(rows 2, 4, 5\); give exactly two"):
        read_pairs(path)


def test_both_pairs_of_a_two_have_audio_or_none(tmp_path):
    (tmp_path / "x.wav").touch()
    rows = ["a,one,two,t,x.wav,x.wav", "b,three,four,,,", "c,five,six,t,{0},{0}"]
    head = "id,good,bad,two,good_audio,bad_audio"
    path = put(tmp_path / "p.csv", "\n".join([head, *rows]).format(""))
    with pytest.raises(UserError, match=r"p.csv, rows 2 and 4: one pair of the two 't' has audio .*; give good_audio"):
        read_pairs(path)
    pairs, rejects = read_pairs(put(tmp_path / "p.csv", "\n".join([head, *rows]).format("x.wav")))
    assert [bool(pair.good_audio) for pair in pairs] == [True, False, True] and not rejects


def test_a_pair_goes_with_the_other_pair_of_its_two(tmp_path):
    path = table_of_twos(tmp_path / "p.csv", ["a,one,two,x", "b,three,four,", "c,,six,x"])
    pairs, rejects = read_pairs(path)
    assert [p.id for p in pairs] == ["b"]
    assert rejects == [(2, "the other pair of its two is rejected (row 4)"), (4, "good is empty")]


def test_a_raw_quote_in_a_tsv_is_text(tmp_path):
    rows = [
        "good\tbad",
        '"Yes, he said.\tYes he say.',
        '"No," she said.\t"No," she say.',
        'It is 5" long.\tIt are 5" long.',
        '"""Oh!"" he said."\tOh he say.',
        '"two\tthree"',
        '"over',
        'lines"\tover line',
        "last\tlost",
    ]
    pairs, rejects = read_pairs(put(tmp_path / "p.tsv", "\n".join(rows) + "\n"))
    assert rejects == []
    assert [(p.good, p.bad) for p in pairs] == [
        ('"Yes, he said.', "Yes he say."),
        ('"No," she said.', '"No," she say.'),
        ('It is 5" long.', 'It are 5" long.'),
        ('"Oh!" he said.', "Oh he say."),
        ('"two', 'three"'),
        ("over\nlines", "over line"),
        ("last", "lost"),
    ]
    assert [p.id for p in pairs] == ["p-2", "p-3", "p-4", "p-5", "p-6", "p-7", "p-9"]  # the line where the row begins


def test_a_bad_row_is_rejected_by_its_own_line_and_ends_nothing(tmp_path):
    rows = ["good,bad", "a,b", '"c" d,e', '"f,g', "h,i", "K\u00f8benhavn,m", "n,\u0430", '"o\np",q', "r,s,t", "u,v"]
    pairs, rejects = read_pairs(put(tmp_path / "p.csv", "\n".join(rows)))
    assert [(p.id, p.good) for p in pairs] == [("p-2", "a"), ("p-5", "h"), ("p-8", "o\np"), ("p-11", "u")]
    expected = {
        3: "a quote that is not closed or stands inside a cell",
        4: "a quote that is not closed or stands inside a cell",
        6: "letters that are not English: \u00f8 (U+00F8), in good: 'K\u00f8benhavn'",
        7: "letters that are not English: \u0430 (U+0430), in bad",
        10: "3 cells in 2 columns",
    }
    assert [row for row, _ in rejects] == list(expected)
    for row, reason in rejects:
        assert reason.startswith(expected[row])


@pytest.mark.parametrize(("name", "shape"), [("p.csv", "{},{}"), ("p.jsonl", '{{"good": "{}", "bad": "{}"}}')])
def test_a_row_that_is_not_utf_8_names_its_encoding(tmp_path, name, shape):
    rows = [
        shape.format("good", "bad"),
        shape.format("one", "two"),
        shape.format("caf\u00e9", "b"),
        shape.format("x", "y"),
    ]
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(row.encode("cp1252") for row in rows))
    pairs, rejects = read_pairs(tmp_path / name)
    assert [p.good for p in pairs][-2:] == ["one", "x"]
    assert [(row, reason[:24]) for row, reason in rejects] == [(3, "not UTF-8: byte 0xe9 at ")]


def test_a_broken_line_of_json_ends_nothing(tmp_path):
    text = '{"good": "a", "bad": "b"}\n{"good": "c"\n[1]\n{"good": "d\\ud83d", "bad": "e"}\n{"good": "f", "bad": "g"}\n'
    pairs, rejects = read_pairs(put(tmp_path / "p.jsonl", text))
    assert [p.good for p in pairs] == ["a", "f"]
    assert [(row, reason.split(":")[0]) for row, reason in rejects] == [
        (2, "not JSON"),
        (3, "not a JSON object"),
        (4, "control characters"),
    ]


def test_values_that_are_no_texts(tmp_path):
    text = (
        '{"good": ["a"], "bad": "b"}\n{"good": "c", "bad": NaN}\n{"good": true, "bad": 1}\n{"good": 5, "bad": "six"}\n'
    )
    pairs, rejects = read_pairs(put(tmp_path / "p.jsonl", text))
    assert [(p.good, p.bad) for p in pairs] == [("5", "six")]
    assert rejects == [(1, "good is no text: ['a']"), (2, "bad is empty"), (3, "good is no text: True")]


def test_a_short_first_row_and_blank_lines_before_the_header(tmp_path):
    pairs, rejects = read_pairs(put(tmp_path / "p.csv", "\n\nid,good,bad\n1,cat\n2,dog,dig\n"))
    assert [(p.id, p.good) for p in pairs] == [("2", "dog")]
    assert rejects == [(4, "bad is empty")]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("p.json", '\n[\n{"good": "a", "bad": "b"},\n{"good": "c", "bad": "d"}\n]\n', "line 2: is a JSON array"),
        ("p.csv", "# made by hand\ngood,bad\na,b\n", "line 1: names one column, '# made by hand'"),
        ("p.tsv", "good bad\na b\n", "line 1: names one column, 'good bad'"),
        ("p.csv", "good,good,bad\na,b,c\n", "line 1: the column good is named twice"),
    ],
)
def test_a_file_of_another_shape(tmp_path, name, text, reason):
    with pytest.raises(UserError, match=reason):
        read_pairs(put(tmp_path / name, text))
