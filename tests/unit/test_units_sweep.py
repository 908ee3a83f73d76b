"""The units sweep: its points, one pass of the encoder for all codebooks of a layer, its table, figure and DAG."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from ladder_results import make

from speechladder.analysis import units_sweep
from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.factors import compare
from speechladder.analysis.table import estimate_accuracy, read_scores, starts_at_floor
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.audio import encode_flac
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, ITEMS, SCORES, UNITS, UTTERANCES, read_table, write_table
from speechladder.io.tensors import read_tensor
from speechladder.report.units_sweep import draw_units_sweep
from speechladder.settings import Analysis, Point, Sweep, Units, load
from speechladder.units.codebook import load_codebook, train_codebook
from speechladder.units.diagnostics import sweep
from speechladder.units.diagnostics.abx_run import write_features_abx
from speechladder.units.diagnostics.external import write_external_quality
from speechladder.units.diagnostics.quality import write_quality
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.extract import extract_items, extract_shard
from speechladder.units.normalise import Normaliser
from speechladder.units.sample import write_sample
from speechladder.units.speakers import write_speaker_statistics

OWN = Point(3, 100, "none", 0)
RATE = 16_000


# --- points ---


def test_a_point_is_its_name():
    for point in Sweep().points():
        assert Point.parse(point.name) == point
        assert Point.parse(point.codebook) == point._replace(dedup=False)
    assert Point(12, 2048, "speaker", 3, True).name == "layer12-k2048-speaker-seed3-dedup"
    assert Point(1, 2, "none", 0, True).rung == "speech-hubert-dedup"
    with pytest.raises(ValueError, match="no point of the sweep"):
        Point.parse("layer3-k100-nothing-seed0")


def test_the_points_are_every_combination_and_the_axes_one_choice_away():
    found = Sweep(layers=[2, 3], clusters=[100, 400], normalisations=["none", "utterance"], seeds=[0, 1])
    assert len(found.points()) == len(set(found.points())) == 32
    axes = found.trained(OWN)
    assert OWN in axes and len(axes) == 6
    assert all(sum(a != b for a, b in zip(point, OWN)) <= 1 for point in axes)
    # a run whose own units are none of the points: the first of each list stands in
    assert Point(2, 100, "none", 0) in found.trained(Point(9, 100, "none", 0))
    assert found.trained(Point(9, 7, "speaker", 5)) == found.trained(Point(2, 100, "none", 0))


def test_points_to_train_by_name():
    some = Sweep(train=["layer3-k100-*", "layer2-k400-none-seed0-dedup"]).trained(OWN)
    assert {p.clusters for p in some if p.layer == 3} == {100}
    assert [p.name for p in some if p.layer == 2] == ["layer2-k400-none-seed0-dedup"]
    assert Sweep(train=[]).trained(OWN) == []
    with pytest.raises(UserError, match=r"no point is named 'layer3-k101-none-seed0'; did you mean 'layer3-k10?0-none"):
        load({"sweep": {"train": ["layer3-k101-none-seed0"]}})
    with pytest.raises(UserError, match=r"sweep\.clusters: \d+ is named twice"):
        load({"sweep": {"clusters": [100, 100]}})


# --- one pass for all codebooks ---


def voice(phones: list[str], seed: int, pitch: float) -> tuple[np.ndarray, list[dict]]:
    """A noisy tone of 0.15 s for each phone, and their spans."""
    rng, at, parts, spans = np.random.default_rng(seed), 0.0, [], []
    for phone in phones:
        time = np.arange(round(0.15 * RATE)) / RATE
        tone = 0.3 * np.sin(2 * np.pi * pitch * (1 + ord(phone[0]) % 7) * time) * (phone != "SIL")
        parts.append(tone + rng.normal(0, 0.01, len(time)))
        spans.append({"label": phone, "start": at, "end": at + 0.15})
        at += 0.15
    return np.concatenate(parts).astype(np.float32), spans


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two shards of four speakers, items of a known and an unknown voice, and an untrained encoder of 2 layers."""
    from tests import tiny_hubert

    root = tmp_path_factory.mktemp("sweep")
    tiny_hubert.save(root / "encoder", "micro", layers=2)
    rng, rows, cuts, utterances = np.random.default_rng(0), {0: [], 1: []}, {0: [], 1: []}, []
    for n in range(24):
        speaker, shard = n % 4, n // 2 % 2
        phones = ["SIL", "AA", *rng.choice(["AA", "B", "S"], 4), "B", "SIL"]
        samples, spans = voice(phones, n, 90 + 40 * speaker)
        soundfile.write(root / f"u{n}.flac", samples, RATE)
        seconds, split = len(samples) / RATE, "valid" if n % 5 == 4 else "train"
        path = str(root / f"u{n}.flac")
        cut = Cut(f"u{n}", f"u{n}", path, 0.0, seconds, f"s{speaker}", split, "a b", "A b.", RATE, len(samples))
        cuts[shard].append(cut)
        rows[shard].append({"id": cut.id, "words": [], "phones": spans, "seconds": seconds, "aligner": "truth"})
        about = {"id": cut.id, "split": cut.split, "shard": shard, "speaker": cut.speaker}
        utterances.append(about | {"seconds": seconds, "frames": 60})
    for shard in (0, 1):
        write_cuts(root / f"cuts.{shard}.jsonl.gz", cuts[shard])
        write_table(root / f"alignment.{shard}.parquet", rows[shard], ALIGNMENT)
    write_table(root / "utterances.parquet", [row for row in utterances if row["id"] != "u3"], UTTERANCES)
    items = []
    for name in ("s1", "robot"):
        for n in range(3):
            samples, spans = voice(["B", "AA", "S"], n, 150)
            item = {"item": f"{n}|good|{name}", "id": str(n), "voice": name, "correct": True, "type": "x", "split": ""}
            about = {"text": "a", "words": [], "phones": spans, "seconds": len(samples) / RATE}
            items.append(item | about | {"audio": encode_flac(samples)})
    write_table(root / "items.parquet", items, ITEMS)
    units = Units(encoder=str(root / "encoder"), layer=2, clusters=4, sample_frames=300, abx_minutes=1)
    paths = [root / f"cuts.{n}.jsonl.gz" for n in (0, 1)], [root / f"alignment.{n}.parquet" for n in (0, 1)]
    known, voices = root / "speakers.safetensors", root / "voices.safetensors"
    write_speaker_statistics(units, known, *paths)
    write_speaker_statistics(units, voices, items=[root / "items.parquet"], speakers=known)
    for kind in ("none", "utterance", "speaker"):
        normalised = units.model_copy(update={"normalisation": kind})
        write_sample(*paths, root / f"{kind}.safetensors", normalised, 0, [known])
    write_features_abx(*paths, root / "abx.json", units, 0)
    books = []
    for kind, clusters in (("none", 4), ("utterance", 4), ("speaker", 4), ("none", 7)):
        books.append(root / f"{Point(2, clusters, kind, 0).codebook}.safetensors")
        few = Units(clusters=clusters, iterations=5)
        train_codebook(root / f"{kind}.safetensors", books[-1], few)
    return SimpleNamespace(root=root, cuts=paths[0], alignments=paths[1], units=units, books=books, audio=cuts)


