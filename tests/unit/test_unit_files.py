"""The field's own files of units: textlesslib, GSLM, fairseq, ESPnet; each as far as the table of units."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, read_table, write_table
from speechladder.settings import Units
from speechladder.units.external.files import files_of, with_companions
from speechladder.units.external.load import load_shard
from speechladder.units.external.names import ItemNames
from speechladder.units.external.partition import partition_files, partition_units
from speechladder.units.external.read import has_durations, read_rows

UNITS = {"s1-a": [3, 49, 7, 7], "s1-b": [0], "s2-a": [9, 9, 2]}
DURATIONS = {"s1-a": [2, 1, 3, 4], "s1-b": [10], "s2-a": [4, 5, 1]}
BOM = b"\xef\xbb\xbf"


def numbers(values, separator=" "):
    return separator.join(map(str, values))


def named(bar, values=UNITS, separator=" "):
    return [f"{name}{bar}{numbers(row, separator)}" for name, row in values.items()]


def manifest(root="/audio", frames=True):
    return [root, *(f"{name[:2]}/{name}.flac" + ("\t3200" if frames else "") for name in UNITS)]


def put(folder, **files):
    """Write files of lines; `a_b` is a.b. Return the folder."""
    for name, lines in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return folder


def read(path):
    rows = list(read_rows(files_of(path)))
    return rows, {row.name.rsplit("/", 1)[-1].removesuffix(".flac"): row.units.tolist() for row in rows}


def cuts_of(folder, seconds):
    """Cuts and alignment of one shard, an utterance for each recording."""
    cuts = [
        Cut(id, id, f"/data/{id[:2]}/{id}.flac", 0.0, s, "s", "train", "a", "a", 16_000, round(16_000 * s))
        for id, s in seconds.items()
    ]
    write_cuts(folder / "cuts.0.jsonl.gz", cuts)
    aligned = [{"id": cut.id, "words": [], "phones": [], "seconds": cut.duration, "aligner": "x"} for cut in cuts]
    write_table(folder / "alignment.0.parquet", aligned, ALIGNMENT)
    return folder / "cuts.0.jsonl.gz"


def table_of(folder, path, seconds=None, **settings):
    """The table of units of ({id: (units, durations)}, {id: reason}) that the files at `path` give."""
    units = Units(source="external", path=str(path), **({"rate": 10} | settings))
    cuts = cuts_of(folder, seconds or {id: sum(row) / 10 for id, row in DURATIONS.items()})
    partition_files(files_of(path), [cuts], folder / "external", codebooks=units.num_codebooks)
    out, rejected = folder / "0.parquet", folder / "rejected.jsonl"
    load_shard(folder / "external", 0, cuts, folder / "alignment.0.parquet", out, rejected, units, 1.0)
    rows = read_table(out, EXTERNAL_UNITS).to_pylist()
    return {row["id"]: (row["units"], row["durations"]) for row in rows}, {
        row["id"]: row["reason"] for row in read_jsonl(rejected)
    }


def textlesslib(folder):
    put(folder, x__units=named("\t"), x__durations=named("\t", DURATIONS))
    return folder / "x.units"


def textlesslib_without_names(folder):
    units, durations = ([numbers(row) for row in values.values()] for values in (UNITS, DURATIONS))
    put(folder, x__units=units, x__durations=durations, x__tsv=manifest())
    return folder / "x.units"


def gslm(folder):
    put(folder, quantized__txt=named("|"), quantized__durations=named("|", DURATIONS))
    return folder / "quantized.txt"


def fairseq(folder):
    units, durations = ([numbers(row) for row in values.values()] for values in (UNITS, DURATIONS))
    dictionary = [f"{unit} 1" for unit in range(100)]
    put(folder, train__km=units, train__tsv=manifest(), train__durations=durations, dict__km__txt=dictionary)
    return folder


def utterances(folder):
    for name, row in UNITS.items():
        (folder / f"{name}.units").write_text(numbers(row))
        (folder / f"{name}.durations").write_text(numbers(DURATIONS[name]))
    return folder


def columns(folder):
    rows = [f"{name}.wav\t{numbers(row)}\t{numbers(DURATIONS[name])}" for name, row in UNITS.items()]
    put(folder, x__tsv=["path\tunits\tdurations", *rows])
    return folder


def json_texts(folder):
    rows = [{"id": id, "units": numbers(row), "duration": numbers(DURATIONS[id])} for id, row in UNITS.items()]
    put(folder, x__jsonl=map(json.dumps, rows))
    return folder / "x.jsonl"


def parquet_texts(folder):
    table = {"id": list(UNITS)} | {
        name: [numbers(row) for row in values.values()] for name, values in (("units", UNITS), ("duration", DURATIONS))
    }
    pq.write_table(pa.table(table), folder / "x.parquet")
    return folder / "x.parquet"


FORMATS = [textlesslib, textlesslib_without_names, gslm, fairseq, utterances, columns, json_texts, parquet_texts]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_table(tmp_path, form):
    (tmp_path / "made").mkdir()
    path = form(tmp_path / "made")
    found, reasons = table_of(tmp_path, path)
    assert found == {id: (row, DURATIONS[id]) for id, row in UNITS.items()}
    assert reasons == {}
    assert has_durations(str(path))


@pytest.mark.parametrize("form", FORMATS)
def test_durations_are_checked_against_the_audio_and_repeat(tmp_path, form):
    (tmp_path / "made").mkdir()
    path = form(tmp_path / "made")
    found, _ = table_of(tmp_path, path, repeat=True)
    assert found["s1-a"] == ([3, 3, 49, 7, 7, 7, 7, 7, 7, 7], None)
    _, reasons = table_of(tmp_path, path, seconds=dict.fromkeys(UNITS, 7.0))
    assert "10 frames of units in 7.00 s are 1.4 a second, but units.rate is 10" in reasons["s2-a"]


@pytest.mark.parametrize(
    "line",
    [
        *("{}\t3 49 7", "{}|3 49 7", "{} 3 49 7", "{}.wav\t3 49 7 ", "/x/y/{}.flac|3 49 7", "C:\\x\\{}.wav\t3 49 7"),
        *("{}|3,49,7", "{}\t[3, 49, 7]", "{} <Un3><Un49><Un7>", "{}|<3> <49> <7>"),
    ],
)
def test_a_line_of_text_may_be_written_in_many_ways(tmp_path, line):
    path = put(tmp_path, x__txt=[line.format(id) for id in UNITS]) / "x.txt"
    found, reasons = table_of(tmp_path, path, rate=0)
    assert reasons == {}
    assert found == dict.fromkeys(UNITS, ([3, 49, 7], None))


def test_the_last_bar_separates(tmp_path):
    (row,) = read_rows([put(tmp_path, x__txt=["passengers-1|good|us-m1|3 49"]) / "x.txt"])
    assert (row.name, row.units.tolist()) == ("passengers-1|good|us-m1", [3, 49])


@pytest.mark.parametrize("kind", ["plain", "bom", "crlf", "cr", "blank", "gzip", "utf-16", "no newline"])
@pytest.mark.parametrize("form", [textlesslib, textlesslib_without_names, gslm, fairseq, json_texts])
def test_bytes_around_the_lines_do_not_matter(tmp_path, form, kind):
    form(tmp_path)
    change = {
        "plain": lambda text: text,
        "bom": lambda text: BOM + text,
        "crlf": lambda text: text.replace(b"\n", b"\r\n"),
        "cr": lambda text: text.replace(b"\n", b"\r"),
        "blank": lambda text: b"\n" + text.replace(b"\n", b"\n\n") + b"  \n\n",
        "gzip": gzip.compress,
        "utf-16": lambda text: text.decode().encode("utf-16"),
        "no newline": lambda text: text.removesuffix(b"\n"),
    }[kind]
    for path in list(tmp_path.iterdir()):
        text = change(path.read_bytes())
        path.unlink()
        path.with_name(path.name + ".gz" * (kind == "gzip")).write_bytes(text)
    rows, found = read(tmp_path)
    assert found == UNITS
    assert [row.durations.tolist() for row in rows] == list(DURATIONS.values())


def test_line_i_belongs_to_file_i_though_an_utterance_has_no_unit(tmp_path):
    # fairseq writes an empty line for it, also at the end
    folder = put(tmp_path, train__km=["3 49", "", ""], train__tsv=manifest())
    rows, found = read(folder)
    assert found == {"s1-a": [3, 49], "s1-b": [], "s2-a": []}
    assert [row.name for row in rows] == ["/audio/s1/s1-a.flac", "/audio/s1/s1-b.flac", "/audio/s2/s2-a.flac"]
    assert [row.problem for row in rows] == ["", "no units: the list is empty", "no units: the list is empty"]
    assert rows[1].where.endswith("train.km, line 2")


@pytest.mark.parametrize("frames", [True, False])
def test_a_manifest_may_have_no_numbers_of_samples(tmp_path, frames):
    _, found = read(put(tmp_path, train__km=["3", "4", "5"], train__tsv=manifest(frames=frames)))
    assert found == {"s1-a": [3], "s1-b": [4], "s2-a": [5]}


def test_parts_of_a_km_file_are_those_of_fairseq(tmp_path):
    names = [f"{n}.flac\t16000" for n in range(7)]
    parts = {f"train_{part}_3__km": [f"{n}" for n in some] for part, some in enumerate([(0, 1), (2, 3, 4), (5, 6)])}
    _, found = read(put(tmp_path, train__tsv=["/audio", *names], **parts))
    assert found == {str(n): [n] for n in range(7)}
    (tmp_path / "train_1_3.km").write_text("2\n3\n")
    with pytest.raises(UserError, match=r"train_1_3\.km: 2 lines, but part 1 of 3 of .*train\.tsv has 3"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"train__km": ["3", "4"]}, r"train\.km: 2 lines without names; .* put the manifest train\.tsv beside it"),
        ({"train__km": ["3", "4"], "train__tsv": manifest()}, r"2 lines, but .*train\.tsv without its root has 3"),
        ({"train__km": ["3"] * 4, "train__tsv": manifest()}, r"4 lines, but .*train\.tsv without its root has 3"),
        ({"train__km": ["3"] * 3, "train__tsv": manifest()[1:]}, r"train\.tsv, line 1: .* is no root folder"),
        ({"x__units": named("\t"), "x__durations": ["2 1"]}, r"x\.durations: 1 lines, but .*x\.units has 3"),
        (
            {"x__units": named("\t"), "x__durations": named("\t")[::-1]},
            r"x\.units, line 1: 's1-a', but .*x\.durations, line 1: 's2-a'",
        ),
        ({"x__units": ["a|3", "4 5"]}, r"x\.units, line 2: no name, unlike the first line"),
        ({"x__km": ["3", "b|3"], "x__tsv": ["/", "a.wav", "b.wav"]}, r"x\.km, line 2: a name, unlike the first line"),
    ],
)
def test_files_that_do_not_belong_together_are_an_error_with_both(tmp_path, files, said):
    with pytest.raises(UserError, match=said):
        read(put(tmp_path, **files))


def test_durations_beside_are_never_taken_for_seconds(tmp_path):
    rows, _ = read(put(tmp_path, x__units=["a|3 4", "b|3", "c|3"], x__durations=["2", "0.5", "7"]))
    assert [row.problem for row in rows] == [
        "2 units, but 1 durations",
        "duration '0.5' at place 0 is no integer from 1 to 65,535",
        "",
    ]


def test_a_text_of_seconds_is_no_duration(tmp_path):
    rows = [{"id": "a", "units": [1, 2], "duration": said} for said in ("0.04", "12")] + [
        {"id": "a", "units": [1], "duration": "12"},
        {"id": "a", "units": [1, 2], "duration": "2, 1"},
        {"id": "a", "units": [1, 2], "duration": "2 x"},
    ]
    rows, _ = read(put(tmp_path, x__jsonl=map(json.dumps, rows)))
    assert [None if row.durations is None else row.durations.tolist() for row in rows] == [None, None, [12], [2, 1], []]
    assert rows[-1].problem == "durations '2 x' are neither <Un3><Un49> nor 3 49"


def test_a_third_column_is_durations_or_seconds_or_neither(tmp_path):
    texts = ["2 1", "3", "0.5 2", "hello", "2,1", ""]
    rows, _ = read(put(tmp_path, x__txt=[f"a\t1 2\t{text}" for text in texts]))
    found = [None if row.durations is None else row.durations.tolist() for row in rows]
    assert found == [[2, 1], None, [], None, [2, 1], None]
    assert rows[2].problem == "durations '0.5 2' are neither <Un3><Un49> nor 3 49"


def test_a_folder_is_its_files_of_units_and_not_what_lies_beside(tmp_path):
    fairseq(tmp_path)
    put(
        tmp_path,
        **{"README__txt": ["Units of HuBERT, layer 9", "|"], "84-1__trans__txt": ["84-1-0 GO ON"], "x__f0s": ["1.5 2"]},
        **{"b/gslm__txt": ["s3-a|3 49"], "b/._gslm__txt": ["\0"], ".cache/old__km": ["1"], "notes__tsv": ["a\tb"]},
        config__json=["{", '"clusters": 100}'],
    )
    assert [str(path.relative_to(tmp_path)) for path in files_of(tmp_path)] == ["b/gslm.txt", "train.km"]
    beside = [path.name for path in with_companions(files_of(tmp_path))]
    assert beside == ["gslm.txt", "train.km", "train.tsv", "train.durations"]


@pytest.mark.parametrize("first", ["s1-a|", "s1-a\t", "s1-a|3 -49", "s1-a|3.0 49.0", 's1-a\t"[3, 49]"'])
def test_a_first_line_that_cannot_be_used_is_no_reason_to_leave_a_file_out(tmp_path, first):
    folder = put(tmp_path / "units", a__txt=[first, "s1-b|0"], b__txt=["s2-a|9 9 2"], valid__tsv=manifest())
    found, rejected = table_of(tmp_path, folder, rate=0)
    assert found == {"s1-b": ([0], None), "s2-a": ([9, 9, 2], None)}
    assert list(rejected) == ["s1-a"] and not rejected["s1-a"].startswith("no units of it")


def test_a_folder_without_units_names_what_it_holds(tmp_path):
    with pytest.raises(UserError, match=r"no files of units; x\.json has none in its first line"):
        files_of(put(tmp_path, x__json=["{", '"s1-a": [3, 49]}']))


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("x.tsv", manifest(), r"x\.tsv: is a manifest and has no units"),
        ("dict.km.txt", ["0 1", "1 1"], r"dict\.km\.txt: 2 lines without names"),
        ("x.durations", ["3 49"], r"units\.path: .*x\.durations: no file of units; their names end in .*\.km"),
        ("README.md", ["Units"], r"units\.path: .*README\.md: no file of units"),
    ],
)
def test_a_file_that_is_no_file_of_units_is_refused(tmp_path, name, lines, said):
    path = put(tmp_path, **{name.replace(".", "__"): lines}) / name
    with pytest.raises(UserError, match=said):
        has_durations(str(path))


def test_bytes_that_are_no_text_are_an_error_with_the_file(tmp_path):
    (tmp_path / "x.units").write_bytes(b"na\xefve|3 49\n")
    with pytest.raises(UserError, match=r"x\.units: not readable as text .* write it as UTF-8"):
        read(tmp_path / "x.units")


# Names


def recordings(folder, *paths):
    cuts = [
        Cut(f"id{n}", f"rec{n}", path, 0.0, 4.0, "s", "train", "a", "a", 16_000, 64_000) for n, path in enumerate(paths)
    ]
    write_cuts(folder / "cuts.0.jsonl.gz", cuts)
    return [folder / "cuts.0.jsonl.gz"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("/data/p/1.flac", "/data/p/1.flac"),
        ("q/1.wav", "/data/q/1.flac"),
        ("/elsewhere/data/q/1.wav", "/data/q/1.flac"),
        ("q\\1.wav", "/data/q/1.flac"),
        ("2", "/data/q/2.flac"),
        ("any/2.flac", "/data/q/2.flac"),
        ("rec0", "/data/p/1.flac"),
    ],
)
def test_the_end_of_a_path_says_which_file_is_meant(tmp_path, name, meant):
    cuts = recordings(tmp_path, "/data/p/1.flac", "/data/q/1.flac", "/data/q/2.flac")
    path = put(tmp_path, x__txt=[f"{name}\t{numbers([3] * 40)}"]) / "x.txt"
    partition_files([path], cuts, tmp_path / "external")
    aligned = [{"id": f"id{n}", "words": [], "phones": [], "seconds": 4.0, "aligner": "x"} for n in range(3)]
    write_table(tmp_path / "a.parquet", aligned, ALIGNMENT)
    out = tmp_path / "0.parquet"
    units = Units(source="external", path=str(path), rate=10)
    load_shard(tmp_path / "external", 0, cuts[0], tmp_path / "a.parquet", out, tmp_path / "r.jsonl", units, 1.0)
    found = read_table(out, EXTERNAL_UNITS)["id"].to_pylist()
    assert found == [f"id{['/data/p/1.flac', '/data/q/1.flac', '/data/q/2.flac'].index(meant)}"]


@pytest.mark.parametrize("name", ["1", "1.flac", "other/1.wav"])
def test_a_name_of_several_files_is_an_error_with_the_line(tmp_path, name):
    cuts = recordings(tmp_path, "/data/p/1.flac", "/data/q/1.flac")
    path = put(tmp_path, x__txt=[f"id0|{numbers([3])}", f"{name}|3"]) / "x.txt"
    with pytest.raises(UserError, match=r"x\.txt, line 2: .* is the name of several recordings"):
        partition_files([path], cuts, tmp_path / "external")


def test_rows_of_items_are_no_strangers_and_others_are_reported(tmp_path, capsys):
    items = ItemNames({"swuggy": ["x|good|v", "y|good|v"], "sblimp": ["y|good|v"], "continuation": ["z|prompt"]})
    rows = ["id0", "swuggy/x|good|v", "y|good|v", "/export/sblimp/y%7Cgood%7Cv.flac", "z%7Cprompt.flac"]
    put(tmp_path, x__txt=[f"{name}\t3" for name in rows])
    partition_files([tmp_path / "x.txt"], recordings(tmp_path, "/a.flac"), tmp_path / "external", items=items)
    assert "belong to no" not in capsys.readouterr().err
    put(tmp_path, x__txt=[f"{name}\t3" for name in [*rows, "swuggy/old|good|v", "9-9"]])
    partition_files([tmp_path / "x.txt"], recordings(tmp_path, "/a.flac"), tmp_path / "external", items=items)
    said = capsys.readouterr().err
    assert "2 of 7 rows belong to no utterance of the corpus and to no item, first 'swuggy/old|good|v', '9-9'" in said
    partition_units(str(tmp_path / "x.txt"), recordings(tmp_path, "/a.flac"), tmp_path / "external")
    assert "6 of 7 rows belong to no utterance of the corpus, first" in capsys.readouterr().err
    with pytest.raises(UserError, match="none of the 4 rows"):
        put(tmp_path, x__txt=[f"{name}\t3" for name in rows[1:]])
        partition_files([tmp_path / "x.txt"], recordings(tmp_path, "/a.flac"), tmp_path / "external", items=items)
