"""External units: the readers, the matching of names, the checks, and the units on the ladder."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speechladder.continuation import generate
from speechladder.corpora.cuts import Cut, read_cuts, write_cuts
from speechladder.io.audio import encode_flac, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, read_jsonl
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, ITEMS, UTTERANCES, read_table, write_table
from speechladder.rungs import registry
from speechladder.rungs.utterances import read_items, read_utterances, select_utterances
from speechladder.settings import Settings, Tokens, Units, load
from speechladder.units.diagnostics.external import write_external_quality
from speechladder.units.external import times
from speechladder.units.external.codebooks import as_integers
from speechladder.units.external.export import export_audio
from speechladder.units.external.files import files_of
from speechladder.units.external.load import load_items, load_shard
from speechladder.units.external.names import file_name, spellings
from speechladder.units.external.partition import partition_files, read_partition
from speechladder.units.external.read import has_durations, read_rows
from speechladder.workflow.rungs import check_units_of, silent_rungs, spoken_rungs, units_are_frames
from speechladder.workflow.subruns import variability_config


def lines(path, *objects):
    text = "".join(json.dumps(row) + "\n" for row in objects)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def external(**values):
    return Units(source="external", path="units.jsonl", **values)


# Reading


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "large_list", "text"])
def test_every_form_of_a_file_gives_the_same_rows(tmp_path, kind):
    names, units, durations = ["a", "b"], [[3, 49, 7], [0]], [[2, 1, 5], [9]]
    if kind.startswith("jsonl"):
        objects = [{"id": n, "units": u, "duration": d} for n, u, d in zip(names, units, durations)]
        path = lines(tmp_path / f"x.{kind}", *objects)
    else:
        wide = pa.large_list(pa.int64()) if kind == "large_list" else pa.list_(pa.uint16())
        said = pa.array(["<Un3><Un49><Un7>", "0"]) if kind == "text" else pa.array(units, wide)
        name = "audio_repr" if kind == "text" else "units"
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"path": names, name: said, "durations": pa.array(durations)}), path)
    found = list(read_rows([path]))
    assert [row.name for row in found] == names
    assert [row.units.tolist() for row in found] == units
    assert [row.durations.tolist() for row in found] == durations
    assert {row.units.dtype for row in found} == {np.dtype(np.uint16)}
    assert [row.problem for row in found] == ["", ""]
    assert has_durations(str(path))


def test_the_seconds_of_a_manifest_are_no_durations(tmp_path):
    path = lines(tmp_path / "x.jsonl", {"file_name": "a.flac", "units": [1, 2], "duration": 0.04})
    assert [(row.name, row.durations) for row in read_rows([path])] == [("a.flac", None)]
    assert not has_durations(str(path))
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": ["a"], "units": [[1, 2]], "duration": [0.04]}), table)
    assert next(read_rows([table])).durations is None


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        ([], "the list is empty"),
        ([1, -1], "unit -1 at place 1 is no integer"),
        ([1, 70_000], "unit 70000 at place 1 is no integer from 0 to 65,535"),
        ([1, 2.0], "unit 2.0 at place 1 is no integer"),
        ([1, None], "unit None at place 1"),
        ([1, 2**70], "at place 1"),
        ([[1, 2], [3, 4]], "one stream of integers"),
        ([[1, 2], [3]], "one stream of integers"),
        (None, "units are NoneType"),
        (7, "units are int"),
        ("hello", "neither <Un3><Un49> nor 3 49"),
    ],
)
def test_units_that_are_none_are_a_reason(tmp_path, units, problem):
    (row,) = read_rows([lines(tmp_path / "x.jsonl", {"id": "a", "units": units})])
    assert problem in row.problem
    assert len(row.units) == 0


@pytest.mark.parametrize(
    ("durations", "problem"),
    [([1], "2 units, but 1 durations"), ([1, 0], "duration 0 at place 1"), ([1, 0.5], "duration 0.5 at place 1")],
)
def test_durations_that_do_not_fit_are_a_reason(tmp_path, durations, problem):
    (row,) = read_rows([lines(tmp_path / "x.jsonl", {"id": "a", "units": [1, 2], "duration": durations})])
    assert problem in row.problem


def test_nulls_and_floats_in_parquet_are_reasons_too(tmp_path):
    for column in (pa.array([[1, None], None, [1, 2]]), pa.array([[1.0, 2.0], None, None])):
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"id": ["a", "b", "c"], "units": column}), path)
        found = list(read_rows([path]))
        assert "at place" in found[0].problem
        assert "NoneType" in found[1].problem
    assert found[2].problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"id": "a", "units": [1]}\n{"id": "b", "un', "line 2: not readable as JSON lines"),
        (b"[1, 2]\n", "line 1: no object"),
        (b'{"units": [1]}\n', "line 1: none of id, file_name, path"),
        (b'{"id": 7, "units": [1]}\n', "none of id, file_name, path that is a text"),
        (b'{"id": "a", "tokens": [1]}\n', "none of units, audio_repr; there are id, tokens"),
        (b"\x1f\x8b\x00", "not readable"),
    ],
)
def test_a_file_that_is_no_file_of_units_says_where(tmp_path, text, said):
    path = tmp_path / "x.jsonl"
    path.write_bytes(text)
    with pytest.raises(UserError, match=said) as error:
        list(read_rows([path]))
    assert str(path) in str(error.value)


def test_a_truncated_gzip_says_where(tmp_path):
    path = lines(tmp_path / "x.jsonl.gz", *({"id": f"{n}", "units": list(range(n, n + 99))} for n in range(300)))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match="not readable as JSON lines"):
        list(read_rows([path]))


def test_a_parquet_without_the_columns_or_that_is_none(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": ["a"], "tokens": [[1]]}), path)
    with pytest.raises(UserError, match="no column is called units, audio_repr; there are id, tokens"):
        list(read_rows([path]))
    path.write_bytes(b"PAR")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        list(read_rows([path]))


def test_a_folder_is_its_files_of_units(tmp_path):
    for name in ("b/2.jsonl", "a.parquet", "README.md", ".hidden.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in files_of(tmp_path)] == ["a.parquet", "2.jsonl"]
    with pytest.raises(UserError, match=r"units\.path: .*no file of units"):
        files_of(tmp_path / "README.md")
    with pytest.raises(UserError, match="is empty"):
        has_durations(str(lines(tmp_path / "empty.jsonl")))


# Names


@pytest.mark.parametrize(
    "id", ["plain", "large/10/book_64kb/chapter_5", "passengers-1|good|us-m1", "100%", "ä.b.c", "a b"]
)
def test_a_file_name_leads_back_to_its_id(id):
    name = file_name(id)
    assert "/" not in name
    assert id in spellings(f"/out/swuggy/{name}.flac")


def test_an_id_too_long_for_a_file_is_an_error():
    with pytest.raises(UserError, match="too long"):
        file_name("x" * 300)


# A corpus: two recordings of two utterances each, and one that is its recording, at 50 Hz

SECONDS = (4.0, 6.0)


def a_corpus(tmp_path):
    """Cuts and alignment of two shards. The utterance of the second one is its whole recording."""
    cuts = [
        Cut(
            f"r{r}-{n}",
            f"r{r}",
            f"/data/s{r}/r{r}.flac",
            4.0 * n,
            SECONDS[n],
            f"s{r}",
            split,
            "a b",
            "a b",
            16_000,
            160_000,
        )
        for r, split in enumerate(["train", "valid"])
        for n in range(2)
    ]
    alone = Cut("r2-0", "r2", "/data/s2/84-1.flac", 0.0, 4.0, "s2", "train", "a b", "a b", 16_000, 64_000)
    for shard, some in enumerate([cuts, [alone]]):
        write_cuts(tmp_path / f"cuts.{shard}.jsonl.gz", some)
        phones = [[Span("AA1", 0.0, 1.0), Span("B", 1.0, 2.5), Span("SIL", 2.5, cut.duration)] for cut in some]
        aligned = [
            {
                "id": cut.id,
                "words": as_rows([Span("a", 0.0, 1.0), Span("b", 1.0, 2.5)]),
                "phones": as_rows(spans),
                "seconds": cut.duration,
                "aligner": "x",
            }
            for cut, spans in zip(some, phones)
        ]
        write_table(tmp_path / f"alignment.{shard}.parquet", aligned, ALIGNMENT)
    return [tmp_path / f"cuts.{shard}.jsonl.gz" for shard in range(2)]


def loaded(tmp_path, *objects, max_rejected=1.0, memory=1 << 28, **settings):
    """Load these rows for the corpus: {id: (units, durations)} and {id: reason}."""
    cuts = a_corpus(tmp_path)
    partition_files([lines(tmp_path / "units.jsonl", *objects)], cuts, tmp_path / "external", memory)
    found, reasons = {}, {}
    for shard, path in enumerate(cuts):
        out, rejected = tmp_path / f"{shard}.parquet", tmp_path / f"rejected.{shard}.jsonl"
        alignment = tmp_path / f"alignment.{shard}.parquet"
        load_shard(tmp_path / "external", shard, path, alignment, out, rejected, external(**settings), max_rejected)
        for row in read_table(out, EXTERNAL_UNITS).to_pylist():
            found[row["id"]] = (row["units"], row["durations"])
        reasons |= {row["id"]: row["reason"] for row in read_jsonl(rejected)}
    return found, reasons


def random_units(count, seed=0, clusters=100):
    return np.random.default_rng(seed).integers(0, clusters, count).tolist()


@pytest.mark.parametrize("memory", [1, 1 << 28], ids=["spilt", "held"])
@pytest.mark.parametrize("rate", [12.5, 25, 50, 75])
def test_units_of_any_rate_are_taken_as_they_are(tmp_path, rate, memory):
    own = {f"r{r}-{n}": random_units(round(rate * SECONDS[n]) - 1, r) for r in range(2) for n in range(2)}
    own["r2-0"] = random_units(round(rate * 4))
    mixed = [{"id": id, "units": units} for id, units in reversed(own.items())]
    found, reasons = loaded(tmp_path, *mixed, rate=rate, memory=memory)
    assert found == {id: (units, None) for id, units in own.items()}
    assert list(found) == ["r0-0", "r0-1", "r1-0", "r1-1", "r2-0"]
    assert reasons == {}
    assert len(list((tmp_path / "external").glob("*.parquet"))) == (5 if memory == 1 else 1)


def test_only_a_shards_rows_are_read(tmp_path):
    loaded(tmp_path, {"id": "r0-0", "units": random_units(200)}, {"id": "r2-0", "units": random_units(200)})
    assert [row.name for _, row in read_partition(tmp_path / "external", 1)] == ["r2-0"]


@pytest.mark.parametrize("name", ["r0", "/data/s0/r0.flac", "../audio/r0.wav"])
def test_units_of_a_whole_recording_are_cut_by_the_clock(tmp_path, name):
    whole = random_units(250)  # of 10 s at 25 Hz
    found, reasons = loaded(
        tmp_path, {"file_name": name, "units": whole}, {"id": "84-1", "units": whole[:100]}, rate=25
    )
    assert found["r0-0"] == (whole[:100], None)
    assert found["r0-1"] == (whole[100:], None)
    assert found["r2-0"] == (whole[:100], None)
    assert set(reasons) == {"r1-0", "r1-1"}
    assert "no units of it in units.path" in reasons["r1-0"]


def test_an_utterances_own_units_go_before_its_recordings(tmp_path):
    whole, own = random_units(500), random_units(200, 1)
    found, _ = loaded(tmp_path, {"id": "r0", "units": whole}, {"id": "r0-0", "units": own})
    assert found["r0-0"] == (own, None)
    assert found["r0-1"] == (whole[200:], None)


def test_runs_keep_their_durations_and_are_cut_where_they_reach_over(tmp_path):
    # 10 s at 25 Hz: the third run lies over the cut at 4 s (frame 100)
    row = {"id": "r0", "units": [5, 6, 7, 8], "duration": [40, 50, 60, 100]}
    found, _ = loaded(tmp_path, row, rate=25)
    assert found == {"r0-0": ([5, 6, 7], [40, 50, 10]), "r0-1": ([7, 8], [50, 100])}
    found, _ = loaded(tmp_path, row, rate=25, repeat=True)
    assert found["r0-0"] == ([5] * 40 + [6] * 50 + [7] * 10, None)


def test_units_without_a_rate_are_an_utterances_only(tmp_path):
    row = {"id": "r0-0", "units": [5, 6, 7], "duration": [1, 2, 3]}
    found, reasons = loaded(
        tmp_path, row, {"id": "r1", "units": [1, 2]}, {"file_name": "84-1.flac", "units": [9]}, rate=0
    )
    assert found == {"r0-0": ([5, 6, 7], None), "r2-0": ([9], None)}
    assert "without a rate (units.rate) its part is unknown" in reasons["r1-0"]


@pytest.mark.parametrize(
    ("objects", "settings", "reason"),
    [
        ([{"units": random_units(100)}], {}, "100 units in 4.00 s are 25.0 a second, but units.rate is 50"),
        ([{"units": [1, 2], "duration": [50, 70]}], {"rate": 25}, "120 frames of units in 4.00 s are 30.0 a second"),
        ([{"units": [7, 8] * 50}], {}, "no unit follows itself, as in runs written once, which need durations or"),
        ([{"units": [7] * 199 + [101]}], {}, "unit 101 at place 199, but units.clusters is 100"),
        ([{"units": [7] * 200}, {"units": [-1]}], {}, "unit -1 at place 0"),
        ([{"units": []}], {}, "the list is empty"),
        ([{"units": [7] * 200}], {"repeat": True}, "no durations, which units.repeat needs"),
    ],
)
def test_what_cannot_be_its_units_is_rejected_with_the_reason(tmp_path, objects, settings, reason):
    found, reasons = loaded(tmp_path, *({"id": "r0-0"} | row for row in objects), **settings)
    assert "r0-0" not in found
    assert reason in reasons["r0-0"]


@pytest.mark.parametrize("other", [[8] * 200, [7]])
def test_other_units_of_the_same_utterance_are_an_error_with_both_lines(tmp_path, other):
    rows = {"id": "r0-0", "units": [7] * 200}, {"file_name": "a/r0-0.wav", "units": other}
    with pytest.raises(UserError, match=r"line 1 \('r0-0'\) and .*line 2 \('a/r0-0\.wav'\): different units"):
        loaded(tmp_path, *rows)


def test_the_same_units_twice_are_once(tmp_path):
    found, _ = loaded(tmp_path, *[{"id": "r0-0", "units": [7] * 200}] * 2, {"id": "r0-0", "units": [7] * 200})
    assert found["r0-0"] == ([7] * 200, None)


def test_a_wrong_rate_of_a_recording_is_seen_though_its_parts_are_long_enough(tmp_path):
    _, reasons = loaded(tmp_path, {"id": "r0", "units": random_units(500)}, rate=25)
    assert "500 units in 10.00 s are 50.0 a second, but units.rate is 25" in reasons["r0-0"]


def test_too_many_rejects_fail_with_the_first_reasons(tmp_path):
    with pytest.raises(UserError, match=r"rejected, more than corpus\.max_rejected = 0\.2.*r0-0: 100 units in 4\.00 s"):
        loaded(tmp_path, {"id": "r0-0", "units": random_units(100)}, max_rejected=0.2)


def test_units_of_another_corpus_are_an_error_with_both_names(tmp_path):
    with pytest.raises(UserError, match=r"none of the 1 rows .* called 'x'; its utterances are called 'r0-0'"):
        loaded(tmp_path, {"id": "x", "units": [1]})
    assert not (tmp_path / "external").exists()


def test_a_name_of_two_recordings_is_an_error(tmp_path):
    cuts = [
        Cut(f"{s}-1", f"{s}-1", f"/data/{s}/1.flac", 0.0, 4.0, s, "train", "a", "a", 16_000, 64_000) for s in ("p", "q")
    ]
    for shard, cut in enumerate(cuts):
        write_cuts(tmp_path / f"cuts.{shard}.jsonl.gz", [cut])
    paths = [tmp_path / f"cuts.{shard}.jsonl.gz" for shard in range(2)]
    with pytest.raises(UserError, match=r"line 1: 'x/1\.flac' is the name of several recordings"):
        partition_files([lines(tmp_path / "x.jsonl", {"path": "x/1.flac", "units": [1]})], paths, tmp_path / "external")
    whole = lines(tmp_path / "x.jsonl", {"path": "/data/q/1.flac", "units": [1]})
    partition_files([whole], paths, tmp_path / "external")
    assert [row.name for _, row in read_partition(tmp_path / "external", 1)] == ["/data/q/1.flac"]


# On the ladder


def test_the_rung_has_the_users_tokens_and_phones_keep_their_frames(tmp_path):
    own = {f"r{r}-{n}": random_units(round(25 * SECONDS[n])) for r in range(2) for n in range(2)}
    loaded(tmp_path, *({"id": id, "units": units} for id, units in own.items()), rate=25)
    parts = [
        [tmp_path / f"{name}.{n}.{end}" for n in range(2)]
        for name, end in (("cuts", "jsonl.gz"), ("alignment", "parquet"))
    ]
    parts.append([tmp_path / f"{n}.parquet" for n in range(2)])
    select_utterances(*parts, tmp_path / "utterances.parquet", tmp_path / "rejected.jsonl", 0.0)
    assert read_jsonl(tmp_path / "rejected.jsonl")
    frames = dict(zip(*read_table(tmp_path / "utterances.parquet", UTTERANCES, ["id", "frames"]).to_pydict().values()))
    assert frames == {id: frame_count(round(16_000 * SECONDS[int(id[-1])])) for id in own}
    for _, utterance in read_utterances(tmp_path / "utterances.parquet", *parts, ["alignment", "units"], Tokens()):
        assert registry.get("speech-hubert").function(utterance) == [f"u{unit}" for unit in own[utterance.id]]
        assert len(registry.get("phone-repeat").function(utterance)) == utterance.frames


def test_utterances_of_which_none_is_left_are_listed_in_the_log(tmp_path, capsys):
    """Snakemake removes the list of a failed job, so no message may send the reader there."""
    loaded(
        tmp_path,
        *({"id": f"r{r}-{n}", "units": random_units(round(25 * SECONDS[n]))} for r in range(2) for n in range(2)),
        rate=25,
    )
    names = ("cuts.{}.jsonl.gz", "alignment.{}.parquet", "{}.parquet")
    parts = [[tmp_path / name.format(n) for n in range(2)] for name in names]
    for path in parts[0]:
        write_cuts(path, [replace(cut, text="") for cut in list(read_cuts(path))])
    with pytest.raises(
        UserError, match=r"no utterance is left in split 'train'.* 4 were rejected here .* above"
    ) as error:
        select_utterances(*parts, tmp_path / "utterances.parquet", tmp_path / "gone.jsonl", 1.0)
    assert "gone.jsonl" not in str(error.value)
    assert capsys.readouterr().err.count('"reason": "empty transcript"') == 4


def an_item(name, seconds=1.0, part="good"):
    return {
        "item": f"{name}|{part}|v",
        "id": name,
        "voice": "v",
        "correct": True,
        "type": "",
        "split": "",
        "text": "a",
        "words": as_rows([Span("a", 0.0, seconds)]),
        "phones": as_rows([Span("AH", 0.0, seconds)]),
        "seconds": seconds,
        "audio": encode_flac(np.full(round(16_000 * seconds), 0.25, np.float32)),
    }


@pytest.fixture
def items(tmp_path):
    """Items of two tasks. The first items of both have the same name."""
    paths = [tmp_path / task / "items.parquet" for task in ("swuggy", "sblimp")]
    for path in paths:
        write_table(path, [an_item("same"), an_item(f"of {path.parent.name}", 2.0)], ITEMS)
    return paths


def test_what_was_listed_is_found_again_by_id_and_by_file(tmp_path, items):
    cuts = a_corpus(tmp_path)
    export_audio(tmp_path / "export", items, cuts)
    listed = list(read_jsonl(tmp_path / "export" / "items.jsonl"))
    assert [line["id"] for line in listed[:2]] == ["swuggy/same|good|v", "swuggy/of swuggy|good|v"]
    assert [len(read_audio(line["path"])) for line in listed] == [16_000, 32_000] * 2
    assert [line["seconds"] for line in listed] == [1.0, 2.0] * 2
    spoken = list(read_jsonl(tmp_path / "export" / "cuts.jsonl"))
    assert [(line["id"], line["start"], line["seconds"]) for line in spoken[:2]] == [
        ("r0-0", 0.0, 4.0),
        ("r0-1", 4.0, 6.0),
    ]
    for key, field in (("id", "id"), ("path", "file_name")):
        made = [
            {field: line[key], "units": random_units(round(25 * line["seconds"]), n)} for n, line in enumerate(listed)
        ]
        outs = [path.with_name(f"units.{key}.parquet") for path in items]
        load_items(items, outs, [lines(tmp_path / "items.jsonl", *made)], external(rate=25))
        for at, out in enumerate(outs):
            table = read_table(out, EXTERNAL_UNITS).to_pylist()
            assert [row["units"] for row in table] == [row["units"] for row in made[2 * at : 2 * at + 2]]
            found = list(read_items(items[at], out, ["units"], Tokens()))
            assert [utterance.frames for utterance in found] == [49, 99]
            assert [utterance.units.tolist() for utterance in found] == [row["units"] for row in table]


def test_utterances_are_copied_where_asked(tmp_path, capsys):
    from soundfile import write

    write(tmp_path / "r.flac", np.full(32_000, 0.25), 16_000)
    window = {
        "speaker": "s",
        "split": "train",
        "text": "a",
        "original": "a",
        "sampling_rate": 16_000,
        "num_samples": 32_000,
    }
    there = Cut("a/1", "r", str(tmp_path / "r.flac"), 0.5, 1.0, **window)
    write_cuts(tmp_path / "cuts.0.jsonl.gz", [there, Cut("b", "q", str(tmp_path / "q.flac"), 0.0, 1.0, **window)])
    export_audio(tmp_path / "export", cuts=[tmp_path / "cuts.0.jsonl.gz"], copy_cuts=True)
    (line,) = read_jsonl(tmp_path / "export" / "cuts.jsonl")
    assert (line["id"], line["start"], len(read_audio(line["path"]))) == ("a/1", 0.0, 16_000)
    assert "1 utterances could not be read, first b" in capsys.readouterr().err


def test_items_without_units_are_named_with_the_way_to_them(tmp_path, items):
    made = lines(tmp_path / "items.jsonl", {"id": "swuggy/same|good|v", "units": random_units(50)})
    with pytest.raises(UserError) as error:
        load_items(items, [path.with_name("units.parquet") for path in items], [made], external())
    said = str(error.value)
    assert "3 of 4 items have no units" in said
    assert "'swuggy/of swuggy|good|v', 'sblimp/same|good|v', 'sblimp/of sblimp|good|v'" in said
    assert "results/units/export" in said
    assert not items[0].with_name("units.parquet").exists()


def test_items_with_wrong_units_are_named(tmp_path, items):
    some = [("swuggy/same", 50), ("swuggy/of swuggy", 50), ("sblimp/same", 50), ("sblimp/of sblimp", 100)]
    made = lines(tmp_path / "items.jsonl", *({"id": f"{id}|good|v", "units": random_units(n)} for id, n in some))
    with pytest.raises(UserError, match=r"1 of 4 .*swuggy/of swuggy\|good\|v: 50 units in 2\.00 s .*line 2"):
        load_items(items, [path.with_name("units.parquet") for path in items], [made], external())


def test_an_item_of_two_tasks_needs_its_task(tmp_path, items):
    made = lines(tmp_path / "items.jsonl", {"id": "same|good|v", "units": random_units(50)})
    with pytest.raises(UserError, match="is an item of swuggy and sblimp; write TASK/same"):
        load_items(items, [path.with_name("units.parquet") for path in items], [made], external())


# Time


def test_50_units_a_second_are_their_own_frames_and_25_sound_twice():
    units = np.array(random_units(99))
    np.testing.assert_array_equal(times.at_frames(units, None, 50, 99), units)
    np.testing.assert_array_equal(times.at_frames(units[:50], None, 25, 99), np.repeat(units[:50], 2)[:99])
    runs = np.array([4, 5]), np.array([10, 40], np.uint16)
    assert np.bincount(times.at_frames(*runs, 25, 99)).tolist()[4:] == [20, 79]  # 0.4 s, 1.6 s


def test_a_prompt_is_split_where_its_own_units_end():
    def said(units, seconds):
        return registry.Utterance(
            "x", "", [], [], np.array(units, np.uint16), frame_count(round(16_000 * seconds)), seconds
        )

    rung = registry.get("speech-hubert")
    begun, true = generate._split(rung, said([1, 2, 3], 0.08), said([1, 2, 3, 4, 5], 0.12))
    assert (begun, true) == (["u1", "u2", "u3"], ["u4", "u5"])
    begun, true = generate._split(
        registry.get("speech-hubert-dedup"), said([1, 1, 2], 0.08), said([1, 1, 2, 2, 5], 0.12)
    )
    assert (begun, true) == (["u1", "u2"], ["u5"])


@pytest.mark.parametrize("rate", [25, 0])
def test_quality_is_counted_by_the_frame_where_there_are_times(tmp_path, rate):
    # a unit for each phone, which last 1, 1.5 and the rest of the seconds
    def units(seconds):
        lasting = [25, 38, round(25 * seconds) - 63]
        return {"units": [3, 4, 5], "duration": lasting}

    own = [{"id": f"r{r}-{n}"} | units(SECONDS[n]) for r in range(2) for n in range(2)]
    loaded(tmp_path, *own, rate=rate)
    items = {"topic": (tmp_path / "topic" / "items.parquet", tmp_path / "topic" / "units.parquet")}
    write_table(items["topic"][0], [an_item("x")], ITEMS)
    made = lines(tmp_path / "items.jsonl", {"id": "x|good|v"} | {"units": [3, 4], "duration": [12, 13]})
    load_items([items["topic"][0]], [items["topic"][1]], [made], external(rate=rate))
    files = [tmp_path / "cuts.0.jsonl.gz"], [tmp_path / "alignment.0.parquet"], [tmp_path / "0.parquet"]
    write_external_quality(*files, 100, items, tmp_path / "quality.json", 0)
    found = read_json(tmp_path / "quality.json")
    assert (found["rate"], found["clusters"], found["dead_clusters"]) == (rate, 100, 97)
    assert found["units_per_second"] == pytest.approx(12 / 20)
    assert found["bits_per_second"] == pytest.approx(12 / 20 * np.log2(3))
    if rate:
        assert found["pnmi"] > 0.95  # frames lie across the borders
        assert found["frames"] == 2 * sum(frame_count(round(16_000 * seconds)) for seconds in SECONDS)
    else:
        assert found["pnmi"] is None is found["pnmi_100hz"]
        assert found["abx"] is None


# Settings


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({"source": "external"}, "path: source: external needs"),
        ({"source": "given"}, "given is now called external; write source: external"),
        (
            {"sampling": "share"},
            "units: sampling is gone; leave it out: sample_by_speaker and sample_silence work without",
        ),
        ({"path": "x.jsonl"}, "path: would not be read, since source is auto"),
        ({"rate": 25}, "rate: would not be read"),
        ({"repeat": True}, "repeat: would not be read"),
        ({"source": "external", "path": "x", "rate": 0, "repeat": True}, "repeat: durations count frames"),
        (
            {"source": "external", "path": "x", "clusters": 65_533},
            "units.clusters: 65533 is not allowed; allowed: a whole number, at least 2 and at most 65532",
        ),
    ],
)
def test_a_mistake_in_the_settings_is_found(units, said):
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        load({"units": units})


def test_sixty_five_thousand_units_need_no_larger_sample():
    assert external(clusters=65_532, sample_frames=1000).clusters == 65_532


@pytest.mark.parametrize(
    ("row", "values", "frames"),
    [
        ({"units": [1]}, {}, True),
        ({"units": [1]}, {"rate": 25}, False),
        ({"units": [1]}, {"rate": 0}, False),
        ({"units": [1], "duration": [3]}, {}, False),
        ({"units": [1], "duration": [3]}, {"repeat": True}, True),
        ({"units": [1], "duration": [3]}, {"repeat": True, "rate": 25}, False),
    ],
)
def test_only_frames_of_50_hz_are_spoken(tmp_path, row, values, frames):
    path = str(lines(tmp_path / "x.jsonl", {"id": "a"} | row))
    settings = Settings(units=Units(source="external", path=path, **values))
    assert units_are_frames(settings) == frames
    assert ("speech-hubert" in spoken_rungs(settings)) == frames
    assert silent_rungs(settings) == ([] if frames else ["speech-hubert"])
    assert "text-bpe" in spoken_rungs(settings)


def test_variability_levels_need_an_encoder():
    with pytest.raises(UserError, match="speaks the corpus again"):
        variability_config(Settings(units=Units(source="external", path="x")), 0)


def slamkit_tables(tmp_path, features, tokens, seconds):
    """Both of slamkit's files loaded for recordings of so many seconds: the rows by the name of the file."""
    cuts = [
        Cut(n, n, f"/data/audio/{n}.flac", 0.0, s, "x", "train", "a", "a", 16_000, round(16_000 * s))
        for n, s in seconds.items()
    ]
    write_cuts(tmp_path / "cuts.0.jsonl.gz", cuts)
    aligned = [{"id": cut.id, "words": [], "phones": [], "seconds": cut.duration, "aligner": "x"} for cut in cuts]
    write_table(tmp_path / "alignment.0.parquet", aligned, ALIGNMENT)
    tables = {}
    for name, file, rate in (("features", features, 25), ("tokens", tokens, 0)):
        partition_files([file], [tmp_path / "cuts.0.jsonl.gz"], tmp_path / name)
        out, rejected = tmp_path / f"{name}.parquet", tmp_path / "rejected.jsonl"
        files = tmp_path / "cuts.0.jsonl.gz", tmp_path / "alignment.0.parquet", out, rejected
        load_shard(tmp_path / name, 0, *files, external(rate=rate, clusters=500), 0.0)
        tables[name] = read_table(out, EXTERNAL_UNITS).to_pylist()
    return tables