def features_of(corpus):
    encoder = open_encoder(corpus.units)
    return {cut.id: (cut, encoder.encode([cut.samples()])[0]) for rows in corpus.audio.values() for cut in rows}


def test_the_sample_is_normalised_as_the_units_will_be(corpus):
    every, frames = features_of(corpus), {}
    for kind in ("none", "utterance", "speaker"):
        sample, said = read_tensor(corpus.root / f"{kind}.safetensors", "features")
        assert said.get("normalisation", "none") == kind
        normaliser = Normaliser.named(kind, [corpus.root / "speakers.safetensors"])
        known = np.concatenate([normaliser.apply(f, cut.speaker) for cut, f in every.values() if cut.split == "train"])
        distance = np.abs(sample[:40, None] - known[None]).max(axis=2)
        frames[kind] = distance.argmin(axis=1)
        assert distance.min(axis=1).max() < 1e-4
    assert (frames["none"] == frames["utterance"]).all() and (frames["none"] == frames["speaker"]).all()
    plain = load_codebook(corpus.books[0]).provenance
    assert "normalisation" not in plain
    assert (
        load_codebook(corpus.books[2]).provenance["speaker_statistics"]
        == Normaliser.load(corpus.root / "speakers.safetensors").digest
    )


def test_units_of_a_point_are_normalised_as_its_codebook_was(corpus):
    root, statistics = corpus.root, [corpus.root / "speakers.safetensors"]
    every = features_of(corpus)
    for path in corpus.books:
        book = load_codebook(path)
        normaliser = Normaliser.matching(book.provenance, statistics)
        for shard in (0, 1):
            out, given = root / f"{path.stem}.{shard}.parquet", (corpus.cuts[shard], corpus.alignments[shard], path)
            extract_shard(*given, out, root / "rejected.jsonl", corpus.units, 0.0, statistics)
            for row in read_table(out, UNITS).to_pylist():
                cut, features = every[row["id"]]
                assert row["units"] == book.assign(normaliser.apply(features, cut.speaker)).tolist()


