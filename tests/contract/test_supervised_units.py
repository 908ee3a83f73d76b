"""Supervised units from the world's speech and the shipped encoder, through the functions of the stages."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from speechladder.alignment.run import align_shard
from speechladder.corpora.build import build_shard
from speechladder.corpora.cuts import read_cuts
from speechladder.io.files import read_json
from speechladder.io.tables import UNITS, read_table
from speechladder.settings import Alignment, Corpus, Units
from speechladder.units.codebook import load_codebook, train_codebook
from speechladder.units.diagnostics.quality import frame_phones, write_quality
from speechladder.units.extract import extract_units
from speechladder.units.labels import PHONE_LABELS
from speechladder.units.sample import write_sample

MINUTES = 0.8
CORPUS = Corpus(hours=0.025, shards=1, valid_fraction=0.3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run up to its units."""
    r = tmp_path_factory.mktemp("run")
    cuts, alignment = r / "cuts.0.jsonl.gz", r / "alignment.parquet"
    build_shard(CORPUS, 0, cuts, r / "rejected", audio=r / "audio", truth=r / "truth.parquet")
    align_shard(cuts, Alignment(aligner="truth"), alignment, r / "rejected", truth=r / "truth.parquet")
    units = Units(labels="phones", label_minutes=MINUTES)
    write_sample([cuts], [alignment], r / "sample", units)
    train_codebook(r / "sample", r / "centroids", units, kmeans_device="cpu")
    extract_units(units, r / "centroids", [r / "0.parquet"], cuts, alignment, r / "rejected")
    write_quality([cuts], [alignment], [r / "0.parquet"], r / "centroids", {}, r / "quality.json", 0, abx_minutes=1.0)
    return r


def test_units_are_the_labels_that_the_codebook_says_it_gives(run):
    """The accuracy of the valid split's units, as they were extracted, is the one that the codebook notes."""
    said = load_codebook(run / "centroids").provenance
    table = read_table(run / "0.parquet", UNITS)
    valid = {cut.id for cut in read_cuts(run / "cuts.0.jsonl.gz") if cut.split == "valid"}
    units = {row["id"]: row["units"] for row in table.to_pylist() if row["id"] in valid}
    phones = frame_phones([run / "alignment.parquet"], {name: len(values) for name, values in units.items()})
    right = np.concatenate([[PHONE_LABELS[u] == p for u, p in zip(units[n], phones[n], strict=True)] for n in units])
    assert len(right) == said["valid_frames"] > 500
    assert right.mean() == pytest.approx(said["valid_accuracy"], abs=2e-3)
    most = np.unique(np.concatenate([*phones.values()]), return_counts=True)[1].max() / len(right)
    assert right.mean() > 2 * most  # than the most frequent label would get


def test_the_minutes_are_those_that_were_asked_for(run):
    said = load_codebook(run / "centroids").provenance
    assert said["minutes"] == MINUTES
    assert said["sample"]["splits"]["train"]["frames"] == said["frames_used"] == sum(said["frames_per_label"])
    assert said["labels"] == list(PHONE_LABELS)


def test_the_vocabulary_is_that_of_the_settings(run):
    assert pq.read_schema(run / "0.parquet").metadata[b"clusters"] == str(Units(labels="phones").vocabulary).encode()
    figures = read_json(run / "quality.json")
    assert figures["clusters"] == len(PHONE_LABELS) and figures["abx"]["units"]["centroids"]
