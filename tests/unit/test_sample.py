"""Training samples of the recogniser, the vocoder and k-means: bounded, and drawn by hash, whatever the shards are."""

from dataclasses import replace

import numpy as np
import pytest

from speechladder.continuation.sample import rows_of, train_sample
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.tables import UNITS, write_table
from speechladder.io.tensors import map_tensor, write_rows, write_tensors
from speechladder.units.kmeans.bottom_k import BottomKSample, Candidate, allowed, choose_frames, quota_level
from speechladder.units.kmeans.store import Store

CUT = Cut("", "r", "r.flac", 0.0, 1.0, "s", "train", "a cow", "A cow.", 16_000, 16_000)


def test_sample_is_of_train_bounded_and_the_same_in_any_shards(tmp_path):
    cuts = [replace(CUT, id=f"c{n}", split="train" if n % 4 else "valid") for n in range(40)]
    write_cuts(tmp_path / "all.jsonl.gz", cuts)
    write_cuts(tmp_path / "b.jsonl.gz", cuts[:11])
    write_cuts(tmp_path / "a.jsonl.gz", cuts[11:])
    drawn = [c.id for c in train_sample([tmp_path / "all.jsonl.gz"], 0, "x", most=7)]
    assert len(drawn) == 7 and all(int(i[1:]) % 4 for i in drawn)
    assert drawn == [c.id for c in train_sample([tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"], 0, "x", most=7)]
    assert drawn != [c.id for c in train_sample([tmp_path / "all.jsonl.gz"], 1, "x", most=7)]
    assert len(train_sample([tmp_path / "all.jsonl.gz"], 0, "x")) == 30


def test_rows_by_id_over_tables(tmp_path):
    for name, ids in (("0", "ab"), ("1", "cd")):
        write_table(tmp_path / f"{name}.parquet", [{"id": i, "units": [ord(i)]} for i in ids], UNITS)
    found = rows_of([tmp_path / "0.parquet", tmp_path / "1.parquet"], UNITS, ["d", "a", "nobody"])
    assert {i: row["units"] for i, row in found.items()} == {"a": [97], "d": [100]}


# --- the k-means sample: which frames, by which policy, held where (units.sample_*, units.kmeans) ---


def candidates(counts: dict[str, list[int]], silent: float = 0.0) -> list[Candidate]:
    """Utterances of speakers with these numbers of frames; the beginning of each is silent."""
    out = []
    for speaker, lengths in counts.items():
        for n, frames in enumerate(lengths):
            name = f"{speaker}-{n}"
            quiet = np.arange(frames) < silent * frames
            out.append(Candidate(stable_hash("t", name), replace(CUT, id=name, speaker=speaker), frames, quiet))
    return out


def filled(given: list[Candidate], **policy) -> BottomKSample:
    found = BottomKSample(**policy)
    for n, candidate in enumerate(given):
        found.add(candidate)
        if n % 7 == 0:
            found.trim()
    return found


def test_the_level_shares_out_what_there_is():
    assert quota_level([100, 100, 100], 150) == 50
    assert quota_level([10, 100, 100], 150) == 70  # who has less gives all
    assert quota_level([10, 20, 30], 1000) == 30
    assert quota_level([], 10) == 0
    for available in ([3, 5, 8, 100], [7], [1, 1, 1, 50]):
        reached = quota_level(available, 12)
        assert sum(min(n, reached) for n in available) == pytest.approx(min(12, sum(available)))


def test_every_speaker_gives_the_same():
    counts = {"often": [100] * 60, "seldom": [100] * 3, "now and then": [100] * 20}
    turns = filled(candidates(counts), frames=900, by_speaker=True).quotas()
    assert [turn.quota for turn in turns] == [300, 300, 300]
    assert [turn.share for turn in turns] == [0.5, 0.5, 1.0]  # speakers by name; 'seldom' has 300 frames in all
    free = filled(candidates(counts), frames=900).quotas()
    assert len(free) == 1 and free[0].quota == 900
    assert {c.cut.speaker for c in free[0].candidates} >= {"often"}


def test_the_sample_keeps_little_and_does_not_depend_on_shards():
    counts = {f"s{n}": [50 + n] * 40 for n in range(6)}
    given = candidates(counts)
    turns = filled(given, frames=600, by_speaker=True).quotas()
    kept = [c.cut.id for turn in turns for c in turn.candidates]
    assert len(kept) < 0.3 * len(given)
    again = filled(given[::-1], frames=600, by_speaker=True).quotas()
    assert [c.cut.id for turn in again for c in turn.candidates] == kept
    for turn in turns:  # the lowest hashes of the speaker, enough for the quota
        own = sorted((c.order, c.cut.id) for c in given if c.cut.speaker == turn.candidates[0].cut.speaker)
        assert [(c.order, c.cut.id) for c in turn.candidates] == own[: len(turn.candidates)]
        assert sum(c.frames for c in turn.candidates) * turn.share >= turn.quota


def test_silence_is_capped_in_every_utterance():
    assert (allowed(50, 90, 0.1), allowed(5, 90, 0.1), allowed(50, 90, 1.0), allowed(50, 90, 0.0)) == (10, 5, 50, 0)
    for candidate in candidates({"a": [100, 57, 31]}, silent=0.4):
        for cap in (0.0, 0.1, 0.3):
            rows = choose_frames(candidate, candidate.frames, 0.5, cap, seed=0)
            assert candidate.silent[rows].mean() <= cap + 1e-9
            voiced = (~candidate.silent[rows]).sum()
            assert voiced == round(0.5 * (~candidate.silent).sum())  # speech is taken as without a cap
            assert (np.diff(rows) > 0).all()
        free = choose_frames(candidate, candidate.frames, 0.5, 1.0, seed=0)
        assert len(free) == round(0.5 * candidate.frames)
    longer = choose_frames(candidate, 40, 1.0, 0.2, seed=0)  # the audio has more frames than the cut promised
    assert longer.max() == 39


def test_a_capped_sample_takes_more_utterances():
    plain = filled(candidates({"a": [100] * 80}, 0.5), frames=1000).quotas()[0]
    capped = filled(candidates({"a": [100] * 80}, 0.5), frames=1000, silence=0.1).quotas()[0]
    assert len(capped.candidates) > 1.5 * len(plain.candidates)
    assert capped.quota == 1000


@pytest.mark.parametrize("gigabytes", [1.0, 1e-6])
def test_a_sample_on_disk_is_the_same_bytes(tmp_path, gigabytes):
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 100, 1, 0, 50)]
    store = Store(tmp_path / "sample.safetensors", 4, gigabytes)
    for block in blocks:
        store.add(block)
    assert store.spilled == (gigabytes < 1)
    store.write({"seed": 1, "policy": "all"})
    write_tensors(tmp_path / "whole.safetensors", {"features": np.concatenate(blocks)}, {"seed": 1, "policy": "all"})
    assert (tmp_path / "sample.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    mapped, said = map_tensor(tmp_path / "sample.safetensors", "features")
    assert (mapped == np.concatenate(blocks)).all() and said == {"seed": 1, "policy": "all"}
    assert {path.name for path in tmp_path.iterdir()} == {"sample.safetensors", "whole.safetensors"}


def test_a_broken_sample_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        map_tensor(tmp_path / "absent.safetensors", "features")
    write_tensors(tmp_path / "a.safetensors", {"other": np.zeros(3, np.float32)}, {})
    with pytest.raises(UserError, match=r"a\.safetensors: not a file that the units stage wrote"):
        map_tensor(tmp_path / "a.safetensors", "features")
    (tmp_path / "b.safetensors").write_bytes(b"x" * 5)
    with pytest.raises(UserError, match=r"b\.safetensors"):
        map_tensor(tmp_path / "b.safetensors", "features")
    with pytest.raises(ValueError, match="announced"):
        write_rows(tmp_path / "c.safetensors", "features", [np.zeros((2, 3), np.float32)], (3, 3), {})
    assert not (tmp_path / "c.safetensors").exists()
