"""Supervised units: labelled speech is nested by minutes, and a linear classifier's label is the unit."""

import numpy as np
import pytest
import torch

from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.spans import Span
from speechladder.io.tables import ALIGNMENT, write_table
from speechladder.io.tensors import map_tensor, read_tensor, write_rows, write_tensors
from speechladder.settings import Settings, Units, load, options
from speechladder.settings.units import PHONE_LABELS as VOCABULARY
from speechladder.units.assign import assign
from speechladder.units.classifier import fit_classifier
from speechladder.units.codebook import Codebook, load_codebook, train_codebook
from speechladder.units.decode import Job
from speechladder.units.labels import PHONE_LABELS, draw_labelled, label_frames
from speechladder.units.nearest import Highest
from speechladder.units.normalise import Normaliser
from speechladder.units.stream import Quantiser
from speechladder.workflow.checks import check_sweep

CPU = torch.device("cpu")
ENCODER = {"encoder": "hubert-micro", "sha256": "a" * 64, "layer": 3, "dim": 6, "normalise": False}
PHONES = Units(labels="phones")


def blobs(seed: int, frames: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Features of three labels, far from 0, in dimensions of very different scales."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, frames).astype(np.uint8)
    scale = np.array([1, 100, 0.01, 1, 1, 1])
    features = (3 * np.eye(3, 6)[labels] + rng.normal(0, 0.5, (frames, 6)) + 50) * scale
    return features.astype(np.float32), labels


@pytest.fixture(scope="module")
def fitted():
    return fit_classifier(*blobs(0), 4, CPU)


def test_separable_labels_are_found_and_a_label_without_frames_is_never_given(fitted):
    features, labels = blobs(1)
    found = assign(features, fitted.weights / 2, -fitted.biases)
    assert (found == labels).mean() > 0.97
    assert 3 not in found
    assert fitted.objective[-1] < 0.2 * fitted.objective[0]
    assert fitted.objective[0] == pytest.approx(np.log(4))  # from zeros every label is as likely


def test_the_fit_is_at_its_minimum(fitted):
    """The gradient of the objective by the biases is the predicted less the true share of each label: 0."""
    features, labels = blobs(0)
    scores = features.astype(np.float64) @ fitted.weights.T + fitted.biases
    predicted = torch.from_numpy(scores).softmax(1).mean(0).numpy()
    assert predicted == pytest.approx(np.bincount(labels, minlength=4) / len(labels), abs=1e-3)


def test_assignment_is_the_highest_score(fitted):
    features = np.concatenate([blobs(2)[0], np.full((3, 6), 1e4, np.float32)])
    scores = features.astype(np.float64) @ fitted.weights.T.astype(np.float64) + fitted.biases
    book = Codebook(np.zeros((4, 6), np.float32), {}, (fitted.weights, fitted.biases))
    assert book.assign(features).tolist() == scores.argmax(1).tolist()
    quantiser = Quantiser.of(book, Normaliser.none(), CPU)
    (got,) = quantiser([torch.from_numpy(features)], [Job("u", "s", b"", 1.0)])
    assert got.dtype == torch.int32 and got.tolist() == scores.argmax(1).tolist()


def test_the_bias_alone_can_decide_and_ties_go_to_the_lowest_index():
    weights = np.zeros((4, 2), np.float32)
    features = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    for biases, unit in (([0, 1, 2, 2], 2), ([1, 1, 1, 1], 0), ([-3, -1, -2, -1], 1)):
        of = np.float32(biases)
        assert set(assign(features, weights / 2, -of)) == {unit}
        assert set(Highest(weights, of, CPU)(torch.from_numpy(features)).tolist()) == {unit}


def test_labels_are_the_vocabulary():
    assert len(PHONE_LABELS) == VOCABULARY == Units(labels="phones").vocabulary
    assert Units(clusters=70).vocabulary == 70
    assert f"--clusters {VOCABULARY}" in options(load({"units": {"labels": "phones"}}), "tokenize_rung")
    assert "--clusters 70" in options(load({"units": {"clusters": 70}}), "tokenize_rung")


def test_frames_get_phones_without_stress():
    spans = [Span("SIL", 0, 0.05), Span("AH1", 0.05, 0.11), Span("B", 0.11, 0.2)]
    found = [PHONE_LABELS[index] for index in label_frames(spans, 8, "u")]
    assert found == ["SIL", "SIL", "AH", "AH", "AH", "B", "B", "B"]
    with pytest.raises(UserError, match=r"utterance 'u'.*phone 'Q'.*units\.labels"):
        label_frames([Span("Q", 0, 1)], 8, "u")


def corpus(folder, phones=({"label": "B", "start": 0.0, "end": 3.0},)):
    """Two shards: 60 utterances of three seconds, every sixth of the valid split."""
    shards = []
    for shard in range(2):
        names = [f"u{at}" for at in range(60) if at % 2 == shard]
        of = {name: "valid" if int(name[1:]) % 6 == 0 else "train" for name in names}
        cuts = [Cut(n, n, f"{n}.flac", 0.0, 3.0, "s", of[n], "a", "A.", 16_000, 48_000) for n in names]
        rows = [{"id": n, "words": [], "phones": list(phones), "seconds": 3.0, "aligner": "truth"} for n in names[1:]]
        files = folder / f"cuts.{shard}.jsonl.gz", folder / f"{shard}.parquet"
        write_cuts(files[0], cuts)
        write_table(files[1], rows, ALIGNMENT)
        shards.append(files)
    return [list(files) for files in zip(*shards, strict=True)]


def test_a_smaller_draw_is_the_start_of_a_larger_one(tmp_path):
    cuts, alignment = corpus(tmp_path)
    less, more, whole = (
        draw_labelled(cuts, alignment, {"train": minutes, "valid": 0.1}, seed=1) for minutes in (0.2, 1.0, 99.0)
    )
    names = [[cut.id for cut, _ in drawn["train"]] for drawn in (less, more, whole)]
    assert names[0] == names[1][: len(names[0])] and names[1] == names[2][: len(names[1])]
    assert 12 <= 3 * len(names[0]) < 20 and 60 <= 3 * len(names[1]) < 80
    assert {cut.split for drawn in (less, whole) for cut, _ in drawn["train"]} == {"train"}
    assert {cut.split for cut, _ in less["valid"]} == {"valid"}
    assert not {"u0", "u1"} & set(names[2])  # which are not aligned
    other = draw_labelled(cuts, alignment, {"train": 0.2}, seed=2)["train"]
    assert [cut.id for cut, _ in other] != names[0]


def test_an_alignment_without_phones_is_named(tmp_path):
    cuts, alignment = corpus(tmp_path, phones=())
    with pytest.raises(UserError, match=r"[01]\.parquet: utterance 'u\d+' has no phones.*units\.labels"):
        draw_labelled(cuts, alignment, {"train": 1.0}, seed=0)


def write_sample(path, train: int, damaged: bool = False):
    features, labels = blobs(3)
    features[0, 0] = np.nan if damaged else features[0, 0]
    splits = {"train": {"frames": train}, "valid": {"frames": len(labels) - train}}
    said = {**ENCODER, "seed": 5, "labels": ["B", "D", "SIL", "ZH"], "splits": splits}
    write_rows(path, "features", [features[:7], features[7:]], features.shape, said, labels)
    return path, features, labels, said


def test_a_labelled_sample_is_one_file_of_two_tensors(tmp_path):
    path, features, labels, said = write_sample(tmp_path / "a", 1000)
    write_tensors(tmp_path / "b", {"features": features, "labels": labels}, said)
    assert path.read_bytes() == (tmp_path / "b").read_bytes()
    assert (map_tensor(path, "features")[0] == features).all() and (read_tensor(path, "labels")[0] == labels).all()


def test_the_codebook_knows_how_good_it_is(tmp_path):
    path, features, labels, _ = write_sample(tmp_path / "sample", 1000)
    out, log = tmp_path / "centroids.safetensors", tmp_path / "log.jsonl"
    train_codebook(path, out, PHONES, log=log, kmeans_device="cpu")
    book = load_codebook(out, ENCODER)
    said, right = book.provenance, book.assign(features) == labels
    assert said["labels"] == ["B", "D", "SIL", "ZH"] and said["clusters"] == 4
    assert said["valid_accuracy"] == pytest.approx(right[1000:].mean(), abs=1e-3)
    assert said["train_accuracy"] == pytest.approx(right[:1000].mean(), abs=1e-3)
    assert (said["frames_used"], said["valid_frames"], said["minutes"]) == (
        1000,
        200,
        pytest.approx(1000 / 3000, abs=1e-3),
    )
    assert said["empty_clusters"] == 1  # ZH has no frame
    assert said["frames_per_label"] == [*np.bincount(labels[:1000]), 0]
    assert book.centroids[0] == pytest.approx(features[:1000][book.assign(features[:1000]) == 0].mean(0), rel=1e-4)
    assert len(log.read_text().splitlines()) > 5
    again = tmp_path / "again"
    train_codebook(path, again, PHONES, seed=9, kmeans_device="cpu")
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(UserError, match="codebook was made from"):
        load_codebook(out, {**ENCODER, "layer": 2})


def test_without_held_out_speech_there_is_no_accuracy(tmp_path):
    path, *_ = write_sample(tmp_path / "sample", 1200)
    assert train_codebook(path, tmp_path / "out", PHONES, kmeans_device="cpu").provenance["valid_accuracy"] is None


def test_damaged_features_are_refused(tmp_path):
    path, *_ = write_sample(tmp_path / "sample", 1000, damaged=True)
    with pytest.raises(UserError, match="not finite"):
        train_codebook(path, tmp_path / "out", PHONES, kmeans_device="cpu")


def test_a_sweep_of_k_means_has_no_labels(tmp_path):
    with pytest.raises(UserError, match=r"units\.labels: phones.*k-means"):
        check_sweep(Settings(units=PHONES), tmp_path)
