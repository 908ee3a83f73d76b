"""Measure the rates that scripts/plan.py counts with on this machine, and write them to benchmarks/rates.json.

The code of each stage runs with one thread on natural speech (--audio, a folder in LibriSpeech layout). Without such a
folder it runs on noise, and the aligner and the tokens are left out. CPU rates are per CPU second, since wall-clock
time says little on a shared machine. If there is a CUDA device, the models are also timed on it, by wall-clock time,
as a second entry. The measurement takes a minute and a half.

    python benchmarks/rates.py
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import soundfile
import torch
from hardware import processor
from manifest import write_manifest
from models import BASE, CLUSTERS, SMALL, TINYLLAMA, Clock, Rates, clustering, encoding, rate, scoring, training

from speechladder.alignment.base import AlignmentError
from speechladder.alignment.pocketsphinx import UtteranceAligner
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.partition import split_manifests
from speechladder.corpora.text import normalise
from speechladder.io.audio import encode_flac, read_audio
from speechladder.io.files import read_json, write_json
from speechladder.io.spans import as_rows
from speechladder.io.tables import ALIGNMENT, UNITS, write_table
from speechladder.lm.model import prepare_torch
from speechladder.lm.output import commit
from speechladder.plan import rates as formulas
from speechladder.rungs.pack import pack_rung
from speechladder.rungs.utterances import select_utterances
from speechladder.settings import LM, PAPER_RUNGS, Corpus, Tokens, as_options
from speechladder.units.assign import assign
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.kmeans.fit import kmeans

ROOT = Path(__file__).resolve().parents[1]


def speech(folder: Path, utterances: int) -> list[tuple[str, str, Path]]:
    """Return (id, text, file) of utterances that are evenly spread over the folder; nothing if it has none."""
    texts = {}
    for file in sorted(folder.rglob("*.trans.txt")):
        for line in file.read_text().splitlines():
            name, _, text = line.partition(" ")
            texts[name] = normalise(text)
    files = [f for f in sorted(folder.rglob("*.flac")) if f.stem in texts]
    return [(f.stem, texts[f.stem], f) for f in files[:: max(1, len(files) // utterances)]][:utterances]


@contextmanager
def noise() -> Iterator[list[tuple[str, str, Path]]]:
    """Yield ten utterances of noise, ten seconds each, without text: (id, text, file)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.flac"
        path.write_bytes(encode_flac(np.random.default_rng(0).normal(0, 0.05, 10 * SAMPLE_RATE).astype(np.float32)))
        yield [(f"noise{n}", "", path) for n in range(10)]


def reading(cuts: list[tuple[str, str, Path]]) -> tuple[Rates, dict[str, np.ndarray]]:
    """Measure decoding FLAC; return also the samples by id."""
    clock = Clock(torch.device("cpu"))
    samples = {name: read_audio(path) for name, _, path in cuts}
    seconds = sum(map(len, samples.values())) / SAMPLE_RATE
    sizes = sum(path.stat().st_size for _, _, path in cuts)
    return {
        "read_audio": rate(seconds / clock.seconds(), "x real time per core", "decoding FLAC"),
        "bytes_audio": rate(3600 * sizes / seconds, "bytes per hour", "FLAC of the corpus"),
    }, samples


def aligning(cuts: list[tuple[str, str, Path]], samples: dict[str, np.ndarray]) -> tuple[Rates, dict[str, tuple]]:
    """Measure PocketSphinx; return also the words and phones that it found, by id."""
    aligner, found = UtteranceAligner(), {}
    clock = Clock(torch.device("cpu"))
    for name, text, _ in cuts:
        try:
            found[name] = aligner.align(samples[name], text)
        except AlignmentError:
            continue
    taken = clock.seconds()
    if not found:
        return {}, {}
    seconds = sum(map(len, samples.values())) / SAMPLE_RATE
    return {"align_pocketsphinx": rate(seconds / taken, "x real time per core", "aligner: pocketsphinx")}, found


def packing(cuts: list[tuple[str, str, Path]], samples: dict[str, np.ndarray], found: dict[str, tuple]) -> Rates:
    """Measure the bytes of artefacts per hour of speech, and tokenization: the mean of the paper's six rungs."""
    names = [name for name, _, _ in cuts if name in found]
    encoder = TransformersEncoder.load("hubert-micro", 3, 60.0, "cpu")
    features = encoder.encode([samples[name] for name in names])
    book = kmeans(np.concatenate(features)[:20_000], CLUSTERS, 5, 1_000_000, 0).centroids
    hours = sum(len(samples[name]) for name in names) / SAMPLE_RATE / 3600
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts = [[folder / name] for name in ("cuts.jsonl.gz", "alignment.parquet", "units.parquet")]
        rows = [_alignment(name, found[name], len(samples[name]) / SAMPLE_RATE) for name in names]
        write_cuts(parts[0][0], _as_cuts(cuts, samples, found))
        write_table(parts[1][0], rows, ALIGNMENT)
        write_table(parts[2][0], [{"id": n, "units": assign(f, book)} for n, f in zip(names, features)], UNITS)
        out = {
            f"bytes_{file.name.partition('.')[0]}": rate(
                file.stat().st_size / hours, "bytes per hour", f"{len(names)} utterances, {CLUSTERS} clusters"
            )
            for (file,) in parts
        }
        clock = Clock(torch.device("cpu"))
        select_utterances(*parts, folder / "utterances.parquet", folder / "rejected.jsonl", 1.0)
        out["select"] = rate(3600 * hours / clock.seconds(), "x real time per core", "select_utterances")
        options = Tokens(text_vocab=256, phone_vocab=256)  # little text fills no larger vocabulary
        clock = Clock(torch.device("cpu"))
        for name in PAPER_RUNGS:
            pack_rung(name, folder / "utterances.parquet", *parts, folder / name, options, CLUSTERS)
        taken = clock.seconds() / len(PAPER_RUNGS)
    out["tokenize"] = rate(3600 * hours / taken, "x real time per core", "one rung, mean of six, BPE included")
    return out


