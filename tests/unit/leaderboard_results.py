"""Runs of a very small world, as `make_entry` reads them, and the contract of that world."""

from pathlib import Path

import numpy as np

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.audio import encode_flac, frame_count
from speechladder.io.files import write_json
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ALIGNMENT, ITEM_TOKENS, ITEMS, SCORES, UNITS, UTTERANCES, write_table
from speechladder.leaderboard.contract import freeze_contract, read_contract
from speechladder.settings import load
from speechladder.units.diagnostics.probe import CAUSE_NAMES
from speechladder.workflow.record import write_record

SEEDS, PAIRS, UTTERANCES_OF_WORLD, CLUSTERS = [0, 1], 12, 5, 100
PRESET = "lm: {seeds: [0, 1], learning_points: 0}\nanalysis: {resamples: 100}\n"
CONFIG = {"lm": {"seeds": SEEDS, "learning_points": 0}, "analysis": {"resamples": 100}}


def tone(seconds: float, pitch: float) -> np.ndarray:
    """(n,) float32 at 16 kHz."""
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(round(16_000 * seconds)) / 16_000)).astype(np.float32)


def spans(seconds: float) -> list[dict]:
    return as_rows([Span("AH0", 0.0, seconds)])


def make_world(results: Path) -> None:
    """Speech, alignment and items."""
    cuts, aligned = [], []
    for n in range(UTTERANCES_OF_WORLD):
        name, seconds = f"u{n}", 0.5 + 0.1 * n
        path = results / "corpus" / "audio" / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_flac(tone(seconds, 200 + 50 * n)))
        split = ("train", "train", "train", "valid", "test")[n]
        about = (name, name, f"results/corpus/audio/{name}.flac", 0.0, seconds, "s", split, "a cat", "A cat.")
        cuts.append(Cut(*about, 16_000, round(16_000 * seconds)))
        aligned.append({"id": name, "words": spans(seconds), "phones": spans(seconds), "seconds": seconds})
    write_cuts(results / "corpus" / "cuts.0.jsonl.gz", cuts)
    write_table(results / "alignment" / "0.parquet", [row | {"aligner": "truth"} for row in aligned], ALIGNMENT)
    columns = {"split": [c.split for c in cuts], "seconds": [c.duration for c in cuts]}
    rows = [
        {"id": cut.id, "split": columns["split"][n], "shard": 0, "speaker": "s", "seconds": cut.duration, "frames": 25}
        for n, cut in enumerate(cuts)
    ]
    write_table(results / "tokens" / "utterances.parquet", rows, UTTERANCES)
    for number, task in enumerate(TASKS):
        items = []
        for pair in range(PAIRS):
            for half in ("good", "bad"):
                row = {"item": f"p{pair:02}|{half}|v", "id": f"p{pair:02}", "voice": "v", "correct": half == "good"}
                row |= {"type": "x", "split": "", "two": "", "text": half, "words": spans(0.3), "phones": spans(0.3)}
                items.append(row | {"seconds": 0.3, "audio": encode_flac(tone(0.3, 300 + 10 * pair + 100 * number))})
        write_table(results / "benchmarks" / task / "items.parquet", items, ITEMS)


