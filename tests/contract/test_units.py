"""From cuts and alignment to units and their quality, with a random encoder."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from speechladder.constants import HOP
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.audio import encode_flac, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, read_jsonl
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, ITEMS, UNITS, read_table, write_table
from speechladder.io.tensors import map_tensor
from speechladder.rungs.utterances import read_items
from speechladder.settings import Tokens, Units
from speechladder.units.codebook import load_codebook, train_codebook
from speechladder.units.context import ItemContext
from speechladder.units.decode import Job, Wave
from speechladder.units.diagnostics.external import by_frame
from speechladder.units.diagnostics.quality import write_quality
from speechladder.units.durations import expand
from speechladder.units.encoders import factory
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.extract import extract_items, extract_shard, item_waves
from speechladder.units.normalise import Normaliser
from speechladder.units.sample import draw_sample, write_sample
from speechladder.units.stream import Quantiser, units_of
from speechladder.workflow.checks import check_encoder
from tests import tiny_hubert

RATE = 16_000
PITCH = {"AA": 300.0, "B": 900.0, "S": 3000.0}


def tone(phones: list[str], seconds: float, seed: int) -> tuple[np.ndarray, list[dict]]:
    """A noisy tone for each phone, and the spans of the phones."""
    rng = np.random.default_rng(seed)
    parts, spans, at = [], [], 0.0
    for phone in phones:
        time = np.arange(round(seconds * RATE)) / RATE
        wave = 0.3 * np.sin(2 * np.pi * PITCH[phone] * time) if phone in PITCH else 0.0 * time
        parts.append(wave + rng.normal(0, 0.01, len(time)))
        spans.append({"label": phone + ("1" if phone == "AA" else ""), "start": at, "end": at + seconds})
        at += seconds
    return np.concatenate(parts).astype(np.float32), spans


class Corpus:
    """Two shards of tones on disk."""

    def __init__(self, root: Path, encoder: Path, kmeans_frames: int = 300) -> None:
        self.root, self.shards = root, (0, 1)
        self.settings = Units(encoder=str(encoder), layer=2, clusters=6, sample_frames=kmeans_frames, iterations=5)
        self.cuts: dict[int, list[Cut]] = {0: [], 1: []}
        self.rows: dict[int, list[dict]] = {0: [], 1: []}
        rng = np.random.default_rng(0)
        for i in range(20):
            phones = ["SIL", *rng.choice(list(PITCH), 3), "SIL"]
            samples, spans = tone(phones, 0.1 + 0.02 * (i % 4), i)
            self.add(f"u {i},x", samples, spans, i % 2, split="train" if i % 5 else "valid")

    def add(self, name: str, samples: np.ndarray, spans: list[dict], shard: int, split: str = "train") -> Cut:
        path = self.root / f"{name}.flac"
        soundfile.write(path, samples, RATE)
        seconds = len(samples) / RATE
        cut = Cut(name, name, str(path), 0.0, seconds, f"s{len(name) % 2}", split, "a b", "A b.", RATE, len(samples))
        self.cuts[shard].append(cut)
        row = {"id": name, "words": [], "phones": spans, "seconds": seconds, "aligner": "truth"}
        self.rows[shard].append(row)
        return cut

    def path(self, kind: str, shard: int) -> Path:
        return self.root / f"{kind}.{shard}" if kind != "cuts" else self.root / f"cuts.{shard}.jsonl.gz"

    def paths(self, kind: str) -> list[Path]:
        return [self.path(kind, shard) for shard in self.shards]

    def write(self) -> "Corpus":
        for shard in self.shards:
            write_cuts(self.path("cuts", shard), self.cuts[shard])
            write_table(self.path("alignment", shard), self.rows[shard], ALIGNMENT)
        return self

    def train(self) -> "Corpus":
        sample = self.root / "sample.safetensors"
        s = self.settings
        write_sample(self.paths("cuts"), self.paths("alignment"), sample, s, seed=0)
        train_codebook(sample, self.centroids, s, seed=0)
        return self

    @property
    def centroids(self) -> Path:
        return self.root / "centroids.safetensors"

    def extract(self, shard: int, max_rejected: float = 1.0) -> list[dict]:
        out = self.path("units", shard)
        files = (self.path("cuts", shard), self.path("alignment", shard), self.centroids, out)
        extract_shard(*files, self.path("rejected", shard), self.settings, max_rejected)
        return read_table(out, UNITS).to_pylist()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hubert") / "micro"
    tiny_hubert.save(folder, "micro")
    return folder


@pytest.fixture
def corpus(tmp_path, checkpoint):
    return Corpus(tmp_path, checkpoint)


def test_a_unit_per_frame_in_the_order_of_the_cuts(corpus):
    corpus.write().train()
    for shard in corpus.shards:
        rows = corpus.extract(shard)
        assert [row["id"] for row in rows] == [cut.id for cut in corpus.cuts[shard]]
        assert [len(row["units"]) for row in rows] == [frame_count(len(cut.samples())) for cut in corpus.cuts[shard]]
        assert max(max(row["units"]) for row in rows) < corpus.settings.clusters
        assert list(read_jsonl(corpus.path("rejected", shard))) == []


def test_again_is_the_same_bytes(corpus):
    corpus.write().train()
    corpus.extract(0)
    files = [corpus.root / "sample.safetensors", corpus.centroids, corpus.path("units", 0)]
    before = [file.read_bytes() for file in files]
    corpus.train().extract(0)  # over what is there: replaced, not added to
    assert [file.read_bytes() for file in files] == before


def test_units_are_the_nearest_centroids_of_the_layer(corpus):
    corpus.write().train()
    encoder = TransformersEncoder.load(corpus.settings.encoder, 2)
    book = load_codebook(corpus.centroids, encoder.provenance)
    for cut, row in zip(corpus.cuts[0], corpus.extract(0), strict=True):
        features = encoder.encode([cut.samples()])[0]
        distance = ((features[:, None].astype(np.float64) - book.centroids[None]) ** 2).sum(axis=2)
        assert row["units"] == distance.argmin(axis=1).tolist()


class Meter:
    done = 0.0

    def advance(self, amount):
        self.done += amount


def quantiser_of(corpus, encoder):
    return Quantiser.of(load_codebook(corpus.centroids), Normaliser.none(), encoder.device)


@pytest.mark.parametrize("batch_seconds", [1.2, 60.0])
def test_batches_do_not_change_units(corpus, batch_seconds):
    """The rows and their order do not depend on the batches, and the last window is not lost."""
    corpus.write().train()
    rows = corpus.extract(0)
    encoder = TransformersEncoder.load(corpus.settings.encoder, 2, batch_seconds, device="cpu", fast=True)
    speech = [(Job(cut.id, cut.speaker, cut.path, cut.duration), Wave.of(cut.samples())) for cut in corpus.cuts[0]]
    meter = Meter()
    together = list(units_of(encoder, [quantiser_of(corpus, encoder)] * 2, speech, meter))
    assert [{"id": job.id, "units": found[0].tolist()} for job, found in together] == rows
    assert all((found[0] == found[1]).all() and found.dtype == np.uint16 for _, found in together)
    assert meter.done == pytest.approx(sum(cut.duration for cut in corpus.cuts[0]))


def test_units_are_normalised_as_the_codebook_was(corpus):
    corpus.settings = corpus.settings.model_copy(update={"normalisation": "utterance"})
    corpus.write().train()
    encoder, book = TransformersEncoder.load(corpus.settings.encoder, 2), load_codebook(corpus.centroids)
    for cut, row in zip(corpus.cuts[0], corpus.extract(0), strict=True):
        features = encoder.encode([cut.samples()])[0]
        assert row["units"] == book.assign(Normaliser.utterance().apply(features, cut.speaker)).tolist()
        assert row["units"] != book.assign(features).tolist()


def test_workers_decode_ahead_and_change_nothing(corpus):
    """Rows and rejects are the same with workers."""
    corpus.cuts[0].append(replace(corpus.cuts[0][0], id="absent", path=str(corpus.root / "absent.flac")))
    corpus.rows[0].append({**corpus.rows[0][0], "id": "absent"})
    corpus.write().train()
    files = [corpus.path(kind, 0) for kind in ("units", "rejected")]
    corpus.extract(0)
    before = [file.read_bytes() for file in files]
    corpus.settings = corpus.settings.model_copy(update={"workers": 2})
    corpus.extract(0)
    assert [file.read_bytes() for file in files] == before
    assert b"absent" in before[1]


def test_a_recording_of_any_length_is_cut(corpus):
    """A recording longer than chunk_seconds has a unit for each frame, most of them those of the whole recording."""
    samples, spans = tone(list(PITCH) * 12, 0.5, 99)  # 18 s
    corpus.add("long", samples, spans, 0)
    corpus.write().train()
    whole = corpus.extract(0)[-1]["units"]
    corpus.settings = corpus.settings.model_copy(update={"chunk_seconds": 10.0})
    cut = corpus.extract(0)[-1]["units"]
    assert len(cut) == len(whole) == frame_count(len(samples))
    assert np.mean(np.array(cut) == np.array(whole)) > 0.9


def test_only_aligned_utterances_and_each_reject_has_its_reason(corpus):
    click = np.full(300, 0.1, np.float32)
    corpus.add("short", click, [], 0)
    truncated = corpus.add("truncated", *tone(["AA", "B"], 0.5, 1), 0)
    corpus.cuts[0].append(replace(corpus.cuts[0][0], id="absent", path=str(corpus.root / "absent.flac")))
    corpus.rows[0].append({**corpus.rows[0][0], "id": "absent"})
    corpus.rows[0] = [row for row in corpus.rows[0] if row["id"] != "u 2,x"]
    corpus.write()
    whole = Path(truncated.path).read_bytes()
    Path(truncated.path).write_bytes(whole[: len(whole) // 2])
    corpus.train()  # the sample leaves them out too
    rows = corpus.extract(0)
    assert [r["id"] for r in rows] == [f"u {i},x" for i in range(0, 20, 2) if i != 2]
    rejected = {r["id"]: r["reason"] for r in read_jsonl(corpus.path("rejected", 0))}
    assert set(rejected) == {"short", "truncated", "absent"}
    assert "300 samples" in rejected["short"]
    with pytest.raises(UserError, match=r"3 of 12 utterances rejected.*max_rejected"):
        corpus.extract(0, max_rejected=0.1)


def test_a_codebook_of_another_encoder_is_never_used(corpus, tmp_path):
    corpus.write().train()
    tiny_hubert.save(tmp_path / "other", "micro", seed=9)
    for change in ({"encoder": str(tmp_path / "other")}, {"layer": 1}):
        corpus.settings = corpus.settings.model_copy(update=change)
        with pytest.raises(UserError, match="the codebook was made from"):
            corpus.extract(0)


@pytest.mark.parametrize("kind", ["auto", "phone", "syllable", "word"])
def test_segments_are_units_with_durations(corpus, kind, tmp_path):
    """From the sample to rungs: the table, its metadata, the same units for corpus and items, and the quality."""
    corpus.settings = corpus.settings.model_copy(update={"segments": kind, "clusters": 3})
    corpus.write().train()
    sample, about = map_tensor(corpus.root / "sample.safetensors", "features")
    rows = corpus.extract(0)
    table = read_table(corpus.path("units", 0), EXTERNAL_UNITS)
    assert table.schema.metadata[b"rate"] == b"50" and table.schema.metadata[b"segments"] == kind.encode()
    assert about["segments"] == kind and len(sample) < 0.5 * about["frames_in_split"]
    whole = {row["id"]: row for row in corpus.rows[0]}
    for row, cut in zip(rows, corpus.cuts[0], strict=True):
        assert sum(row["durations"]) == frame_count(len(cut.samples())) and max(row["units"]) < 3
        if kind == "phone":
            assert len(row["units"]) == len(whole[cut.id]["phones"])
    items = [{"item": cut.id, "voice": cut.speaker, "seconds": cut.duration, "audio": encode_flac(cut.samples())}
             | {name: whole[cut.id][name] for name in ("words", "phones")} for cut in corpus.cuts[0]]  # fmt: skip
    stimuli, out = tmp_path / "t" / "items.parquet", tmp_path / "t" / "units.parquet"
    write_table(stimuli, items, ITEMS)
    extract_items([stimuli], corpus.centroids, [out], corpus.settings)
    assert [row["units"] for row in read_table(out, EXTERNAL_UNITS).to_pylist()] == [row["units"] for row in rows]
    read = list(read_items(stimuli, out, ["units"], Tokens()))
    assert [u.units.tolist() for u in read] == [row["units"] for row in rows]
    assert [u.frames for u in read] == [sum(row["durations"]) for row in rows]
    frames = dict(by_frame(corpus.path("units", 0)))
    assert all(
        frames[row["id"]].tolist() == expand(np.array(row["units"]), np.array(row["durations"])).tolist()
        for row in rows
    )
    with pytest.raises(UserError, match=rf"another kind \({kind}\) than units.segments: frame"):
        extract_items([stimuli], corpus.centroids, [out], corpus.settings.model_copy(update={"segments": "frame"}))


def drawn(encoder, cuts, alignment, units, seed):
    rows = []
    said = draw_sample(encoder, cuts, alignment, units, seed, Normaliser.none(), rows.append)
    return np.concatenate(rows), said


def test_the_sample_is_a_share_of_the_train_split(corpus):
    corpus.write()
    encoder = TransformersEncoder.load(corpus.settings.encoder, 2)
    few = corpus.settings.model_copy(update={"sample_frames": 100})
    paths = corpus.paths("cuts"), corpus.paths("alignment")
    train = [cut for shard in corpus.shards for cut in corpus.cuts[shard] if cut.split == "train"]
    total = sum(frame_count(len(cut.samples())) for cut in train)
    features, said = drawn(encoder, *paths, few, seed=0)
    assert features.shape == (100, 16) == (said["frames"], encoder.dim)
    assert said["frames_in_split"] == total
    assert 100 / 25 / 0.5 - 2 < said["utterances"] < len(train)  # half of each, no more utterances than needed
    every, said = drawn(encoder, *paths, few.model_copy(update={"sample_frames": 10**6}), seed=0)
    assert len(every) == total
    assert said["utterances"] == len(train)
    assert said["speakers"] == len({cut.speaker for cut in train})
    wanted = np.concatenate([encoder.encode([cut.samples()])[0] for cut in train])
    # every frame once, none of another split
    assert sorted(map(tuple, every)) == sorted(map(tuple, wanted))
    assert (drawn(encoder, *paths, few, seed=0)[0] == features).all()
    assert (drawn(encoder, *paths, few, seed=1)[0] != features).any()


def test_the_sample_does_not_depend_on_the_division_into_shards(corpus):
    corpus.write()
    encoder = TransformersEncoder.load(corpus.settings.encoder, 2)
    few = corpus.settings.model_copy(update={"sample_frames": 100})
    two = drawn(encoder, corpus.paths("cuts"), corpus.paths("alignment"), few, seed=0)[0]
    corpus.cuts[0], corpus.cuts[1] = [], corpus.cuts[1] + corpus.cuts[0]
    corpus.rows[0], corpus.rows[1] = [], corpus.rows[1] + corpus.rows[0]
    corpus.write()
    one = drawn(encoder, corpus.paths("cuts"), corpus.paths("alignment"), few, seed=0)[0]
    assert (one == two).all()


def write_items(path: Path, voices: int, broken: bool = False) -> None:
    rows = []
    for i, phones in enumerate([["AA", "B"], ["S", "AA", "B"], ["B", "S"]]):
        for voice in range(voices):
            samples, spans = tone(["SIL", *phones], 0.1 + 0.02 * voice, 10 * i + voice)
            rows.append(
                {
                    "item": f"{i}|good|v{voice}",
                    "id": str(i),
                    "voice": f"v{voice}",
                    "correct": True,
                    "type": "x",
                    "text": f"text {i}",
                    "words": [],
                    "phones": spans,
                    "seconds": len(samples) / RATE,
                    "audio": b"fLaC" if broken else encode_flac(samples),
                }
            )
    write_table(path, rows, ITEMS)


def test_items_get_units_and_a_broken_one_is_named(corpus):
    corpus.write().train()
    items, out = corpus.root / "items.parquet", corpus.root / "item_units.parquet"
    write_items(items, 2)
    extract_items([items], corpus.centroids, [out], corpus.settings)
    units = read_table(out, UNITS).to_pylist()
    table = read_table(items, ITEMS).to_pylist()
    assert [u["id"] for u in units] == [row["item"] for row in table]
    assert [len(u["units"]) for u in units] == [frame_count(len(read_audio(row["audio"]))) for row in table]
    write_items(items, 1, broken=True)
    with pytest.raises(UserError, match=r"items.parquet, item '0\|good\|v0'"):
        extract_items([items], corpus.centroids, [out], corpus.settings)


def test_items_are_encoded_among_others_of_their_voice(corpus):
    corpus.write().train()
    items, out = corpus.root / "items.parquet", corpus.root / "item_units.parquet"
    write_items(items, 2)
    table = {row["item"]: row for row in read_table(items, ITEMS).to_pylist()}
    audio = {name: read_audio(row["audio"]) for name, row in table.items()}
    context = ItemContext(items, 1.0)
    for job, wave in context.around(item_waves(items, 0)):
        frames = context.cut(job, np.arange(frame_count(len(wave.samples)))[None])[0]
        start, own = HOP * frames[0], audio[job.id]
        assert len(frames) == frame_count(len(own)) and start >= RATE
        np.testing.assert_array_equal(wave.samples[start : start + len(own)], own)
        assert len(wave.samples) >= start + len(own) + RATE
        around = np.concatenate([wave.samples[:start], wave.samples[start + len(own) :]])
        for name, row in table.items():
            heard = audio[name][400:800].tobytes() in around.tobytes()
            assert heard == (row["voice"] == job.speaker and row["id"] != table[job.id]["id"])
    settings = corpus.settings.model_copy(update={"item_context": 1.0})
    extract_items([items], corpus.centroids, [out], corpus.settings)
    alone = [row["units"] for row in read_table(out, UNITS).to_pylist()]
    extract_items([items], corpus.centroids, [out], settings)
    among = [row["units"] for row in read_table(out, UNITS).to_pylist()]
    assert [len(units) for units in alone] == [len(units) for units in among] and alone != among
    write_table(items, [next(iter(table.values()))], ITEMS)
    with pytest.raises(UserError, match="the voice v0 speaks no other item"):
        extract_items([items], corpus.centroids, [out], settings)


def test_scripts_from_cuts_to_quality(corpus, root):
    """Run the four scripts as the workflow does, and check quality.json."""
    corpus.write()
    for task, voices in (("swuggy", 2), ("topic", 1)):
        (corpus.root / task).mkdir()
        write_items(corpus.root / task / "items.parquet", voices)

    def run(name: str, *args: object) -> None:
        done = subprocess.run(
            [sys.executable, str(root / "scripts" / name), *map(str, args)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    r, s = corpus.root, corpus.settings
    encoder = ["--encoder", s.encoder, "--layer", s.layer]
    means = ["--clusters", s.clusters, "--iterations", s.iterations]
    cuts, alignment, units = (corpus.paths(kind) for kind in ("cuts", "alignment", "units"))
    where = ["--out", r / "sample.safetensors", *encoder, "--sample-frames", s.sample_frames]
    run("sample_features.py", "--cuts", *cuts, "--alignment", *alignment, *where)
    where = ["--sample", r / "sample.safetensors", "--out", corpus.centroids]
    run("train_kmeans.py", *where, *encoder, *means)
    book = ["--centroids", corpus.centroids]
    outputs = ["--out", units[0], "--rejected", corpus.path("rejected", 0)]
    run("extract_units.py", "--cuts", cuts[0], "--alignment", alignment[0], *outputs, *book, *encoder)
    # the others in this process: importing transformers costs four seconds each time
    corpus.extract(1)
    for task in ("swuggy", "topic"):
        extract_items([r / task / "items.parquet"], corpus.centroids, [r / task / "units.parquet"], s)
    files = ["--items", r / "swuggy/items.parquet", r / "topic/items.parquet"]
    files += ["--item-units", r / "swuggy/units.parquet", r / "topic/units.parquet", "--out", r / "quality.json"]
    run("units_quality.py", "--cuts", *cuts, "--alignment", *alignment, "--units", *units, *book, *files)

    got = read_json(r / "quality.json")
    assert got["clusters"] == 6
    assert got["frames"] == sum(len(u["units"]) for path in units for u in read_table(path, UNITS).to_pylist())
    assert 0.3 < got["pnmi"] <= 1  # even a random encoder tells tones apart
    assert got["without_silence"]["frames"] < got["frames"]
    assert got["dead_clusters"] >= 0
    assert got["speaker"]["speakers"] == 2
    same = got["same_sentence"]
    assert same["topic"] is None  # one voice
    assert same["swuggy"]["sentences"] == same["swuggy"]["pairs"] == 3
    assert same["swuggy"]["phones_changed"] == 0
    assert 0 <= same["swuggy"]["units_changed"] < same["swuggy"]["units_changed_other_sentence"] <= 1
    assert pq.read_metadata(units[0]).metadata[b"clusters"] == b"6"


def test_quality_without_a_common_utterance_says_so(corpus):
    corpus.write().train()
    for shard in corpus.shards:
        corpus.extract(shard)
    corpus.rows = {shard: [] for shard in corpus.shards}
    corpus.write()
    with pytest.raises(UserError, match="no utterance is both"):
        write_quality(
            *(corpus.paths(kind) for kind in ("cuts", "alignment", "units")),
            corpus.centroids,
            {},
            corpus.root / "quality.json",
            seed=0,
        )


def test_the_provenance_says_how(corpus):
    corpus.write().train()
    said = load_codebook(corpus.centroids).provenance
    assert said["sample"]["policy"].startswith("0.") or said["sample"]["policy"].startswith("1 ")
    assert {"sha256", "layer", "seed", "faiss", "objective", "sample_sha256", "max_points_per_centroid"} <= set(said)
    json.dumps(said)


def test_a_new_encoder_is_one_file_and_one_line(corpus, monkeypatch):
    """An encoder that is registered here goes from the sample over k-means and units to their quality."""
    monkeypatch.setitem(factory.ENCODERS, "toy", "tests.unit.toy_encoder:open_encoder")
    assert check_encoder(corpus.settings.model_copy(update={"source": "toy", "encoder": "mine"}), Path.cwd()) == "mine"
    corpus.settings = corpus.settings.model_copy(update={"source": "toy", "encoder": "toy", "layer": 12})
    corpus.write().train()
    rows = [row for shard in corpus.shards for row in corpus.extract(shard)]
    assert [len(row["units"]) for row in rows] == [
        frame_count(len(cut.samples())) for shard in corpus.shards for cut in corpus.cuts[shard]
    ]
    files = [corpus.paths(kind) for kind in ("cuts", "alignment", "units")]
    write_quality(*files, corpus.centroids, {}, corpus.root / "quality.json", seed=0)
    found = read_json(corpus.root / "quality.json")
    assert found["encoder"] == {"encoder": "toy", "sha256": "0" * 64, "layer": 12}
    assert found["pnmi"] > 0.5  # it tells tones apart
    corpus.settings = corpus.settings.model_copy(update={"layer": 13})
    with pytest.raises(UserError, match="the codebook was made from toy layer 12"):
        corpus.extract(0)


@pytest.mark.parametrize(("source", "dim"), [("mfcc", 39), ("logmel", 40)])
def test_features_of_no_model_make_units(corpus, source, dim):
    corpus.settings = corpus.settings.model_copy(update={"source": source, "encoder": "nowhere", "layer": 9})
    assert check_encoder(corpus.settings, Path.cwd()) == "nowhere"  # not looked for
    corpus.write().train()
    said = load_codebook(corpus.centroids).provenance
    assert (said["encoder"], said["layer"], said["dim"]) == (source, 0, dim)
    louder = [cut.samples() for shard in corpus.shards for cut in corpus.cuts[shard]]
    encoder = factory.open_encoder(corpus.settings)
    for quiet, loud in zip(encoder.encode(louder), encoder.encode([0.5 * wave for wave in louder]), strict=True):
        assert quiet.shape[1] == dim and abs(quiet - loud).max() < 0.2  # loudness is no feature
        assert quiet.mean(axis=0) == pytest.approx(0, abs=1e-3)
    rows = [row for shard in corpus.shards for row in corpus.extract(shard)]
    assert [len(row["units"]) for row in rows] == [frame_count(len(samples)) for samples in louder]
    files = [corpus.paths(kind) for kind in ("cuts", "alignment", "units")]
    write_quality(*files, corpus.centroids, {}, corpus.root / "quality.json", seed=0)
    assert read_json(corpus.root / "quality.json")["pnmi"] > 0.5  # they tell tones apart
    other = "logmel" if source == "mfcc" else "mfcc"
    corpus.settings = corpus.settings.model_copy(update={"source": other})
    with pytest.raises(UserError, match=f"the codebook was made from {source} layer 0"):
        corpus.extract(0)


def test_a_source_without_an_encoder_says_so():
    with pytest.raises(UserError, match=r"units\.source: external has no encoder"):
        factory.open_encoder(Units(source="external", path="units.jsonl"))
