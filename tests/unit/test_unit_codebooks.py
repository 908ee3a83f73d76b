"""External units of several codebooks: their lists, their order in one stream, rates, vocabulary and figures."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, read_jsonl
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, read_table, write_table
from speechladder.plan.costs import vocabulary
from speechladder.rungs.tokenizers import SPECIALS
from speechladder.settings import Settings, Units, load, options
from speechladder.units.diagnostics.external import by_frame, write_external_quality
from speechladder.units.external.codebooks import as_frames, one_stream
from speechladder.units.external.load import codebooks_of, load_shard, rate_of
from speechladder.units.external.partition import partition_files
from speechladder.units.external.read import has_durations, read_rows
from speechladder.workflow.checks import _check_units
from speechladder.workflow.rungs import units_are_frames
from speechladder.workflow.unread import UNREAD

RATE, SIZE, SECONDS = 12.5, 16, {"a": 4.0, "b": 6.4}


def codes(frames, codebooks, seed=0):
    return np.random.default_rng(seed).integers(0, SIZE, (frames, codebooks))


def written(folder, tables, form="codebooks", durations=None):
    """A file of a row for each table (frames, codebooks)."""
    made = {id: (table.T if form != "frames" else table).tolist() for id, table in tables.items()}
    made = {id: [row] if form == "batch" else row for id, row in made.items()}
    if form == "parquet":
        path = folder / "x.parquet"
        pq.write_table(pa.table({"id": list(made), "units": list(made.values())}), path)
        return path
    path = folder / "x.jsonl"
    more = {id: {"durations": durations[id]} if durations else {} for id in made}
    path.write_text("".join(json.dumps({"id": id, "units": row} | more[id]) + "\n" for id, row in made.items()))
    return path


def loaded(folder, path, **settings):
    """The table of units of "a" and "b", which are one recording, and the reasons of what is rejected."""
    units = Units(source="external", path=str(path), **({"rate": RATE, "clusters": SIZE} | settings))
    cuts, start = [], 0.0
    for at, (id, seconds) in enumerate(SECONDS.items()):
        cuts.append(Cut(id, "r", "/data/r.flac", start, seconds, f"s{at}", "train", "a", "a", 16_000, 166_400))
        start += seconds
    write_cuts(folder / "cuts.0.jsonl.gz", cuts)
    aligned = [
        {
            "id": cut.id,
            "words": [],
            "phones": as_rows([Span("AA1", 0.0, 2.0), Span("B", 2.0, cut.duration)]),
            "seconds": cut.duration,
            "aligner": "x",
        }
        for cut in cuts
    ]
    write_table(folder / "alignment.0.parquet", aligned, ALIGNMENT)
    files = folder / "cuts.0.jsonl.gz", folder / "alignment.0.parquet", folder / "0.parquet", folder / "r.jsonl"
    partition_files([path], files[:1], folder / "external", codebooks=units.num_codebooks)
    load_shard(folder / "external", 0, *files, units, 1.0)
    rows = read_table(files[2], EXTERNAL_UNITS).to_pylist()
    return {row["id"]: (row["units"], row["durations"]) for row in rows}, {
        row["id"]: row["reason"] for row in read_jsonl(files[3])
    }


def test_the_orders_are_as_stated():
    # two frames of three codebooks, whose units are 0-9, 10-19 and 20-29
    frames = np.array([[1, 2, 3], [4, 5, 6]], np.uint16)

    def stream(order, durations=None):
        units = Units(source="external", path="x", num_codebooks=3, codebook_order=order, clusters=10)
        found, lasting = one_stream(frames, durations, units)
        return found.tolist(), lasting if lasting is None else lasting.tolist()

    assert stream("first") == ([1, 4], None)
    assert stream("flat") == ([1, 12, 23, 4, 15, 26], None)
    # step 0: 1; step 1: frame 1 of codebook 0, frame 0 of codebook 1; step 2: ...
    assert stream("delay") == ([1, 4, 12, 15, 23, 26], None)
    lasting = np.array([7, 9], np.uint16)
    assert stream("first", lasting) == ([1, 4], [7, 9])
    assert stream("flat", lasting)[1] == [7, 7, 7, 9, 9, 9]
    assert stream("delay", lasting)[1] == [7, 9, 7, 9, 7, 9]


def test_the_delayed_stream_has_each_codebook_in_the_order_of_the_frames():
    frames = codes(40, 8).astype(np.uint16)
    units = Units(source="external", path="x", num_codebooks=8, codebook_order="delay", clusters=SIZE)
    stream, _ = one_stream(frames, None, units)
    for book in range(8):
        np.testing.assert_array_equal(stream[stream // SIZE == book] % SIZE, frames[:, book])
    first = np.flatnonzero(stream // SIZE == 0)
    assert np.diff(first).tolist() == [*range(1, 8), *[8] * 32]  # a codebook more in each of the first steps


@pytest.mark.parametrize("form", ["codebooks", "frames", "batch", "parquet"])
@pytest.mark.parametrize("order", ["first", "flat", "delay"])
def test_lists_of_codebooks_and_of_frames_are_the_same(tmp_path, form, order):
    tables = {id: codes(round(RATE * seconds), 8, n) for n, (id, seconds) in enumerate(SECONDS.items())}
    path = written(tmp_path, tables, form)
    found, reasons = loaded(tmp_path, path, num_codebooks=8, codebook_order=order)
    assert reasons == {}
    units = Units(source="external", path="x", num_codebooks=8, codebook_order=order, clusters=SIZE)
    expected = {id: one_stream(table.astype(np.uint16), None, units)[0].tolist() for id, table in tables.items()}
    assert found == {id: (row, None) for id, row in expected.items()}
    streams = 1 if order == "first" else 8
    assert rate_of(tmp_path / "0.parquet") == RATE * streams
    assert codebooks_of(tmp_path / "0.parquet") == ((8, SIZE) if streams == 8 else (1, 0))


def test_as_many_frames_as_codebooks_are_told_by_the_other_rows(tmp_path):
    square, long = codes(8, 8), codes(50, 8, 1)
    for form in ("codebooks", "frames"):
        rows = list(read_rows([written(tmp_path, {"x": square, "y": long}, form)], 8))
        assert [row.units.tolist() for row in rows] == [square.tolist(), long.tolist()]
    (row,) = read_rows([written(tmp_path, {"x": square})], 8)
    assert row.problem == "units are 8 lists of 8, which may be codebooks or frames; no row says which"


def test_a_recordings_codebooks_are_cut_by_the_clock_before_they_are_one_stream(tmp_path):
    whole = codes(130, 4)
    found, _ = loaded(tmp_path, written(tmp_path, {"r": whole}), num_codebooks=4, codebook_order="delay")
    units = Units(source="external", path="x", num_codebooks=4, codebook_order="delay", clusters=SIZE)
    parts = {"a": whole[:50], "b": whole[50:]}
    assert found == {
        id: (one_stream(part.astype(np.uint16), None, units)[0].tolist(), None) for id, part in parts.items()
    }


def test_durations_are_of_frames(tmp_path):
    tables, lasting = {"a": codes(3, 2), "b": codes(2, 2, 1)}, {"a": [10, 25, 15], "b": [40, 40]}
    path = written(tmp_path, tables, "frames", lasting)
    found, reasons = loaded(tmp_path, path, num_codebooks=2, codebook_order="flat")
    assert reasons == {}
    assert found["a"][1] == [10, 10, 25, 25, 15, 15]
    assert sum(found["a"][1]) / rate_of(tmp_path / "0.parquet") == SECONDS["a"]
    found, _ = loaded(tmp_path, path, num_codebooks=2, codebook_order="flat", repeat=True)
    np.testing.assert_array_equal(np.array(found["a"][0][::2]), np.repeat(tables["a"][:, 0], lasting["a"]))


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        (lambda table: table[:25], {}, "25 units in 4.00 s are 6.2 a second, but units.rate is 12.5"),
        (lambda table: table, {"rate": 100}, "50 units in 4.00 s are 12.5 a second, but units.rate is 100"),
        (lambda table: np.where(np.arange(8) == 2, SIZE, table), {}, "unit 16 at place 0 of codebook 3, but"),
        (lambda table: table[:, :4], {}, "units are 4 lists of 50, but units.num_codebooks is 8"),
    ],
)
def test_what_does_not_fit_is_rejected_with_the_reason(tmp_path, change, settings, reason):
    tables = {"a": change(codes(50, 8)), "b": codes(80, 8, 1)}
    found, reasons = loaded(
        tmp_path, written(tmp_path, tables), **({"num_codebooks": 8, "codebook_order": "flat"} | settings)
    )
    assert reason in reasons["a"]
    assert "a" not in found


@pytest.mark.parametrize(
    ("units", "codebooks", "said"),
    [
        (
            [[1, 2, 3], [4, 5, 6]],
            1,
            r"2 lists, as of several codebooks.*units\.num_codebooks \(here it may be 2\).*first.*flat.*delay",
        ),
        ([[1, 2]] * 50, 1, r"here it may be 2"),
        ([1, 2, 3], 8, "units are one list, but units.num_codebooks is 8"),
        ("1 2 3", 8, "units are one list, but units.num_codebooks is 8"),
        ([[1, 2, 3], [4, 5]], 2, "lists of different lengths"),
        ([[1, 2, 3]] * 5, 8, "units are 5 lists of 3, but units.num_codebooks is 8"),
    ],
)
def test_the_first_row_says_before_any_job_what_the_settings_lack(tmp_path, units, codebooks, said):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"id": "a", "units": units}) + "\n")
    with pytest.raises(UserError, match=r"units\.path: .*line 1: .*" + said):
        has_durations(str(path), "units.path", codebooks)
    given = {"num_codebooks": codebooks, "codebook_order": "flat"} if codebooks > 1 else {}
    with pytest.raises(UserError, match=said):
        _check_units(Units(source="external", path=str(path), **given))


@pytest.mark.parametrize("given", [[[3, 49, 7]], [[3], [49], [7]], [[[3, 49, 7]]], [3, 49, 7]])
def test_one_codebook_in_lists_is_one_stream(given):
    values, problem = as_frames(given, 1, lambda: None)
    assert (values.tolist(), problem) == ([3, 49, 7], "")


@pytest.mark.parametrize(
    ("units", "said"),
    [
        (
            {"num_codebooks": 8},
            "codebooks: a model reads one stream, and 8 codebooks are several; write codebook_order: first",
        ),
        ({"codebook_order": "flat"}, "codebook_order: would not be read, since num_codebooks is 1"),
        (
            {"num_codebooks": 32, "codebook_order": "flat", "clusters": 2048},
            "clusters: 32 codebooks of 2048 are 65,536 units",
        ),
        ({"num_codebooks": 8, "codebook_order": "parallel"}, "codebook_order: "),
    ],
)
def test_a_mistake_in_the_settings_is_found(units, said):
    with pytest.raises(UserError, match=said):
        load({"units": {"source": "external", "path": "x"} | units})


def test_codebooks_are_of_external_units():
    with pytest.raises(UserError, match="num_codebooks: would not be read, since source is auto"):
        load({"units": {"num_codebooks": 8, "codebook_order": "flat"}})


def test_vocabulary_and_rate_follow_the_order(tmp_path):
    path = written(tmp_path, {"a": codes(50, 8)})
    given = {"source": "external", "path": str(path), "rate": 50, "clusters": 1024, "num_codebooks": 8}
    for order, streams in (("first", 1), ("flat", 8), ("delay", 8)):
        settings = Settings(units=Units(**given, codebook_order=order))
        assert settings.units.vocabulary == 1024 * streams
        assert vocabulary("speech-hubert", settings) == 1024 * streams + len(SPECIALS)
        assert units_are_frames(settings) == (streams == 1)
        assert f"--clusters {1024 * streams}" in options(settings, "tokenize_rung")
        assert f"--clusters {1024 * streams}" in options(settings, "units_quality")
        words = options(settings, "extract_units", UNREAD["extract_units"](settings, None))
        assert "--clusters 1024 " in words + " " and f"--num-codebooks 8 --codebook-order {order}" in words


def test_without_codebooks_no_option_is_new():
    settings = load({"units": {"source": "external", "path": "x"}})
    assert "codebook" not in options(settings, "extract_units", UNREAD["extract_units"](settings, None))


@pytest.mark.parametrize("order", ["flat", "delay"])
def test_figures_by_the_frame_are_those_of_the_first_codebook(tmp_path, order):
    # the first codebook knows the phone; the others are noise
    first = {id: np.where(np.arange(round(RATE * s)) < 25, 3, 5) for id, s in SECONDS.items()}
    tables = {id: np.column_stack([row, codes(len(row), 3, 1)]) for id, row in first.items()}
    alone, several = tmp_path / "alone", tmp_path / "several"
    figures = {}
    for folder, settings in ((alone, {}), (several, {"num_codebooks": 4, "codebook_order": order})):
        folder.mkdir()
        given = tables if folder == several else {id: table[:, :1] for id, table in tables.items()}
        loaded(folder, written(folder, given), **settings)
        files = [folder / "cuts.0.jsonl.gz"], [folder / "alignment.0.parquet"], [folder / "0.parquet"]
        write_external_quality(*files, SIZE * (1 if folder == alone else 4), {}, folder / "q.json", 0)
        figures[folder] = read_json(folder / "q.json")
    one, four = figures[alone], figures[several]
    for name in ("pnmi", "phone_purity", "cluster_purity", "frames", "mean_run_frames", "speaker"):
        assert four[name] == one[name], name
    assert one["pnmi"] > 0.9
    assert {id: row.tolist() for id, row in by_frame(several / "0.parquet")} == {
        id: row.tolist() for id, row in by_frame(alone / "0.parquet")
    }
    assert (four["clusters"], four["rate"]) == (4 * SIZE, 4 * RATE)
    assert four["dead_clusters"] == 4 * SIZE - sum(
        len(set(column)) for column in np.concatenate(list(tables.values())).T
    )
    assert four["units_per_second"] == pytest.approx(4 * one["units_per_second"])
    every = np.concatenate(list(tables.values()))
    bits = [-sum(p * math.log2(p) for p in np.bincount(c)[np.bincount(c) > 0] / len(c)) for c in every.T]
    assert four["entropy_bits"] == pytest.approx(np.mean(bits))
    assert four["bits_per_second"] == pytest.approx(RATE * sum(bits))
