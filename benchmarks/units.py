"""Compare extraction of units, and k-means, with what others do. The last line of the output is one JSON object.

    python benchmarks/units.py                      # a few minutes on a CPU: HuBERT-Base-shaped; on a GPU HuBERT-Large
    python benchmarks/units.py --out benchmarks/measured/units-DATE.json

Extraction is `extract_shard`, as in the stage: it reads files and writes a table of units. It is compared with two
other ways, on the same files, random weights, layer, centroids and number of threads:

(a) one file at a time in fp32, as in fairseq's dump_hubert_feature with dump_km_label and in textlesslib: the model of
    transformers up to the layer, its features moved to the CPU, and there the nearest centroid by an fp32 product;
(b) naive batches: as many files as fit in the seconds of a batch, in file order, padded to the longest with a mask, in
    our precision, and the nearest centroid on the device.

Both decode FLAC in the same process, as those tools do. Every way runs once to warm up, then they take turns. A ratio
is the median over the rounds of their time per second of speech divided by ours. The ratio of CPU seconds is printed
too; other work on the machine affects it less. On a GPU way (a) runs on a tenth of the files, and the benchmark also
measures the encoder alone, its share of the card's measured bf16 matrix rate (FLOP by units.encoders.compute, attention
included), and k-means of 10 M frames by our backend. MiniBatchKMeans, which runs on the CPU, is compared on 200,000
frames everywhere. No round begins after --limit seconds; the defaults fit into ten minutes. --audio is a folder in
LibriSpeech layout; without one the speech is noise of the same durations.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import soundfile
import torch
import transformers
from hardware import about
from kmeans_part import alone, compare

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.audio import read_audio
from speechladder.io.files import write_json
from speechladder.io.tables import ALIGNMENT, UNITS, read_table, write_table
from speechladder.io.tensors import write_tensors
from speechladder.lm.compute import matmul_ceiling
from speechladder.settings import Units
from speechladder.units.decode import Wave
from speechladder.units.encoders.compute import HUBERT_BASE, HUBERT_LARGE, encoder_flops
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.encoders.models import read_model
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.extract import extract_shard

ROOT = Path(__file__).resolve().parents[1]
AUDIO = ROOT.parent / "shared" / "data" / "librispeech" / "LibriSpeech"
LENGTHS = 2.5, 14.8, 12.1, 15.9, 5.2, 16.1, 9.4, 13.7, 3.3, 15.2  # seconds of noise, as in read speech
CLUSTERS = {"base": 500, "large": 2048}
Taken = dict[str, list[float]]  # a figure for each round, by way


class Case:
    """A folder with a checkpoint of random weights, speech as a shard, and a codebook."""

    def __init__(self, folder: Path, shape: str, layer: int, speech: list[Path], device: str) -> None:
        self.folder, self.device = folder, device
        torch.manual_seed(0)
        config = transformers.HubertConfig(**(HUBERT_LARGE if shape == "large" else HUBERT_BASE))
        self.config, self.layer = config, layer
        transformers.HubertModel(config).save_pretrained(folder / "model")
        transformers.Wav2Vec2FeatureExtractor(do_normalize=shape == "large").save_pretrained(folder / "model")
        self.files = speech
        self.lengths = [soundfile.info(str(file)).frames for file in speech]
        self.seconds = sum(self.lengths) / SAMPLE_RATE
        self.few = speech[: max(1, len(speech) // 10)] if device == "cuda" else speech  # for way (a), which is slow
        self.few_seconds = sum(self.lengths[: len(self.few)]) / SAMPLE_RATE
        self.write_shard(len(speech))
        self.units = Units(
            encoder=str(folder / "model"),
            layer=layer,
            clusters=CLUSTERS[shape],
            batch_seconds=400.0 if device == "cuda" else 60.0,
        )
        encoder = open_encoder(self.units, device)
        found = np.concatenate(encoder.encode([read_audio(file) for file in speech[:40]]))
        rng = np.random.default_rng(0)
        drawn = found[rng.choice(len(found), CLUSTERS[shape], replace=len(found) < CLUSTERS[shape])]
        self.centroids = np.ascontiguousarray(drawn + rng.normal(0, 1e-3, drawn.shape), np.float32)
        self.precision = encoder.precision
        write_tensors(folder / "centroids.safetensors", {"centroids": self.centroids}, encoder.provenance)

    def write_shard(self, count: int) -> None:
        """Write the first `count` files as the shard that `ours` extracts."""
        rows = zip([f"u{n}" for n in range(count)], self.files, self.lengths)
        cuts = [Cut(n, n, str(f), 0.0, s / SAMPLE_RATE, "s", "train", "", "", SAMPLE_RATE, s) for n, f, s in rows]
        write_cuts(self.folder / "cuts.jsonl.gz", cuts)
        aligned = {"words": [], "phones": [], "aligner": "none"}
        table = [{"id": cut.id, "seconds": cut.duration, **aligned} for cut in cuts]
        write_table(self.folder / "alignment.parquet", table, ALIGNMENT)

    def ours(self) -> list[np.ndarray]:
        """Extract the units of the shard as the stage does."""
        f = self.folder
        files = (f / "cuts.jsonl.gz", f / "alignment.parquet", f / "centroids.safetensors", f / "units.parquet")
        extract_shard(*files, f / "rejected.jsonl", self.units, 1.0)
        return [np.array(row) for row in read_table(f / "units.parquet", UNITS)["units"].to_pylist()]

    def theirs(self) -> tuple[Any, bool]:
        """(the model of transformers up to the layer, on the device; whether waveforms are normalised)."""
        found = read_model(str(self.folder / "model"), self.layer)
        return found.model.to(self.device), found.normalise

    def one_at_a_time(self) -> list[np.ndarray]:
        """Way (a), on the files `few`."""
        model, normalise = self.theirs()
        norms, wide = (self.centroids**2).sum(1), self.centroids.T
        out = []
        for file in self.few:
            samples = read_audio(file)
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7) if normalise else samples
            with torch.inference_mode():
                values = torch.from_numpy(samples)[None].to(self.device)
                features = model(values).last_hidden_state[0].cpu().numpy()
            out.append((norms - 2 * features @ wide).argmin(1))
        return out

    def naive_batches(self) -> list[np.ndarray]:
        """Way (b)."""
        model, normalise = self.theirs()
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True)
        centroids = torch.from_numpy(self.centroids).to(self.device)
        norms = (centroids**2).sum(1)
        size = max(1, round(len(self.files) * self.units.batch_seconds / self.seconds))
        out = []
        for at in range(0, len(self.files), size):
            speech = [read_audio(file) for file in self.files[at : at + size]]
            given = extractor(speech, sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt").to(self.device)
            low = dtype != torch.float32
            with torch.inference_mode(), torch.autocast(self.device, dtype if low else None, enabled=low):
                states = model(given.input_values, attention_mask=given.attention_mask).last_hidden_state.float()
            found = (norms - 2 * states @ centroids.T).argmin(2).cpu().numpy()
            frames = [(len(samples) - 400) // 320 + 1 for samples in speech]
            out += [row[:count] for row, count in zip(found, frames, strict=True)]
        return out


def turns(
    ways: dict[str, Callable[[], Any]], rounds: int, limit: float = float("inf")
) -> tuple[Taken, Taken, dict[str, Any]]:
    """(seconds of each way in each round, its CPU seconds, its units), after one round to warm up.

    No round but the first begins after `limit` seconds.
    """
    start = time.perf_counter()
    gave = {name: way() for name, way in ways.items()}
    clock: Taken = {name: [] for name in ways}
    busy: Taken = {name: [] for name in ways}
    for done in range(rounds):
        if done and time.perf_counter() - start > limit:
            break
        for name, way in ways.items():
            begun, worked = time.perf_counter(), time.process_time()
            way()
            clock[name].append(time.perf_counter() - begun)
            busy[name].append(time.process_time() - worked)
    return clock, busy, gave


def ratio(taken: Taken, name: str) -> float:
    """How many times faster ours is: the median over the rounds."""
    return round(statistics.median(a / b for a, b in zip(taken[name], taken["ours"], strict=True)), 3)


def extraction(case: Case, rounds: int, limit: float) -> dict[str, Any]:
    """The two ratios, and the share of units on which the ways agree."""
    ways = {"ours": case.ours, "one_file_at_a_time": case.one_at_a_time, "naive_batches": case.naive_batches}
    clock, busy, gave = turns(ways, rounds, limit)
    for taken in (clock, busy):  # as if on all files
        taken["one_file_at_a_time"] = [x * case.seconds / case.few_seconds for x in taken["one_file_at_a_time"]]
    median = {name: statistics.median(values) for name, values in clock.items()}
    mine = np.concatenate(gave["ours"])
    return {
        "extraction_vs_one_file_at_a_time": ratio(clock, "one_file_at_a_time"),
        "extraction_vs_naive_batches": ratio(clock, "naive_batches"),
        "extraction": {
            "speech_seconds": round(case.seconds, 1),
            "files": len(case.files),
            "files_one_at_a_time": len(case.few),
            "rounds": len(clock["ours"]),
            "layer": case.layer,
            "clusters": len(case.centroids),
            "precision": case.precision,
            "times_real_time": {name: round(case.seconds / value, 2) for name, value in median.items()},
            "seconds": {name: [round(value, 2) for value in values] for name, values in clock.items()},
            "ratio_of_cpu_seconds": {name: ratio(busy, name) for name in ways if name != "ours"},
            "units_equal_to_ours": {
                name: round(float((np.concatenate(units) == mine[: sum(map(len, units))]).mean()), 5)
                for name, units in gave.items()
                if name != "ours"
            },
        },
    }


def encoder_alone(case: Case, rounds: int, compiled: bool = False, times: int = 1) -> dict[str, Any]:
    """The encoder on the decoded audio of all different files, `times` over: its rates, and its share of the card's."""
    given = (case.units.encoder, case.layer, case.units.batch_seconds, case.device)
    encoder = TransformersEncoder.load(*given, precision=case.precision, compiled=compiled)
    waves = [Wave.of(read_audio(file)).compact() for file in dict.fromkeys(case.files)] * times
    lengths, cuda = [wave.length / SAMPLE_RATE for wave in waves], case.device == "cuda"

    def run() -> None:
        for _ in encoder.features(waves):
            pass
        if cuda:
            torch.cuda.synchronize()

    taken = statistics.median(turns({"encoder": run}, rounds)[0]["encoder"])
    flops = sum(encoder_flops(vars(case.config), case.layer, length) * length for length in lengths)
    found = {"speech_seconds": round(sum(lengths), 1), "times_real_time": sum(lengths) / taken, "compiled": compiled}
    found |= {"flops_per_second": flops / taken}
    if cuda:
        top = matmul_ceiling("cuda", "bf16")
        found |= {"bf16_ceiling_flops": top, "share_of_bf16_ceiling": flops / taken / top}
        found |= {"peak_memory_bytes": torch.cuda.max_memory_allocated()}
    return found