def test_items_by_their_voices(corpus):
    root, (plain, _, by_speaker, _) = corpus.root, corpus.books
    both = [root / "speakers.safetensors", root / "voices.safetensors"]
    extract_items([root / "items.parquet"], by_speaker, [root / "item_units.parquet"], corpus.units, both)
    rows = read_table(root / "item_units.parquet", UNITS).to_pylist()
    assert [row["id"] for row in rows] == [f"{n}|good|{v}" for v in ("s1", "robot") for n in range(3)]
    # the same audio: a speaker's statistics and a voice's own make other units
    assert rows[:3] != [{**row, "id": rows[n]["id"]} for n, row in enumerate(rows[3:])]
    extract_items([root / "items.parquet"], plain, [root / "plain.parquet"], corpus.units, both)
    found = read_table(root / "plain.parquet", UNITS).to_pylist()
    assert [row["units"] for row in found[:3]] == [row["units"] for row in found[3:]]
    with pytest.raises(UserError, match="no statistics of speaker 'robot'"):
        extract_items([root / "items.parquet"], by_speaker, [root / "none.parquet"], corpus.units, both[:1])
    assert not (root / "none.parquet").exists()


def test_figures_of_a_layer(corpus):
    out = corpus.root / "quality.json"
    books = {path.stem: path for path in corpus.books}
    speech, known = (corpus.cuts, corpus.alignments, books), [corpus.root / "speakers.safetensors"]
    sweep.measure_codebooks(*speech, out, corpus.units, known, minutes=1)
    found = read_json(out)
    assert list(found) == [path.stem for path in corpus.books]
    for name, row in found.items():
        assert row["utterances"] == 24 and row["clusters"] == Point.parse(name).clusters
        assert 0 < row["pnmi"] <= 1
        assert row["abx"]["contexts"] > 0 and row["abx"]["speakers"] == 4
        for of in ("features", "units", "dedup"):
            errors = row["abx"][of] if of == "features" else row["abx"][of]["symbols"]
            assert 0 <= errors["within"] <= 60 and errors["across_cells"] > 0
    none, utterance, speaker, more = found.values()
    assert none["abx"]["features"] == more["abx"]["features"] == read_json(corpus.root / "abx.json")["features"]
    assert none["abx"]["features"] != speaker["abx"]["features"] != utterance["abx"]["features"]
    quick = corpus.units.model_copy(update={"abx_minutes": 0.0})
    sweep.measure_codebooks(*speech, out, quick, known, minutes=0.1)
    assert read_json(out)[corpus.books[0].stem]["abx"] is None
    assert read_json(out)[corpus.books[0].stem]["utterances"] < 24


