"""Memory and time of a manifest of eleven million cuts, and of the stages that read every utterance: a JSON line.

`manifest` (the default) writes a manifest of `--records` records like LibriHeavy's (generated text, genuine fields and
lengths) and partitions it into shards in a process of its own, with and without a cap in hours. For comparison, plain
Python does the same with the first records: json.loads of every line, all cuts in a list, each shard written at once.
Its memory for all records is extrapolated. `downstream` makes `--records` utterances with alignment and units, and runs
the stages that read them all, each in a process of its own: select_utterances, tokenize_rung of text-raw and
speech-hubert, alignment_quality.

    nice -n 5 python benchmarks/manifest.py --records 11000000
    nice -n 5 python benchmarks/manifest.py downstream --records 300000 [--source OTHER_CHECKOUT/src]
"""

import argparse
import gzip
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
SPLIT = ROOT / "scripts" / "split_manifest.py"
PER_RECORDING, PER_SPEAKER = 50, 1600  # cuts: 220,000 recordings and 6,900 speakers of 11 million cuts
CORPUS = ["--name", "libriheavy", "--manifests", '["m"]', "--source", "/nowhere"]
PHONES = 40  # of an utterance of `downstream`
PLAIN = """
import gzip, json, sys
from speechladder.io.hashing import stable_hash
cuts = []
with gzip.open(sys.argv[1], "rt") as handle:
    for line in handle:
        cuts.append(json.loads(line))
        if len(cuts) == int(sys.argv[2]):
            break
shards = {}
for cut in cuts:
    shards.setdefault(stable_hash("shard", cut["recording"]["id"]) % int(sys.argv[4]), []).append(cut)
for shard, found in shards.items():
    with gzip.open(f"{sys.argv[3]}/{shard}.jsonl.gz", "wt", compresslevel=1) as handle:
        for cut in found:
            handle.write(json.dumps(cut) + "\\n")
"""


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="?", choices=("manifest", "downstream"), default="manifest")
    parser.add_argument("--records", type=int, default=11_000_000)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=500.0, help="the cap (%(default)s)")
    parser.add_argument("--plain", type=int, default=200_000, help="records that plain Python reads (%(default)s)")
    parser.add_argument(
        "--scratch", type=Path, help="folder for some 10 GB, removed afterwards; default: a temporary one"
    )
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="downstream: the library that is measured")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(args.step, args.scratch)
        return
    folder = Path(tempfile.mkdtemp(prefix="speechladder-manifest-", dir=args.scratch))
    try:
        found = manifest(args, folder) if args.mode == "manifest" else downstream(args, folder)
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"benchmark": args.mode, "records": args.records, "shards": args.shards} | found | about()))


def about() -> dict[str, Any]:
    """The machine and the version that were measured."""
    from hardware import processor

    from speechladder.lm.output import commit

    hardware = f"{processor()}, {os.cpu_count()} threads"
    return {"hardware": hardware, "python": platform.python_version(), "commit": commit()}


def measured(command: list[str], source: Path = ROOT / "src") -> dict[str, float]:
    """Run a command: its wall and CPU seconds and the peak of its resident memory."""
    begun = time.perf_counter()
    child = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(source)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    errors = child.stderr.read() if child.stderr else b""
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:4])} failed:\n{errors.decode()[-2000:]}")
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def rated(figures: dict[str, float], records: int) -> dict[str, float]:
    """The figures with records per second."""
    return figures | {"records_per_second": round(records / figures["seconds"])}