def _alignment(name: str, found: tuple[list, list], seconds: float) -> dict[str, object]:
    words, phones = map(as_rows, found)
    return {"id": name, "words": words, "phones": phones, "seconds": seconds, "aligner": "pocketsphinx"}


def _as_cuts(cuts: list[tuple[str, str, Path]], samples: dict[str, np.ndarray], found: dict[str, tuple]) -> list[Cut]:
    out = []
    for name, text, path in cuts:
        if name in found:
            count, split = len(samples[name]), "train" if len(out) % 9 else "valid"
            speaker = name.split("-")[0]
            seconds = count / SAMPLE_RATE
            fields = (0.0, seconds, speaker, split, text, text.upper(), SAMPLE_RATE, count)
            out.append(Cut(name, name, str(path), *fields))
    return out


def processes() -> Rates:
    """Measure other processes: the start of Python, and the script that speaks the world."""
    out = {}
    for name, code in {
        "start_light": "import speechladder.settings",
        "start_torch": "import torch, transformers; transformers.LlamaForCausalLM, transformers.HubertModel",
    }.items():
        taken = _child([sys.executable, "-c", code])
        out[name] = rate(taken, "CPU seconds per job", code.split(";")[0])
    with tempfile.TemporaryDirectory() as place:
        world = Corpus(hours=0.1, shards=1, max_rejected=1.0)
        words = "--shard 0 --cuts c.jsonl.gz --audio audio --truth t.parquet --rejected r.jsonl " + as_options(world)
        taken = _child(f"{sys.executable} {ROOT}/scripts/build_corpus.py {words}", place)
        flac = list((Path(place) / "audio").glob("*.flac"))
        seconds = sum(soundfile.info(file).duration for file in flac)
        size = sum(file.stat().st_size for file in flac)
    start = float(out["start_light"]["value"])
    out["speak"] = rate(seconds / max(taken - start, 0.1), "x real time per core", "build_corpus of the world")
    out["bytes_world"] = rate(3600 * size / seconds, "bytes per hour", "FLAC of the world")
    return out


def splitting() -> Rates:
    """Measure how fast a manifest of LibriHeavy is split into shards."""
    records = 20_000
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_manifest(folder / "libriheavy_cuts_large.jsonl.gz", records)
        corpus = Corpus(name="libriheavy", manifests=["m"], source="/nowhere", shards=10)
        clock = Clock(torch.device("cpu"))
        split_manifests([folder / "libriheavy_cuts_large.jsonl.gz"], corpus, folder / "out")
        taken = clock.seconds()
        size = sum(file.stat().st_size for file in (folder / "out").iterdir())
    return {
        "manifest": rate(records / taken, "cuts per core-second", f"split_manifests, {records} records"),
        "bytes_manifest": rate(size / records, "bytes per cut", "corpus/manifest"),
    }


def _child(command: list[str] | str, cwd: str | None = None) -> float:
    """Run a command and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, shell=isinstance(command, str), cwd=cwd, check=True, capture_output=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def hardware(device: torch.device) -> str:
    """Return the name of the GPU or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, one thread of {os.cpu_count()}"


def on_cpu(cuts: list[tuple[str, str, Path]]) -> Rates:
    """Measure every rate of a CPU."""
    prepare_torch(1)
    device = torch.device("cpu")
    rates, samples = reading(cuts)
    aligned, found = aligning(cuts, samples)
    rates |= aligned | encoding(samples, device) | clustering()
    rates |= training(device, LM(), "lm_flops", 6) | training(device, SMALL, "lm_flops_30m", 3) | scoring(device)
    if found:
        rates |= packing(cuts, samples, found)
    return rates | splitting() | processes()


def on_gpu(cuts: list[tuple[str, str, Path]]) -> Rates:
    """Measure a GPU: encoder, training at three sizes, scoring, generation."""
    device = torch.device("cuda")
    _, samples = reading(cuts)
    rates = encoding(samples, device) | training(device, SMALL, "lm_flops_small", 20) | scoring(device)
    return rates | training(device, BASE, "lm_flops", 10) | training(device, TINYLLAMA, "lm_flops_1b", 5)


def main() -> None:
    """Measure, and replace the file's entry of the same hardware and device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--audio", type=Path, default=ROOT.parent / "shared/data/librispeech", help="default: %(default)s"
    )
    parser.add_argument("--utterances", type=int, default=60)
    parser.add_argument("--out", type=Path, default=formulas.FILE, help="default: %(default)s")
    args = parser.parse_args()
    kinds: dict[str, Callable[[list], Rates]] = {"cpu": on_cpu}
    if torch.cuda.is_available():
        kinds["cuda"] = on_gpu
    content = read_json(args.out)
    for kind, measure in kinds.items():
        cuts = speech(args.audio, args.utterances)
        with noise() as made:
            rates = measure(cuts or made)
        about = {"device": kind, "hardware": hardware(torch.device(kind)), "date": date.today().isoformat()}
        about |= {"commit": commit(), "torch": torch.__version__, "rates": rates}
        kept = [e for e in content["measured"] if (e["device"], e["hardware"]) != (kind, about["hardware"])]
        content["measured"] = [*kept, about]
        print(json.dumps(about, indent=2))
    write_json(args.out, content)


if __name__ == "__main__":
    main()
