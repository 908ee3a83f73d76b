"""A synthetic results folder, as small as the analysis can read; used by the tests of tables and figures."""

import zlib
from pathlib import Path

import numpy as np

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.files import write_json, write_jsonl
from speechladder.io.tables import LEARNING, SCORES, TOKEN_INDEX, UTTERANCES, write_table

# rung: vocabulary, tokens per second, strength of right pairs per task (in logits of a pair)
SHAPE = {
    "text-bpe": (512, 4.4, (4.5, 3.5, 1.7)),
    "text-raw": (30, 14.5, (5.0, 3.0, 1.0)),
    "phone-bpe": (512, 4.1, (3.5, 2.6, 1.2)),
    "phone-raw": (42, 10.0, (3.4, 1.2, 0.7)),
    "phone-repeat": (42, 50.0, (2.0, 0.5, 0.2)),
    "speech-hubert": (100, 50.0, (0.3, 0.15, 0.0)),
    "speech-hubert-dedup": (100, 27.3, (0.5, 0.2, 0.05)),
}


def scores(
    rung: str,
    task: str,
    seeds=(0,),
    ids: int = 40,
    voices: int = 2,
    layers: int = 5,
    scale: float = 1.0,
    twos: bool = False,
):
    """Rows of SCORES: both halves of `ids` pairs in each voice and of each seed; `twos` crosses neighbours."""
    rng = np.random.default_rng(zlib.crc32(f"{rung} {task} {scale}".encode()))
    strengths = dict(zip(TASKS, SHAPE[rung][2])) if rung in SHAPE else {}
    strength = scale * strengths[task] if task in strengths else 0.5
    rows = []
    for seed in seeds:
        for pair in range(ids):
            ease = rng.normal(strength, 1.2)
            for voice in range(voices):
                count = int(rng.integers(8, 30))
                bad = 3.0 * count + rng.logistic(ease, 1, layers + 1) * np.linspace(0.1, 1, layers + 1)
                for correct in (True, False):
                    nll = np.full(layers + 1, 3.0 * count) if correct else bad
                    rows.append(
                        {
                            "item": f"{pair:04d}|{'good' if correct else 'bad'}|v{voice}",
                            "id": f"{pair:04d}",
                            "voice": f"v{voice}",
                            "correct": correct,
                            "type": f"type{pair % 4}",
                            "split": "",
                            "two": f"two{pair // 2:04d}" if twos else "",
                            "seed": seed,
                            "nll": float(nll[-1]),
                            "tokens": count,
                            "layer_nll": [float(value) for value in nll[:layers]],
                            # the halves share two tokens of 3 nats each
                            "span_nll": float(nll[-1]) - 6.0,
                            "span_tokens": count - 2,
                            "layer_span_nll": [float(value) - 6.0 for value in nll[:layers]],
                        }
                    )
    return rows


def make(
    results: Path, rungs=tuple(SHAPE)[:6], seeds=(0,), ids: int = 40, layers: int = 5, learning: int = 3, twos=()
) -> Path:
    """Write everything that the analysis reads under `results`; the pairs of the tasks `twos` are crossed."""
    rng = np.random.default_rng(1)
    seconds = rng.gamma(6, 1.2, 200)
    names = [f"u{n}" for n in range(200)]
    utterances = [
        {"id": n, "split": "train", "shard": 0, "speaker": "s", "seconds": s, "frames": int(50 * s)}
        for n, s in zip(names, seconds)
    ]
    write_table(results / "tokens" / "utterances.parquet", utterances, UTTERANCES)
    for rung in rungs:
        vocabulary, rate, _ = SHAPE.get(rung, (64, 20.0, ()))
        write_json(
            results / "tokens" / rung / "meta.json",
            {"rung": rung, "vocab_size": vocabulary, "tokens_per_second": rate * 1.00123},
        )
        lengths = (seconds * rate).astype(int)
        index = [
            {"id": n, "offset": 0, "length": int(length), "seconds": s} for n, length, s in zip(names, lengths, seconds)
        ]
        write_table(results / "tokens" / rung / "train.parquet", index, TOKEN_INDEX)
        for seed in seeds:
            facts = {
                "train_tokens": 2_000_000 + 1000 * seed,
                "passes": 3.96 + seed,
                "valid_bits_per_second": 31.5 + seed,
            }
            write_json(results / "lm" / rung / f"seed{seed}" / "train.json", facts)
        curve = []
        for task in TASKS:
            rows = scores(rung, task, seeds, ids, layers=layers, twos=task in twos)
            write_table(results / "scores" / rung / f"{task}.parquet", rows, SCORES)
            keys = ("item", "id", "voice", "correct", "two", "seed", "nll", "tokens", "span_nll", "span_tokens")
            for row in rows if learning else []:
                kept = {"task": task, "train_tokens": 1_900_000 + 1000 * row["seed"], "final": True}
                curve.append({key: row[key] for key in keys} | kept)
            for point in range(learning):
                early = scores(rung, task, seeds, ids, layers=0, scale=(point + 1) / (learning + 1), twos=task in twos)
                extra = {"task": task, "train_tokens": 30_000 * 4**point, "final": False}
                curve += [{key: row[key] for key in keys} | extra for row in early]
        write_table(results / "scores" / rung / "learning.parquet", curve, LEARNING)
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    models = [f"{rung}.seed{seed}" for rung in rungs for seed in seeds]
    for rule, jobs in (("align", ("0", "1")), ("train_lm", models)):
        for job, name in enumerate(jobs):
            path = results / "costs" / rule / f"{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{head}{10.5 + job}\t0:00:10\t{100 + job}.5\t1\t1\t1\t0\t0\t98.0\t{9 + job}.25\n")
    write_jsonl(
        results / "alignment" / "rejected.0.jsonl",
        [{"id": f"u{n}", "reason": f"too fast: {30 + n}.5 phones/s", "source": "x"} for n in range(3)],
    )
    return results