def speech(folder: Path | None, seconds: float, scratch: Path) -> Iterator[Path]:
    """FLAC files in the order of their names, from all over the folder, repeated until they last `seconds`."""
    files = sorted(folder.rglob("*.flac")) if folder else []
    if not files:
        rng = np.random.default_rng(0)
        for at, length in enumerate(LENGTHS):
            soundfile.write(scratch / f"{at}.flac", rng.normal(0, 0.05, round(length * SAMPLE_RATE)), SAMPLE_RATE)
        files = sorted(scratch.glob("*.flac"))
    lengths = {file: soundfile.info(str(file)).frames / SAMPLE_RATE for file in files}
    stride = max(1, int(sum(lengths.values()) / seconds))
    files, left = files[::stride], seconds
    while left > 0:
        for file in files:
            if left <= 0:
                return
            yield file
            left -= lengths[file]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=AUDIO if AUDIO.is_dir() else None, help="a folder of FLAC files")
    parser.add_argument("--shape", choices=("base", "large"), help="default: large on a GPU, base on a CPU")
    parser.add_argument("--layer", type=int, help="default: three quarters up, 18 of 24 or 9 of 12")
    parser.add_argument("--seconds", type=float, help="of speech; default: 18000 on a GPU, 120 on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds after which no round of extraction begins")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--compile", action="store_true", help="GPU: the encoder alone also through torch.compile")
    parser.add_argument("--no-kmeans", action="store_true", help="leave k-means out")
    parser.add_argument("--kmeans-frames", type=int, help="of MiniBatchKMeans and ours; default: 200,000")
    parser.add_argument("--out", type=Path, help="a file for the JSON, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gpu = device == "cuda"
    shape = args.shape or ("large" if gpu else "base")
    layer = args.layer or (18 if shape == "large" else 9)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        chosen = list(speech(args.audio, args.seconds or (18_000 if gpu else 120), scratch))
        case = Case(scratch, shape, layer, chosen, device)
        found = {
            **about(args.threads, torch.cuda.get_device_name() if gpu else None),
            "model": f"HuBERT-{shape.title()}-shaped, random weights, layer {layer}",
            "audio": "natural read speech" if args.audio else "noise",
        } | extraction(case, args.rounds, args.limit)
        if gpu:
            times = len(chosen) // len(set(chosen))
            ways = [False, True] if args.compile else [False]
            found["encoder"] = [encoder_alone(case, args.rounds, way, times) for way in ways]
    if not args.no_kmeans:
        found |= compare(args.kmeans_frames or 200_000, threads=args.threads, only="torch" if gpu else None)
        if gpu:
            found["kmeans_alone"] = alone(10_000_000, 1024, 2048)
    if args.out:
        write_json(args.out, found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