def manifest(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Figures of the partition, with and without a cap, and of plain Python."""
    path = folder / "libriheavy_cuts_large.jsonl.gz"
    begun = time.perf_counter()
    raw = write_manifest(path, args.records)
    out: dict[str, Any] = {
        "manifest_gb": round(path.stat().st_size / 1e9, 2),
        "manifest_raw_gb": round(raw / 1e9, 2),
        "generated_in_seconds": round(time.perf_counter() - begun, 1),
    }
    command = [sys.executable, str(SPLIT), "--files", str(path), "--out", str(folder / "out"), *CORPUS]
    for name, more in (("all", []), ("capped", ["--hours", str(args.hours)])):
        out[name] = rated(measured([*command, "--shards", str(args.shards), *more]), args.records)
        summary = json.loads((folder / "out" / "summary.json").read_text())
        out[name]["train_hours"] = summary["after"]["train"]["hours"]
        shutil.rmtree(folder / "out")
    (folder / "plain").mkdir()
    number = min(args.plain, args.records)
    plain = measured([sys.executable, "-c", PLAIN, str(path), str(number), str(folder / "plain"), str(args.shards)])
    out["plain"] = {"records": number} | rated(plain, number)
    out["plain"]["peak_mb_extrapolated"] = round(plain["peak_mb"] * args.records / number)
    for name in ("seconds", "cpu_seconds"):  # other work on the machine adds to the first, not to the second
        out[f"plain_{name}_to_ours"] = round(plain[name] / number * args.records / out["all"][name], 2)
    return out


def write_manifest(path: Path, records: int) -> int:
    """Write a manifest of generated cuts; returns its bytes before compression."""
    rng = random.Random(0)
    letters = "etaoinshrdlu"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(8000)]
    pool = [" ".join(rng.choices(words, k=400)) for _ in range(2000)]
    raw = 0
    with gzip.open(path, "wb", compresslevel=1) as handle:
        for n in range(records):
            line = record(rng, pool, n)
            raw += len(line)
            handle.write(line)
    return raw


def record(rng: random.Random, pool: list[str], n: int) -> bytes:
    """A line with the fields and the length of LibriHeavy's lines."""
    duration = rng.randint(200, 3000) / 100
    speaker, number = n // PER_SPEAKER, n % PER_RECORDING
    recording = (
        f"large/{10000 + speaker}/some_longish_title_{speaker}_librivox_64kb_mp3/{n // PER_RECORDING:06}_title_64kb"
    )
    text, before = rng.choice(pool), rng.choice(pool)
    at, length = rng.randrange(1000), round(14 * duration)
    book = f'{text[at : at + length].capitalize()}, \\"{text[:20]}.\\"'
    back = before[: rng.randint(300, 900)]
    return (
        f'{{"id": "{recording}_{number}", "start": {30 * number + 0.52}, "duration": {duration}, "channel": 0, '
        f'"supervisions": [{{"id": "{recording}_{number}", "recording_id": "{recording}", "start": 0, '
        f'"duration": {duration}, "channel": 0, "language": "English", "speaker": "{10000 + speaker}", '
        f'"custom": {{"texts": ["{book}", "{text[at : at + length].upper()}"], '
        f'"pre_texts": ["{back}", "{back.upper()}"], "begin_byte": 4993, '
        f'"end_byte": 5120}}}}], "recording": {{"id": "{recording}", "sources": [{{"type": "file", "channels": [0], '
        f'"source": "download/librilight/{recording}.flac"}}], "sampling_rate": 16000, "num_samples": 24000000, '
        '"duration": 1500.0, "channel_ids": [0]}, "custom": {"text_path": "download/librilight_text/'
        f'output_text_large_cleaned/Title {speaker}/text.txt"}}, "type": "MonoCut"}}\n'
    ).encode()


STEPS = ("select", "tokens text-raw", "tokens speech-hubert", "alignment quality")


def downstream(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Figures of the stages that read every utterance.

    Peaks of memory are measured with all records and with a third of them, which gives the memory per million more.
    """
    out: dict[str, Any] = {"phones_per_utterance": PHONES, "source": str(args.source)}
    sizes = (args.records // 3, args.records)
    peaks: dict[str, list[float]] = {}
    for size in sizes:
        shards = max(1, size // 11_000)  # utterances per shard as with 11 million in a thousand shards
        here = folder / str(size)
        write_utterances(here, size, shards)
        for name in STEPS:
            command = [sys.executable, __file__, "downstream", "--scratch", str(here), "--step", name]
            out[name] = rated(measured(command, args.source), size)
            peaks.setdefault(name, []).append(out[name]["peak_mb"])
        shutil.rmtree(here)
    for name, (small, large) in peaks.items():
        out[name]["mb_per_million_more"] = round(1e6 * (large - small) / (sizes[1] - sizes[0]))
    return out


def files(folder: Path) -> tuple[list[Path], list[Path], list[Path], list[Path]]:
    """Cuts, alignment, units and rejected of all shards, in order."""
    shards = range(len(list(folder.glob("cuts.*"))))
    names = ("cuts.{}.jsonl.gz", "alignment.{}.parquet", "units.{}.parquet", "rejected.{}.jsonl")
    return tuple([folder / name.format(n) for n in shards] for name in names)  # type: ignore[return-value]


def step(name: str, folder: Path) -> None:
    """Run one stage in this process."""
    cuts, alignment, units, rejected = files(folder)
    if name == "select":
        from speechladder.rungs.utterances import select_utterances

        select_utterances(cuts, alignment, units, folder / "utterances.parquet", folder / "rejected.jsonl", 0.5)
    elif name.startswith("tokens"):
        from speechladder.rungs.pack import pack_rung
        from speechladder.settings import Tokens

        pack_rung(name.split()[1], folder / "utterances.parquet", cuts, alignment, units, folder / name, Tokens(), 100)
    else:
        from speechladder.alignment.quality import alignment_quality
        from speechladder.settings import Alignment

        alignment_quality(cuts, [], alignment, rejected, Alignment(aligner="pocketsphinx"))


def write_utterances(folder: Path, number: int, shards: int) -> None:
    """Generated utterances in shards, with alignments of PHONES phones and units for all frames."""
    from speechladder.corpora.cuts import Cut, write_cuts
    from speechladder.corpora.phones import ARPABET
    from speechladder.io.audio import frame_count
    from speechladder.io.files import write_jsonl
    from speechladder.io.tables import ALIGNMENT, UNITS, write_table

    folder.mkdir()
    rng = random.Random(0)
    seconds = PHONES / 10
    frames = frame_count(round(seconds * 16_000))
    text = "the sea was calm and nobody spoke a word"
    for shard, paths in enumerate(zip(*(folder_files(folder, shards)))):
        ids = [f"large/{n // 1600}/some_longish_title_librivox_64kb_mp3/{n // 50:06}_title_64kb_{n % 50}"
               for n in range(shard, number, shards)]  # fmt: skip
        splits = ["valid" if n % 50 == 0 else "train" for n in range(len(ids))]
        rows = zip(ids, splits)
        write_cuts(
            paths[0],
            (Cut(i, i[:-3], f"{i}.flac", 0.0, seconds, i[6:9], s, text, text, 16_000, 64_000) for i, s in rows),
        )
        spans = [
            {"label": p, "start": k / 10, "end": (k + 1) / 10} for k, p in enumerate(rng.choices(ARPABET, k=PHONES))
        ]
        words = [{"label": w, "start": k / 10, "end": (k + 1) / 10} for k, w in enumerate(text.split())]
        aligned = [{"id": i, "words": words, "phones": spans, "seconds": seconds, "aligner": "none"} for i in ids]
        write_table(paths[1], aligned, ALIGNMENT)
        write_table(paths[2], [{"id": i, "units": rng.choices(range(100), k=frames)} for i in ids], UNITS)
        write_jsonl(paths[3], [{"id": f"x{shard}", "reason": "silent", "source": ""}])


def folder_files(folder: Path, shards: int) -> list[list[Path]]:
    """The files to write."""
    names = ("cuts.{}.jsonl.gz", "alignment.{}.parquet", "units.{}.parquet", "rejected.{}.jsonl")
    return [[folder / name.format(n) for n in range(shards)] for name in names]


if __name__ == "__main__":
    main()
