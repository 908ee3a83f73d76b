"""The steps of gpu_check.py that measure speed, each figure beside its target.

A step is a generator of lines; `rehearse` asks for sizes that a CPU computes in seconds. A rate for
benchmarks/rates.json stands in the line of its figure.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path

import kmeans_part
import lm_scoring
import lm_training
import numpy as np
import torch
import units as units_benchmark
from gpu_sizes import FULL, SPECIAL, TINY, Line, device_of, figure
from lm_training import Bench
from torch._dynamo.utils import counters

from speechladder.lm import compute
from speechladder.lm.model import autocast
from speechladder.lm.prefetch import Step
from speechladder.lm.step import TrainState
from speechladder.lm.validation import Validation
from speechladder.settings import LM, Units
from speechladder.units.kmeans.fit import fit
from speechladder.units.kmeans.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
STEPS, WARM = 8, 3
TABLE = ["results/table.csv", "--cores", "all", "--nolock"]


def rate(name: str, value: float, what: str, unit: str = "FLOP/s") -> Line:
    """An entry of benchmarks/rates.json."""
    return {"rate": {"name": name, "value": float(f"{value:.4g}"), "unit": unit, "what": what}}


# ---------------------------------------------------------------- training


def training(rehearse: bool) -> Iterator[Line]:
    """The step of lm at 1.1 B parameters and window 2048, and the Trainer of transformers in the same process."""
    device = device_of()
    settings = TINY.lm if rehearse else lm_training.SIZES["cuda"]
    bench = Bench(device, TINY.document if rehearse else 600.0, settings=settings, steps=2 if rehearse else STEPS)
    what = f"{compute.parameters(settings, SPECIAL['vocab_size']) / 1e9:.3g} B parameters, {bench.precision}"
    ours = yield from _ours(bench, what)
    if not importlib.util.find_spec("accelerate"):
        yield {"figure": "training against Hugging Face's Trainer", "skipped": "accelerate is not installed"}
        return
    for name, padded, target in (("windows", False, 1.3), ("padded rows", True, None)):
        theirs = bench.trainer(padded)
        yield figure(f"training against Hugging Face's Trainer, {name}", ours / theirs, target=target, theirs=theirs)


class Held:
    """The first documents as data of validation."""

    def __init__(self, documents: lm_training.Documents, count: int = 200) -> None:
        self.documents, self.seconds = documents, documents.lengths[:count] / 50.0

    def __len__(self) -> int:
        return len(self.seconds)

    def utterance(self, number: int) -> np.ndarray:
        """(length,) tokens."""
        return self.documents.tokens[self.documents.offsets[number] :][: self.documents.lengths[number]]


def _ours(bench: Bench, what: str) -> Generator[Line, None, float]:
    """Lines of the step of lm, whose graphs and waits torch itself counts. Return its tokens/s."""
    cuda, tokens = bench.device.type == "cuda", bench.settings.window * bench.settings.batch_windows
    counters.clear()
    state = bench.train_state()
    with bench.data() as data:
        feed, begun = iter(data), time.perf_counter()
        first = [float(state.train_step(next(feed), 1e-4)) for _ in range(WARM)]
        yield figure("compile_seconds", time.perf_counter() - begun, unit=f"s, the first {WARM} steps included")
        graphs = counters["stats"]["unique_graphs"]
        waits = [wait for _ in range(2) for wait in _waits(state, next(feed), cuda)]
        waited, begun = data.waited, bench.clock.now()
        losses = [state.train_step(next(feed), 1e-4) for _ in range(bench.steps)]
        taken = bench.clock.now() - begun
        waited = data.waited - waited
    more = counters["stats"]["unique_graphs"] - graphs
    yield figure("graphs compiled after step 3", more, all=graphs + more, holds=more == 0)
    begun = bench.clock.now()
    with autocast(bench.device, bench.precision):
        bits = Validation(Held(bench.documents), np.inf).bits(state.model)[0]
    new, taken_by_it = counters["stats"]["unique_graphs"] - graphs - more, bench.clock.now() - begun
    yield figure("graphs compiled by validation", new, bits=bits, seconds=taken_by_it, holds=new == 0)
    yield figure("waits for the GPU in a step", len(waits) if cuda else None, first=waits[:3], holds=not waits)
    found = [*first, *map(float, losses)]
    yield figure("loss", found[-1], first=found[0], holds=bool(np.isfinite(found).all()))
    speed = bench.steps * tokens / taken
    yield figure("training_tokens_per_second", speed, what=what, data_wait=round(waited / taken, 4))
    flops = speed * bench.flops
    given = {"matmul_flops": bench.ceiling, "flops_per_token": bench.flops}
    line = figure("training_share_of_matrix_rate", flops / bench.ceiling, target=0.6, **given)
    yield line | rate("lm_flops_1b", flops, f"lm.train, {what}, {speed:,.0f} tokens/s")
    peak = torch.cuda.max_memory_allocated() if cuda else None
    estimate = {"estimated": bench.memory.needed, "windows_at_once": bench.memory.micro}
    yield figure("training_peak_memory", peak, unit="bytes", **estimate)
    return speed


def _waits(state: TrainState, step: Step, cuda: bool) -> list[str]:
    """Where torch waits for the GPU in a step."""
    if not cuda:
        state.train_step(step, 1e-4)
        return []
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state.train_step(step, 1e-4)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]


# ---------------------------------------------------------------- extraction


def extraction(rehearse: bool) -> Iterator[Line]:
    """A HuBERT-Large shape on decoded speech, and extract_shard as the stage runs it, in times real time.

    A shard of one file shows what the start takes: reading and hashing the checkpoint, and the first worker.
    """
    device, size = device_of(), TINY if rehearse else FULL
    if rehearse:
        units_benchmark.HUBERT_LARGE, units_benchmark.CLUSTERS["large"] = size.hubert, size.clusters
    with tempfile.TemporaryDirectory() as folder:
        seconds = 6.0 if rehearse else 54_000.0
        chosen = list(units_benchmark.speech(None, seconds, Path(folder)))
        case = units_benchmark.Case(Path(folder), "large", size.layer, chosen, device.type)
        case.seconds = sum(case.lengths) / 16_000
        found = units_benchmark.encoder_alone(case, 3, times=1 if rehearse else 40)
        speed, flops = found.pop("times_real_time"), found["flops_per_second"]
        what = f"HuBERT-Large-shaped, {case.precision}, {found['speech_seconds']:.0f} s of speech"
        yield figure("encoder_times_real_time", speed, target=10_000, **found) | rate("encoder_flops", flops, what)
        taken = []
        for count in (1, len(chosen)):
            case.write_shard(count)
            begun = time.perf_counter()
            case.ours()
            taken.append(time.perf_counter() - begun)
    start, whole = taken
    after = case.seconds / (whole - start) if whole > start else None
    about = {"speech_seconds": case.seconds, "seconds": whole, "start_seconds": start, "after_start": after}
    yield figure("extraction_times_real_time", case.seconds / whole, target=5000, **about)


# ---------------------------------------------------------------- k-means and scoring


def kmeans(rehearse: bool) -> Iterator[Line]:
    """2,048 clusters of 10 M frames of 1,024 dimensions in memory, from the copy to the device on."""
    device = device_of()
    frames, dim, clusters = (3000, 8, 6) if rehearse else (10_000_000, 1024, 2048)
    iterations = Units().iterations
    features = kmeans_part.drawn(frames, dim, clusters, device.type)
    for precision in ("fp32", "bf16"):
        begun = time.perf_counter()
        plan = Plan(clusters, iterations, backend="torch", precision=precision, device=device.type)
        got = fit(features, plan)
        taken = time.perf_counter() - begun
        falls = bool(np.all(np.diff(got.objective) <= 1e-3 * got.objective[0]))
        flops = 2.0 * frames * dim * clusters * iterations / taken
        found = {"iterations": iterations, "flops_per_second": flops, "objective_falls": falls}
        line = figure(f"kmeans_seconds_{precision}", taken, target=60, holds=falls, **found)
        entry = rate("kmeans_flops", flops, f"torch, fp32, {frames / 1e6:.3g} M frames")
        yield line | (entry if precision == "fp32" else {})


def scoring(rehearse: bool) -> Iterator[Line]:
    """20,000 items of 10,000 pairs in batches, against a loop over items."""
    few = {"size": "micro", "count": 30, "sample": 20, "batch_tokens": 2048}
    full = {"size": "125m", "count": 10_000, "sample": 600, "batch_tokens": 65_536}
    vocabulary = SPECIAL["vocab_size"]
    found = lm_scoring.measure(**(few if rehearse else full), vocabulary=vocabulary, rounds=1)
    about = found["scoring"]
    lm = LM(**dict(zip(lm_scoring.DIMENSIONS, lm_scoring.SIZES[about["model"]])))
    flops = about["tokens_per_second"]["ours"] * compute.score_flops(lm, vocabulary, about["tokens_per_item"], False)
    kept = {k: about[k] for k in ("model", "tokens_per_second", "seconds", "largest_difference_nats_per_token")}
    line = figure("scoring_vs_one_at_a_time", found["scoring_vs_batch_one"], target=5, **kept)
    yield line | rate("score_flops", flops, f"scoring of the last layer, {about['model']}, fp32")


# ---------------------------------------------------------------- the whole


def table(rehearse: bool) -> Iterator[Line]:
    """`make table`, in a folder of its own: a line each time that a tenth of the jobs is done."""
    if not importlib.util.find_spec("snakemake"):
        yield {"figure": "table_minutes", "skipped": "snakemake is not installed"}
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "snakemake", *TABLE, "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", folder] + ["--dry-run"] * rehearse
        begun, shown, tail = time.perf_counter(), 0, []
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for text in run.stdout:
            tail = [*tail[-5:], text.strip()]
            done = re.match(r"(\d+) of (\d+) steps \(", text)
            if done and int(done[1]) * 10 // int(done[2]) > shown:
                shown = int(done[1]) * 10 // int(done[2])
                minutes = (time.perf_counter() - begun) / 60
                yield figure("table_minutes so far", minutes, jobs=int(done[1]), of=int(done[2]))
        if run.wait():
            raise SystemExit("snakemake failed: " + " | ".join(tail))
    name = "table_minutes of a dry run" if rehearse else "table_minutes"
    yield figure(name, (time.perf_counter() - begun) / 60)