def test_files_as_slamkit_writes_them_are_read(tmp_path):
    seconds, features, tokens = {"audio1": 4.0, "audio2": 6.0}, [], []
    for name in ("audio2", "audio1"):  # not in the order of the corpus
        units, path = random_units(40, clusters=500), f"../example_data/audio/{name}.flac"
        lasting = [2] * 39 + [round(25 * seconds[name]) - 78]
        features.append({"units": units, "duration": lasting, "file_name": path})
        tokens.append({"file_name": path, "audio_repr": "".join(f"<Un{unit}>" for unit in units)})
    files = lines(tmp_path / "features.jsonl", *features), lines(tmp_path / "tokens.jsonl", *tokens)
    tables = slamkit_tables(tmp_path, *files, seconds)
    assert [row["id"] for row in tables["features"]] == ["audio1", "audio2"]
    assert [row["units"] for row in tables["features"]] == [row["units"] for row in reversed(features)]
    assert [sum(row["durations"]) for row in tables["features"]] == [100, 150]
    assert [row["units"] for row in tables["features"]] == [row["units"] for row in tables["tokens"]]


@pytest.mark.shared
def test_slamkits_own_files_are_read(tmp_path, shared_data):
    folder = shared_data / "units_slamkit"
    audio = {name: read_audio(folder / "audio" / f"{name}.flac") for name in ("audio1", "audio2")}
    seconds = {name: len(samples) / 16_000 for name, samples in audio.items()}
    tables = slamkit_tables(tmp_path, folder / "features.jsonl", folder / "tokens.jsonl", seconds)
    assert [len(row["units"]) for row in tables["features"]] == [288, 328]
    assert [sum(row["durations"]) for row in tables["features"]] == [352, 398]
    assert [row["units"] for row in tables["features"]] == [row["units"] for row in tables["tokens"]]


def test_a_text_of_units_is_read():
    assert as_integers("<Un3><Un49>", "unit", 0)[0].tolist() == as_integers("3 49", "unit", 0)[0].tolist() == [3, 49]


def test_confusions_need_a_rate_of_external_units(tmp_path):
    path = tmp_path / "units.jsonl"
    path.write_text('{"id": "a", "units": [1, 2]}\n')
    given = {"source": "external", "path": str(path), "rate": 0}
    with pytest.raises(UserError, match=r"rungs: phone-confused: units without a rate belong to no phone"):
        check_units_of(["phone-confused"], load({"units": given}))
    with pytest.raises(UserError, match=r"rungs: unit-phone: .* these units are those in units\.path"):
        check_units_of(["unit-phone"], load({"units": given | {"rate": 25}}))
    check_units_of(["unit-phone", "phone-confused"], load({"units": given | {"rate": 50}}))
