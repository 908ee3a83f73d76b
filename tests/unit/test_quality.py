"""Quality figures are compared with values computed by hand."""

import gzip
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from speechladder.alignment.frames import frame_centres, hundredths
from speechladder.io.tables import ALIGNMENT, write_table
from speechladder.units.diagnostics.quality import (
    deduplicate,
    edit_distance,
    entropy,
    joint_counts,
    joint_of,
    mutual_information,
    phones_of,
    pnmi_100hz,
    purities,
    quality,
    speaker_leak,
)

# Two phones of 6 and 2 frames over three units:      unit 0  1  2
JOINT = np.array([[4, 2, 0], [0, 0, 2]])  # phone 0:        4  2  0, phone 1: 0 0 2


def h(*shares):
    return -sum(p * math.log2(p) for p in shares)


def test_purities_by_hand():
    got = purities(JOINT)
    assert got["phone_purity"] == 1.0  # every unit has one phone only
    assert got["cluster_purity"] == (4 + 2) / 8
    assert got["pnmi"] == pytest.approx(1.0)  # the unit tells the phone
    assert got["frames"] == 8


def test_pnmi_by_hand_where_the_unit_does_not_tell_all():
    joint = np.array([[3, 1], [1, 3]])
    # H(phone) = 1 bit; H(phone | unit) = h(3/4, 1/4)
    assert purities(joint) == {
        "phone_purity": 6 / 8,
        "cluster_purity": 6 / 8,
        "pnmi": pytest.approx(1 - h(0.75, 0.25)),
        "frames": 8,
    }
    # normalised by the phone's entropy and not by the unit's: an uneven table tells them apart
    uneven = np.array([[4, 2, 2], [0, 4, 4]])
    information = h(0.5, 0.5) - 0.75 * h(1 / 3, 2 / 3)
    assert purities(uneven)["pnmi"] == pytest.approx(information / 1.0)


def test_independent_units_say_nothing():
    joint = np.outer([3, 5, 2], [4, 1, 5])
    assert mutual_information(joint) == pytest.approx(0, abs=1e-12)
    assert purities(joint)["pnmi"] == pytest.approx(0, abs=1e-12)
    assert purities(np.array([[3, 4]]))["pnmi"] is None  # one phone has no entropy to explain


def test_counts_and_entropy():
    assert joint_counts(np.array([0, 1, 1]), np.array([2, 0, 0]), (2, 3)).tolist() == [[0, 0, 1], [2, 0, 0]]
    assert entropy(np.array([1, 1, 0, 2])) == pytest.approx(1.5)


def test_runs():
    assert deduplicate(np.array([0, 0, 3, 3, 3, 0])).tolist() == [0, 3, 0]
    assert deduplicate(np.array([], dtype=int)).tolist() == []


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_edit_distance(a, b, distance):
    assert edit_distance(np.array([ord(c) for c in a]), np.array([ord(c) for c in b])) == distance


def test_edit_distance_like_the_plain_recurrence():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.integers(0, 4, rng.integers(1, 15)) for _ in range(2))
        table = np.zeros((len(a) + 1, len(b) + 1), int)
        table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
        for i in range(1, len(a) + 1):
            for j in range(1, len(b) + 1):
                same = table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
                table[i, j] = min(same, table[i - 1, j] + 1, table[i, j - 1] + 1)
        assert edit_distance(a, b) == table[-1, -1]


def test_figures_of_a_corpus_by_hand():
    units = [np.array([0, 0, 1, 1], np.uint16), np.array([1, 2, 2, 2], np.uint16)]
    labels = [["SIL", "SIL", "AA", "AA"], ["AA", "B", "B", "B"]]
    got = quality(units, [(row, list(np.repeat(row, 2))) for row in labels], ["x", "x"], clusters=5, seed=0)
    assert got["pnmi"] == got["pnmi_100hz"] == got["phone_purity"] == got["cluster_purity"] == pytest.approx(1.0)
    assert got["without_silence"]["frames"] == 6
    assert got["without_silence"]["pnmi"] == pytest.approx(1.0)
    assert (got["utterances"], got["clusters"], got["dead_clusters"]) == (2, 5, 2)
    assert got["entropy_bits"] == pytest.approx(h(2 / 8, 3 / 8, 3 / 8))
    assert got["bits_per_second"] == pytest.approx(50 * h(2 / 8, 3 / 8, 3 / 8))
    assert got["mean_run_frames"] == 8 / 4  # no run goes on into the next utterance
    assert got["dedup"]["units_per_second"] == 25
    assert got["dedup"]["bits_per_second"] == pytest.approx(25 * h(1 / 4, 2 / 4, 1 / 4))
    assert got["speaker"] is None