def make_run(results: Path, right: float = 0.7, salt: int = 0, rung: str = "speech-hubert", **units: object) -> Path:
    """A finished run under the contract whose models answer a pair right with probability `right`."""
    rng = np.random.default_rng([salt, round(1000 * right)])
    make_world(results)
    write_record(results, load(CONFIG | {"rungs": [rung], "units": units}))
    frames = [frame_count(round(16_000 * (0.5 + 0.1 * n))) for n in range(UTTERANCES_OF_WORLD)]
    coded = [{"id": f"u{n}", "units": rng.integers(CLUSTERS, size=count)} for n, count in enumerate(frames)]
    write_table(results / "units" / "0.parquet", coded, UNITS)
    quality = {"pnmi": right, "encoder": {"encoder": "hubert-micro", "sha256": "0" * 64, "layer": 3}}
    write_json(results / "units" / "quality.json", quality)
    folder = results / "tokens" / rung
    for split in ("train", "valid", "test"):
        folder.mkdir(parents=True, exist_ok=True)
        tokens = np.random.default_rng([salt, 1]).permutation(np.arange(1, 60))  # each once, in an order of its own
        tokens.astype(np.uint16).tofile(folder / f"{split}.bin")
    write_json(folder / "meta.json", {"vocab_size": 104, "tokens_per_second": 50.0})
    for seed in SEEDS:
        facts = {"train_tokens": 1000, "passes": 5.0, "valid_bits_per_second": 75.0}
        write_json(results / "lm" / rung / f"seed{seed}" / "train.json", facts)
    for task in TASKS:
        write_scores(results, rung, task, right, rng)
    costs = results / "costs" / "train_lm" / f"{rung}.seed0.tsv"
    costs.parent.mkdir(parents=True)
    costs.write_text("s\tmax_rss\tcpu_time\n12.5\t100\t60\n")
    return results


def write_scores(results: Path, rung: str, task: str, right: float, rng: np.random.Generator) -> None:
    """Tokens of the items, and scores: the wrong half of a pair costs more with probability `right`."""
    names = [f"p{pair:02}|{half}|v" for pair in range(PAIRS) for half in ("good", "bad")]
    tokens = [{"item": name, "tokens": [1] * 15} for name in names]
    write_table(results / "benchmarks" / task / f"{rung}.parquet", tokens, ITEM_TOKENS)
    write_table(results / "benchmarks" / task / "units.parquet", [{"id": n, "units": [1] * 14} for n in names], UNITS)
    rows = []
    for seed in SEEDS:
        for pair in range(PAIRS):
            good = rng.normal(60, 5)
            costs = {"good": good, "bad": good + (1 if rng.random() < right else -1) * rng.uniform(0.1, 5)}
            for half, nll in costs.items():
                row = {"item": f"p{pair:02}|{half}|v", "id": f"p{pair:02}", "voice": "v", "correct": half == "good"}
                row |= {"type": "x", "split": "", "two": "", "seed": seed, "layer_nll": [], "layer_span_nll": []}
                row |= {"nll": nll, "tokens": 14, "span_nll": nll / 2, "span_tokens": 7}
                rows.append({name: row[name] for name in SCORES.names})
    write_table(results / "scores" / rung / f"{task}.parquet", rows, SCORES)


def make_contract(folder: Path) -> Path:
    """The contract of this world: its file."""
    make_run(folder / "first" / "results")
    (folder / "tiny.yaml").write_text(PRESET)
    freeze_contract(folder / "first" / "results", str(folder / "tiny.yaml"), folder)
    return folder / "tiny.json"


def make_diagnosis(path: Path, contract: Path, units: dict, changed: float = 0.4, wer: float = 0.3) -> Path:
    """A diagnosis of units that lose `changed` of a sentence in noise, and nothing elsewhere."""

    def estimate(value: float) -> dict:
        return {"value": value, "low": max(0.0, value - 0.05), "high": value + 0.05}

    changes = {
        kind: dict.fromkeys(("units", "dedup", "phones_dedup"), estimate(0.0)) for kind in (*CAUSE_NAMES, "other")
    }
    changes["noise"] = {part: estimate(changed) for part in ("units", "dedup", "above_phones")} | {
        "phones_dedup": estimate(0.0)
    }
    content = {
        "schema": 1,
        "tokenizer": units,
        "conditions": read_contract(contract).diagnosis,
        "quality": {"pnmi": 0.123, "pnmi_100hz": 0.111},
        "abx": {"units": {"symbols": {"within": 5.0, "across": 9.876}}},
        "invariance": changes,
        "shift": {"10ms": changes["room"]},
        "speaker": {"mi_excess_bits": 0.357},
        "words": {"dedup": {"forms": estimate(9.5)}},
        "resynthesis": {"wer": wer, "low": wer - 0.02, "high": wer + 0.02},
    }
    write_json(path, content)
    return path