def test_the_run_itself_says_the_same_of_its_units(corpus):
    """units/quality.json of the extracted units has the same figures as the sweep for the same codebook."""
    root, out = corpus.root, corpus.root / "own.json"
    units = [root / f"own{shard}.parquet" for shard in (0, 1)]
    for files in zip(corpus.cuts, corpus.alignments, [corpus.books[0]] * 2, units, strict=True):
        extract_shard(*files, root / "rejected.jsonl", corpus.units, 0.0)
    speech = corpus.cuts, corpus.alignments, units
    write_quality(*speech, corpus.books[0], {}, out, 0, abx_minutes=1, features_abx=root / "abx.json")
    book = {corpus.books[0].stem: corpus.books[0]}
    sweep.measure_codebooks(*speech[:2], book, root / "layer.json", corpus.units, minutes=100)
    own, layer = read_json(out), read_json(root / "layer.json")[corpus.books[0].stem]
    assert own["abx"] == {key: layer["abx"][key] for key in own["abx"]}
    assert own["abx"]["features"]["within"] is not None and own["abx"]["units"]["centroids"]["across_cells"] > 0
    for name in ("pnmi", "phone_purity", "bits_per_second", "dedup", "speaker"):
        assert own[name] == layer[name]
    # the same units as the user's own have no codebook: what needs none is there, and the same
    for path in units:
        rows = read_table(path, UNITS).to_pylist()
        rows = [row | {"durations": None, "seconds": (400 + 320 * (len(row["units"]) - 1)) / 16_000} for row in rows]
        write_table(path, rows, EXTERNAL_UNITS, source="external", rate="50")
    write_external_quality(*speech, 4, {}, out, 0, abx_minutes=1)
    bare = read_json(out)
    assert bare["pnmi"] == own["pnmi"] and bare["encoder"] is None
    assert bare["abx"]["units"] == {"symbols": own["abx"]["units"]["symbols"]} and bare["abx"]["features"] is None
    write_external_quality(*speech, 4, {}, out, 0)
    assert read_json(out)["abx"] is None


def test_a_codebook_of_another_layer_is_refused(corpus):
    other = corpus.units.model_copy(update={"layer": 1})
    with pytest.raises(UserError, match="the codebook was made from"):
        books = {"x": corpus.books[0]}
        sweep.measure_codebooks(corpus.cuts, corpus.alignments, books, corpus.root / "x.json", other, minutes=1)


# --- the table and its figure ---


@pytest.fixture
def results(tmp_path):
    """Scores of phone-repeat and of two trained points, and figures of four codebooks."""
    make(tmp_path, ["phone-repeat", "speech-hubert"], ids=25, layers=0, learning=0)
    make(tmp_path / "point", ["speech-hubert-dedup"], ids=25, layers=0, learning=0)
    errors = {"within": 3.2, "across": 9.876, "within_cells": 5, "across_cells": 9}
    halved = {key: value / 2 for key, value in errors.items()}
    abx = {"features": errors, "units": {"symbols": errors, "centroids": halved}, "dedup": {"symbols": halved}}
    figures = {
        "phone_purity": 0.5,
        "cluster_purity": 0.25,
        "pnmi": 0.6,
        "dead_clusters": 1,
        "entropy_bits": 6.5,
        "bits_per_second": 325.0,
        "dedup": {"units_per_second": 30.25, "entropy_bits": 6.4, "bits_per_second": 193.6},
        "speaker": {"mi_excess_bits": 0.4},
        "abx": abx,
    }
    for layer in (2, 3):
        books = {p.codebook: figures for p in Sweep(clusters=[100]).points() if p.layer == layer}
        write_json(tmp_path / f"{layer}.json", books)
    return tmp_path


POINTS = Sweep(clusters=[100], normalisations=["none"], seeds=[0]).points()
TRAINED = {"layer3-k100-none-seed0": ".", "layer3-k100-none-seed0-dedup": "point"}


def table(results: Path, trained: dict[str, str] = TRAINED, split: str | None = None) -> list[dict[str, str]]:
    quality = [results / "2.json", results / "3.json"]
    folders = {name: results / folder for name, folder in trained.items()}
    out = results / "units_sweep.csv"
    units_sweep.write_units_sweep(results, POINTS, quality, folders, out, 0, Analysis(resamples=200), split)
    return read_csv(out, units_sweep.sweep_columns())