def test_speaker_leak_is_seen_and_chance_is_not():
    rng = np.random.default_rng(0)
    speakers = [f"s{i % 4}" for i in range(40)]
    blind = [rng.integers(0, 8, 100).astype(np.uint16) for _ in speakers]
    telling = [np.full(100, i % 4, np.uint16) for i in range(40)]
    chance, all_of_it = (speaker_leak(u, speakers, 8, seed=0) for u in (blind, telling))
    assert chance["mi_bits"] > 0  # the bias of a finite sample, which the shuffled figure shows too
    assert abs(chance["mi_excess_bits"]) < 0.005
    assert all_of_it["speaker_entropy_bits"] == pytest.approx(2)
    assert all_of_it["share"] == pytest.approx(1)
    assert all_of_it["mi_shuffled_bits"] < 0.5
    assert all_of_it == speaker_leak(telling, speakers, 8, seed=0)


# --- the convention of published figures ---


def test_hundredths_lie_about_the_centre_of_the_frame():
    assert hundredths(2).tolist() == pytest.approx([0.005, 0.015, 0.025, 0.035])
    before, after = hundredths(3).reshape(3, 2).T - frame_centres(3)
    assert before.tolist() == pytest.approx([-0.0075] * 3) and after.tolist() == pytest.approx([0.0025] * 3)


def test_the_published_convention_counts_every_unit_at_two_labels(tmp_path):
    """A border at 30 ms: the centres of the frames (12.5, 32.5 ms) do not cut a unit; the hundredths cut the second."""
    row = {"id": "u", "words": [], "phones": [{"label": "AA1", "start": 0.0, "end": 0.03}]}
    row["phones"].append({"label": "B", "start": 0.03, "end": 0.04})
    write_table(tmp_path / "a.parquet", [row], ALIGNMENT)
    (labels,) = phones_of([tmp_path / "a.parquet"], {"u": 2, "other": 3}).values()
    assert labels == (["AA", "B"], ["AA", "AA", "AA", "B"])
    units = [np.array([7, 8])]
    got = quality(units, [labels], ["x"], clusters=9, seed=0)
    assert got["pnmi"] == pytest.approx(1.0)
    # unit 7: AA AA, unit 8: AA B. H(phone) = h(3/4, 1/4), H(phone | unit) = 1/2 bit
    assert got["pnmi_100hz"] == pytest.approx(1 - 0.5 / h(0.75, 0.25))
    assert pnmi_100hz(units, [["AA"] * 4], 9) is None


def _spidr(name: str) -> dict[str, list[int | str]]:
    path = Path(os.environ["SPIDR_PAPER"]) / name
    with gzip.open(path, "rt") as handle:
        rows = [json.loads(line) for line in handle]
    return {row["name"]: row.get("units") or row["phones"] for row in rows}


@pytest.mark.skipif("SPIDR_PAPER" not in os.environ, reason="SPIDR_PAPER names no copy of SpidR's folder paper/")
@pytest.mark.parametrize(("kind", "published"), [("kmeans", 0.63616), ("codebooks", 0.60243)])
def test_spidrs_own_units_and_labels_give_its_own_figures(kind, published):
    labels = _spidr("assets/phoneme-dev-clean-and-other.jsonl.gz")
    units = _spidr(f"results/units-{kind}-spidr-l6-dev-clean-and-other.jsonl.gz")
    # labels that no unit reaches are left out
    pairs = [(np.array(row), labels[name][: 2 * len(row)]) for name, row in units.items()]
    found = pnmi_100hz(*zip(*pairs, strict=True), 256)
    assert found == pytest.approx(published, abs=5e-6)
    centres = [row[1::2] for _, row in pairs]  # 12.5 ms into the frame is in its second hundredth
    _, joint = joint_of([row for row, _ in pairs], centres, 256)
    assert 0.025 < purities(joint)["pnmi"] - found < 0.03
