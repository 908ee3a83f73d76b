"""A folder of recordings with the faults of users' folders, through the whole ladder."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechladder.corpora import world
from speechladder.corpora.speak import speak, voices
from speechladder.io.tables import UTTERANCES, read_table
from speechladder.settings import PAPER_RUNGS

from .conftest import ROOT, run

pytestmark = pytest.mark.e2e
BAD = {
    "truncated": ("truncated audio", "unreadable audio"),  # libsndfile reports either
    "empty": ("empty transcript",),
    "silent": ("silent",),
    "zero": ("zero-length audio",),
    "untranscribed": ("no transcript",),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Three speakers, 36 good utterances, and one utterance with each kind of fault."""
    root = tmp_path_factory.mktemp("corpus") / "My Speech"
    rng, pool = random.Random(0), voices(2)
    sentences = [s for d in world.documents(0, words=900) for s in d.sentences]
    for number in range(3):
        chapter = root / f"s{number}" / "c1"
        chapter.mkdir(parents=True)
        lines = []
        for k in range(12):
            text = ". ".join(s.capitalize() for s in rng.sample(sentences, 2)) + "."
            name = f"s{number}-c1-{k}" if k else f"id with, comma {number}"
            samples = speak(text, pool[number], seed=k).samples
            if k == 1:
                soundfile.write(chapter / f"{name}.flac", np.stack([samples, samples], axis=1), 16_000)  # stereo
            elif k == 2:
                soundfile.write(chapter / f"{name}.flac", samples[::2], 8_000)  # 8 kHz
            else:
                soundfile.write(chapter / f"{name}.flac", samples, 16_000)
            lines.append(f"{name} {text.upper()}")
        if number == 0:
            whole = (chapter / "s0-c1-5.flac").read_bytes()
            (chapter / "truncated.flac").write_bytes(whole[: len(whole) // 2])
            soundfile.write(chapter / "empty.flac", samples, 16_000)
            soundfile.write(chapter / "silent.flac", np.zeros(32_000), 16_000)
            soundfile.write(chapter / "zero.wav", np.zeros(0), 16_000)
            soundfile.write(chapter / "untranscribed.flac", samples, 16_000)
            soundfile.write(chapter / "wrong.flac", samples, 16_000)
            lines += [
                f"truncated {lines[5].split(' ', 1)[1]}",
                "empty",
                "silent THE DOG SLEEPS",
                "zero THE DOG SLEEPS",
                "wrong SEVENTEEN ENORMOUS ELEPHANTS WHISTLED MERRILY ALONG THE CROWDED BOULEVARD YESTERDAY MORNING",
            ]
        if number == 1:  # the same name as in the first folder
            soundfile.write(chapter / "s0-c1-4.flac", samples, 16_000)
            lines.append("s0-c1-4 " + text.upper())
        (chapter / f"s{number}-c1.trans.txt").write_text("\n".join(lines) + "\n")
    return root


def test_a_folder_alone_is_enough(corpus, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("good,bad\nthe dogs sleep,the dogs sleeps\na girl sings,a girl sing\nsame,same\n")
    out = run(
        tmp_path,
        *("--configfile", str(ROOT / "presets/local.yaml"), str(ROOT / "presets/smoke.yaml")),
        *(
            "--config",
            f"corpus={{path: '{corpus}', shards: 3}}",
            f"benchmarks={{sblimp: ['{pairs}']}}",
            *("--", "results/table.csv"),
        ),
    )
    assert "Traceback" not in out
    results = tmp_path / "results"
    with (results / "table.csv").open() as handle:
        assert [r["rung"] for r in csv.DictReader(handle)] == list(PAPER_RUNGS)

    rejected = {}
    for path in results.rglob("rejected.*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rejected.setdefault(row["id"], []).append(row["reason"])
    for name, reasons in BAD.items():
        assert any(r.startswith(reasons) for r in rejected[name]), (name, rejected.get(name))
    assert "wrong" in rejected
    used = set(read_table(results / "tokens" / "utterances.parquet", UTTERANCES)["id"].to_pylist())
    assert not used & {*BAD, "wrong"}
    assert {"id with, comma 0", "s0-c1-1", "s0-c1-2"} <= used  # comma, stereo, 8 kHz
    assert {"s0/c1/s0-c1-4", "s1/c1/s0-c1-4"} <= used  # one name under two speakers

    items = (results / "benchmarks" / "sblimp" / "rejected.jsonl").read_text()
    assert "pairs.csv, row 4" in items
    quality = json.loads((results / "alignment" / "quality.json").read_text())
    assert quality["reference"] is None
    with (results / "rejected.csv").open() as handle:
        assert {"corpus", "alignment"} <= {r["stage"] for r in csv.DictReader(handle) if int(r["count"])}