def test_a_row_per_point(results):
    rows = table(results)
    assert [row["point"] for row in rows] == [point.name for point in POINTS]
    plain, short = rows[2], rows[3]
    assert (plain["layer"], plain["dedup"], short["dedup"]) == ("3", "false", "true")
    assert (plain["units_per_second"], short["units_per_second"]) == ("50.00", "30.25")
    assert (plain["bits_per_second"], short["bits_per_second"]) == ("325.0", "193.6")
    assert (plain["abx_units_across"], short["abx_units_across"]) == ("9.88", "4.94")
    assert (plain["abx_centroids_within"], short["abx_centroids_within"]) == ("1.60", "")
    assert plain["abx_features_within"] == "3.20"
    assert all(rows[0][name] == "" for name in units_sweep.trained_columns())  # not trained


RESAMPLED = Analysis(resamples=200)


def test_factor_c_is_the_step_from_phone_repeat(results):
    plain, short = table(results)[2:]
    before, floors = read_scores(results, ["phone-repeat"]), 0
    for row, folder, rung in ((plain, results, "speech-hubert"), (short, results / "point", "speech-hubert-dedup")):
        after = read_scores(folder, [rung])
        for task in TASKS:
            for norm in ("sum", "mean"):
                ends = before["phone-repeat", task].outcomes(norm), after[rung, task].outcomes(norm)
                step = compare(*ends, 0.95, 200, np.random.default_rng(0))
                assert float(row[f"{task}_{norm}"]) == pytest.approx(100 * step.end, abs=0.06)
                got = [row[f"C_{task}_{norm}{end}"] for end in ("", "_low", "_high")]
                start = estimate_accuracy(before["phone-repeat", task], "phone-repeat", task, norm, 0, RESAMPLED)
                if starts_at_floor(start):
                    floors += 1
                    assert got == ["", "", ""]
                    continue
                value, low, high = map(float, got)
                assert value == pytest.approx(100 * (step.end / step.start - 1), abs=0.06)
                assert low <= value <= high
    assert 0 < floors < 12
    assert table(results)[2:] == [plain, short]  # the same again


def test_it_is_of_the_split_that_the_table_has(results):
    """An official benchmark may have both scored; the run's own point must say what table.csv and factors.csv say."""
    for path in results.rglob("swuggy.parquet"):
        rows = read_table(path, SCORES).to_pylist()
        dev = set(sorted({row["id"] for row in rows})[::3])
        write_table(path, [row | {"split": "dev" if row["id"] in dev else "test"} for row in rows], SCORES)
    for path in (p for name in ("sblimp", "topic") for p in results.rglob(f"{name}.parquet")):
        write_table(path, [row | {"split": "dev"} for row in read_table(path, SCORES).to_pylist()], SCORES)
    both, dev = (table(results, split=split)[2] for split in (None, "dev"))
    scores = read_scores(results, ["speech-hubert"], "dev")["speech-hubert", "swuggy"]
    wanted = estimate_accuracy(scores, "speech-hubert", "swuggy", "sum", 0, RESAMPLED)[0]
    assert float(dev["swuggy_sum"]) == pytest.approx(100 * wanted, abs=0.06) != float(both["swuggy_sum"])
    assert dev["C_swuggy_sum"] != both["C_swuggy_sum"]


def test_what_is_missing_is_named(results):
    (results / "2.json").unlink()
    write_json(results / "2.json", {})
    with pytest.raises(UserError, match=r"no figures of layer2-k100-none-seed0 in .*2\.json"):
        table(results)
    with pytest.raises(UserError, match=r"speech-hubert/swuggy\.parquet: no such file"):
        write_json(results / "2.json", {p.codebook: read_json(results / "3.json") for p in POINTS})
        units_sweep.write_units_sweep(
            results, POINTS[2:], [results / "3.json"], {POINTS[2].name: results / "x"}, results / "a", 0, Analysis()
        )


@pytest.mark.parametrize("trained", [TRAINED, {}])
def test_the_figure_is_the_same_bytes_and_has_the_paper(results, trained):
    table(results, trained)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for folder in ("a", "b"):
            draw_units_sweep(results / "units_sweep.csv", results / folder)
    for suffix in ("svg", "png"):
        first, second = (results / folder / f"units_sweep.{suffix}" for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    assert ("the paper" in (results / "a" / "units_sweep.svg").read_text()) == bool(trained)


def test_the_figure_shows_each_points_factor_beside_the_papers(results):
    rows = [row for row in table(results) if row["valid_bits_per_second"]]
    figure = draw_units_sweep(results / "units_sweep.csv", results)
    titles = [*(task.title for task in TASKS.values()), "ABX of the units"]
    assert [axis.get_title() for axis in figure.axes] == titles
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["the paper", "spread of the 2 below"] and labels[3].endswith("de-duplicated, seed 0")
    for axis, task in zip(figure.axes, TASKS):
        single = [line for line in axis.lines if len(line.get_xdata()) == 1]
        (paper,) = [line.get_xdata()[0] for line in single if line.get_marker() == "*"]
        assert paper == TASKS[task].paper_factors["C"]
        drawn = [line.get_xdata()[0] for line in single if line.get_marker() != "*"]
        cells = [row[f"C_{task}_{norm}"] for norm in NORMS for row in rows]
        assert drawn == [float(cell) for cell in cells if cell]
        assert [text.get_text() for text in axis.texts] == ([] if any(cells) else ["C starts at the floor"])
    errors = [float(row[f"abx_units_{kind}"]) for row in rows for kind in ("within", "across")]
    assert [line.get_xdata()[0] for line in figure.axes[-1].lines if len(line.get_xdata()) == 1] == errors


def test_the_papers_point_is_the_papers():
    """PAPER.md's relative changes from phone-repeat to speech; two are as its rounded accuracies give them."""
    accuracies = {"swuggy": (85.5, 50.8), "sblimp": (66.2, 57.3), "topic": (58.3, 52.9)}
    for task, (before, after) in accuracies.items():
        assert (TASKS[task].paper["phone-repeat"], TASKS[task].paper["speech-hubert"]) == (before, after)
        assert TASKS[task].paper_factors["C"] == pytest.approx(100 * (after / before - 1), abs=0.1)


# --- the DAG ---


def dry_run(root: Path, folder: Path, *words: str, check: bool = True) -> str:
    """What Snakemake says that it would run, or why not."""
    where = ["--snakefile", str(root / "Snakefile"), "--directory", str(folder)]
    command = [sys.executable, "-m", "snakemake", "-n", *where]
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    done = subprocess.run([*command, *words], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode == 0) == check, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_a_point_costs_only_what_is_its_own(root, tmp_path):
    """The run's own units are trained by the run; the others share its corpus, alignment and items."""
    said = dry_run(root, tmp_path, "results/units_sweep.csv", "--config", "sweep={normalisations: [none]}")
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    # layers 2 and 3, 100 and 400 clusters, seeds 0 and 1: eight codebooks, of which own, dedup and 3 more are trained
    assert (jobs["sample_features"], jobs["train_kmeans"], jobs["sweep_quality"]) == (2, 8, 2)
    # the run's own codebook, which dedup reads too, and three more
    assert (jobs["extract_units"], jobs["extract_item_units"]) == (4 * 4, 4)  # four shards; a job for all tasks
    # phone-repeat, speech-hubert as the run has it, and four points
    assert jobs["train_lm"] == jobs["score_rung"] == jobs["tokenize_rung"] == 2 + 4
    assert (jobs["build_corpus"], jobs["align"], jobs["make_items"]) == (4, 4, 3)
    assert "speaker_statistics" not in jobs and "make_table" not in jobs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep={layers: [3, 30]}"], "sweep.layers: 30 is out of range; hubert-micro has the layers 1 to 4"),
        (["sweep={clusters: [100, 60000]}", "units={sample_frames: 20000}"], "sweep.clusters: 60000 clusters from"),
        (["rungs=[text-raw, speech-hubert]"], "add it to rungs"),
    ],
    ids=["layer", "clusters", "rungs"],
)
def test_a_point_that_cannot_be_is_refused_before_any_job(root, tmp_path, words, message):
    assert message in dry_run(root, tmp_path, "results/units_sweep.csv", "--config", *words, check=False)
