"""Pre-training of hubert-micro: the recipe of HuBERT (Hsu et al. 2021, arXiv 2106.07447) at a size for one CPU core.

Iteration 1 predicts k-means clusters of MFCC at masked frames. Each later iteration predicts clusters of a layer of the
previous model. Three things differ from the paper because of the small budget. The front end has few convolutions; it
starts as a mel-spaced Gabor filter bank and is warmed up by regression on MFCC. There is also a loss on unmasked
frames, with a smaller weight. Crops are warped and mixed with noise, while their targets come from the original
recording.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import (
    Augmentation,
    Sampler,
    Utterance,
    natural_utterances,
    read_sentences,
    synthesise,
    synthetic_utterances,
)
from model import Architecture, build_model, export_model, fix_norm, load_model, warped_features
from torch import nn
from torch.nn import functional

from speechladder.constants import SAMPLE_RATE
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.io.files import atomic, write_json
from speechladder.io.progress import progress
from speechladder.settings.units import SHIPPED, encoder_folder
from speechladder.units.mfcc import mfcc

LOG_EVERY = 100  # steps that are averaged in a line of the log
CHECKPOINT_EVERY = 250  # steps; does not affect the result
NORM_CROPS = 64  # whose statistics are those of the fixed norm
MOST_WORKERS = 16  # processes that draw batches ahead of a GPU


@dataclass(frozen=True)
class Iteration:
    """One run of masked prediction. `layer`: the layer of the previous model that gives the targets; 0 is MFCC."""

    steps: int
    clusters: tuple[int, ...] = (100,)  # one head per codebook
    layer: int = 0
    batch: int = 12
    crop_seconds: float = 4.0
    crop_shortest: float = 0.0  # above 0: crops last from this to crop_seconds (data.Sampler)
    lr: float = 1.5e-3
    warmup: int = 300
    weight_decay: float = 0.01
    clip: float = 1.0
    mask_start: float = 0.07  # probability that a frame starts a masked span
    mask_span: int = 10
    unmasked_weight: float = 0.5  # weight of the loss on frames that are not masked
    sample_frames: int = 100_000  # frames that k-means is trained on
    warps: tuple[float, ...] = (1.0,)  # speeds at which the utterance is encoded; the features are averaged
    apart: bool = False  # natural and synthetic speech have separate codebooks and labels
    cosine: int = 0  # steps of the learning rate's cosine, if it is longer than the run
    continued: bool = False  # start from the previous model, not from new weights


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, apart from the audio.

    `start`: the weights to start from, hubert-micro or a folder (relative to the recipe). They also give the first
    iteration's targets if its `layer` is not 0. Then `architecture` and the front end's warm-up are not read.
    `headroom`: see `model.fix_norm`, which is applied to the weights at the start; 0 leaves them as they are.
    """

    seed: int = 0
    start: str = ""
    headroom: float = 0.0
    architecture: Architecture = field(default_factory=Architecture)
    frontend_steps: int = 600
    frontend_lr: float = 3e-3
    frontend_crop_seconds: float = 4.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    iterations: tuple[Iteration, ...] = field(default_factory=lambda: (Iteration(steps=4000),))


def read_recipe(path: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe of a YAML file, and its `data` section as a dict. Raise TypeError naming an unknown key."""
    import yaml

    raw = yaml.safe_load(Path(path).read_text())
    data = raw.pop("data", {})
    if raw.get("start"):
        raw["start"] = str(_start_folder(path, raw["start"]))

    def tupled(row: dict[str, Any]) -> dict[str, Any]:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}

    raw["architecture"] = Architecture(**tupled(raw.get("architecture", {})))
    raw["augmentation"] = Augmentation(**tupled(raw.get("augmentation", {})))
    raw["iterations"] = tuple(Iteration(**tupled(i)) for i in raw["iterations"])
    return Recipe(**raw), data


def _start_folder(recipe: Path, start: str) -> Path:
    """The folder that `start` names in a recipe. Raise UserError if it has no model."""
    folder = encoder_folder(SHIPPED) if start == SHIPPED else Path(recipe).parent / start
    if not (folder / "config.json").is_file():
        raise UserError(f"{recipe}: start: {folder} has no config.json; write {SHIPPED} or the folder of a HubertModel")
    return folder


def draw_masks(rng: np.random.Generator, batch: int, frames: int, start: float, span: int) -> np.ndarray:
    """(batch, frames) bool masks. A frame starts a span with probability `start`; every row has at least one span."""
    begins = rng.random((batch, frames)) < start
    begins[np.arange(batch), rng.integers(0, frames, batch)] = True
    masked = np.zeros((batch, frames), bool)
    for shift in range(span):
        masked[:, shift:] |= begins[:, : frames - shift]
    return masked


def warm_up(model: nn.Module, sampler: Sampler, steps: int, lr: float, batch: int, log: "Log") -> float:
    """Train the front end to predict MFCC + deltas from projected features. Return the share of variance explained."""
    device = model.device
    head = nn.Linear(model.config.hidden_size, 39).to(device)
    parameters = [*model.feature_extractor.parameters(), *model.feature_projection.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=lr, fused=True)
    explained = 0.0
    with progress("front end", steps, "steps/s") as meter:
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = lr * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
            x, _ = sampler.batch(step, batch)
            wanted = torch.from_numpy(np.stack([mfcc(row) for row in x]))
            with torch.autocast(device.type, torch.bfloat16):
                hidden = model.feature_projection(
                    model.feature_extractor(torch.from_numpy(x).to(device)).transpose(1, 2)
                )
                guess = head(hidden)
            loss = functional.mse_loss(guess.float(), wanted.to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            explained = 0.98 * explained + 0.02 * (1 - loss.item()) if step else 1 - loss.item()
            if step % 50 == 49:
                log.write(stage="front end", step=step + 1, explained=round(explained, 4))
            meter.advance(1, f"explained {explained:.3f}")
    return explained


class Log:
    """A log of JSON lines. A resumed run first removes the lines that it writes again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **row: Any) -> None:
        """Append one line."""
        with self.path.open("a") as handle:
            handle.write(json.dumps(row) + "\n")

    def rewind(self, stage: str, step: int) -> None:
        """Remove the lines of `stage` after `step`, which a resumed run writes again."""
        if self.path.is_file():
            rows = [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]
            kept = [r for r in rows if r.get("stage") != stage or r.get("step", 0) <= step]
            with atomic(self.path) as temporary:
                temporary.write_text("".join(json.dumps(r) + "\n" for r in kept))


def train_iteration(
    model: nn.Module,
    sampler: Sampler,
    iteration: Iteration,
    seed: int,
    folder: Path,
    name: str,
) -> None:
    """Train `model` in place by masked prediction of the sampler's targets.

    Resume from `folder/checkpoint.pt` if there is one. Write the trained model to `folder/model` (a transformers
    folder).
    """
    it, log, device = iteration, Log(folder / "log.jsonl"), model.device
    torch.manual_seed(seed)
    books = len({u.domain for u in sampler.pool}) if it.apart else 1
    heads = nn.ModuleList(nn.Linear(model.config.hidden_size, books * k) for k in it.clusters).to(device)
    # the first convolution is a filter bank that MFCC has tuned, and its gradient is expensive
    model.feature_extractor.conv_layers[0].requires_grad_(False)
    model.feature_extractor._requires_grad = False
    parameters = [p for p in [*model.parameters(), *heads.parameters()] if p.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": it.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=it.lr,
        betas=(0.9, 0.98),
        fused=True,
    )
    first, saved = 0, folder / "checkpoint.pt"
    if saved.is_file():
        state = torch.load(saved, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
        log.rewind(name, first)
    model.train()
    drawn = batches(sampler, it, seed, first, device, workers_for(device))
    begun, means = time.monotonic(), {}
    with progress(name, it.steps - first, "frames/s", it.batch * sampler.frames) as meter:
        for step, batch in zip(range(first, it.steps), drawn, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = it.lr * learning_rate_share(step, it.cosine or it.steps, it.warmup)
            losses = _step(model, heads, batch, it.unmasked_weight)
            optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norm = nn.utils.clip_grad_norm_(parameters, it.clip)
            optimiser.step()
            for key, value in {**losses, "norm": norm}.items():
                means.setdefault(key, []).append(value.item())
            if (step + 1) % LOG_EVERY == 0 or step + 1 == it.steps:
                row = {key: round(float(np.mean(values)), 4) for key, values in means.items()}
                log.write(stage=name, step=step + 1, **row, seconds=round(time.monotonic() - begun))
                means = {}
            if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < it.steps:
                state = {"model": model.state_dict(), "heads": heads.state_dict(), "step": step + 1}
                with atomic(saved) as temporary:
                    torch.save({**state, "optimiser": optimiser.state_dict()}, temporary)
            meter.advance(1, f"loss {losses['loss'].item():.3f}")
    export_model(model, folder / "model")
    saved.unlink(missing_ok=True)


def learning_rate_share(step: int, steps: int, warmup: int) -> float:
    """Learning rate as a share of its peak: linear warm-up, then a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # waveforms, targets, masks: see Batches


class Batches(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The batch of each step: (crops, samples) float32, (crops, codebooks, frames) int64, (crops, frames) bool."""

    def __init__(self, sampler: Sampler, iteration: Iteration, seed: int) -> None:
        self.sampler, self.iteration, self.seed = sampler, iteration, seed

    def __getitem__(self, step: int) -> Batch:
        """The batch of `step`, which depends on nothing else."""
        it = self.iteration
        x, labels = self.sampler.batch(step, it.batch)
        rng = np.random.default_rng((self.seed, step, 1))
        masked = draw_masks(rng, len(x), labels.shape[-1], it.mask_start, it.mask_span)
        return torch.from_numpy(x), torch.from_numpy(labels), torch.from_numpy(masked)


def workers_for(device: torch.device) -> int:
    """How many processes draw batches ahead: none on a CPU, which they would take the time of."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)) - 1) if device.type == "cuda" else 0


def batches(
    sampler: Sampler, it: Iteration, seed: int, first: int, device: torch.device, workers: int
) -> Iterator[Batch]:
    """The batches of the steps from `first` on `device`. `workers`: processes that draw them ahead."""
    loader = torch.utils.data.DataLoader(
        Batches(sampler, it, seed),
        batch_size=None,
        sampler=range(first, it.steps),
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    for batch in loader:
        yield tuple(part.to(device, non_blocking=True) for part in batch)


def _step(model: nn.Module, heads: nn.ModuleList, batch: Batch, unmasked_weight: float) -> dict[str, torch.Tensor]:
    """Losses in nats per frame, averaged over codebooks, and the first codebook's accuracy at masked frames."""
    x, wanted, masked = batch
    with torch.autocast(x.device.type, torch.bfloat16):
        hidden = model(x, mask_time_indices=masked).last_hidden_state
        logits = [head(hidden).transpose(1, 2) for head in heads]
    each = torch.stack(
        [functional.cross_entropy(g.float(), wanted[:, c], reduction="none") for c, g in enumerate(logits)]
    ).mean(0)
    under, above = each[masked].mean(), each[~masked].mean()
    right = logits[0].argmax(1) == wanted[:, 0]
    return {
        "loss": under + unmasked_weight * above,
        "masked": under,
        "unmasked": above,
        "accuracy": right[masked].float().mean(),
    }


def cluster_targets(
    utterances: list[Utterance],
    features: Callable[[np.ndarray], np.ndarray],
    clusters: tuple[int, ...],
    sample_frames: int,
    seed: int,
    apart: bool = False,
) -> dict[str, np.ndarray]:
    """k-means targets {id: (len(clusters), frames) uint16}.

    `features` maps (n,) float32 samples to (frames, dim). A frame is in the k-means sample with the probability with
    which training draws it, so that the codebook fits the training data. `apart`: each domain has its own codebooks,
    and the labels of the second domain come after those of the first.
    """
    import faiss

    rng = np.random.default_rng((seed, 2))
    groups = {u.id: u.domain if apart else "" for u in utterances}
    found: dict[str, np.ndarray] = {}
    sample: dict[str, list[np.ndarray]] = {}
    total = sum(u.weight * len(u.samples) for u in utterances)
    with progress("targets", sum(len(u.samples) for u in utterances) / SAMPLE_RATE, "x real time") as meter:
        for u in utterances:
            found[u.id] = features(u.wave()).astype(np.float16)
            wanted = rng.poisson(sample_frames * u.weight * len(u.samples) / total)
            sample.setdefault(groups[u.id], []).append(found[u.id][rng.integers(0, len(found[u.id]), wanted)])
            meter.advance(len(u.samples) / SAMPLE_RATE)
    books: dict[str, list[tuple[int, Any]]] = {}
    for number, group in enumerate(sorted(sample)):
        points = np.concatenate(sample[group]).astype(np.float32)
        for k in clusters:
            kmeans = faiss.Kmeans(points.shape[1], k, niter=20, seed=seed, max_points_per_centroid=10**9)
            kmeans.train(points)
            books.setdefault(group, []).append((number * k, kmeans.index))
    return {
        i: np.stack([first + book.search(f.astype(np.float32), 1)[1][:, 0] for first, book in books[groups[i]]]).astype(
            np.uint16
        )
        for i, f in found.items()
    }


def pretrain(recipe: Recipe, utterances: list[Utterance], folder: Path, device: str = "cpu") -> Path:
    """Run or resume the whole recipe in `folder`. Return the transformers folder of the last iteration.

    A run that was killed resumes from its last checkpoint, with the same weights in the end (same number of threads,
    same device).
    """
    from safetensors.numpy import load_file, save_file

    write_json(folder / "recipe.json", asdict(recipe))
    log = Log(folder / "log.jsonl")
    before = Path(recipe.start) if recipe.start else None
    if before is None and recipe.iterations[0].layer:
        raise UserError(f"iterations: the first has layer: {recipe.iterations[0].layer} of no model; write 0, or start")
    for number, it in enumerate(recipe.iterations, 1):
        work = folder / f"iteration{number}"
        if not (work / "model").is_dir():
            seed = recipe.seed + 1000 * number
            targets = work / "targets.safetensors"
            if not targets.is_file():
                if it.layer:
                    teacher = load_model(before).eval().to(device)
                    teacher.encoder.layers = teacher.encoder.layers[: it.layer]
                    teacher.set_attn_implementation("sdpa")  # eager is faster only with a backward pass
                    features = partial(warped_features, teacher, layer=it.layer, warps=it.warps)
                else:
                    features = mfcc
                found = cluster_targets(utterances, features, it.clusters, it.sample_frames, seed, it.apart)
                work.mkdir(parents=True, exist_ok=True)
                with atomic(targets) as temporary:
                    save_file({k: np.ascontiguousarray(v) for k, v in found.items()}, temporary)
            sampler = Sampler(
                utterances, load_file(targets), it.crop_seconds, recipe.augmentation, seed, it.crop_shortest
            )
            continued = it.continued and number > 1
            model = load_model(before) if continued else _start_model(recipe, utterances, folder, log, device)
            train_iteration(model.to(device), sampler, it, seed, work, f"iteration {number}")
        before = work / "model"
    return before


def _start_model(recipe: Recipe, utterances: list[Utterance], folder: Path, log: Log, device: str) -> nn.Module:
    """The weights that every iteration starts from unless it is continued, kept in `folder/start`.

    They are those of `recipe.start`, or new ones with a warmed-up front end.
    """
    saved = folder / "start"
    if not saved.is_dir():
        seconds, seed = recipe.frontend_crop_seconds, recipe.seed
        if recipe.start:
            model = load_model(Path(recipe.start))
        else:
            model = build_model(recipe.architecture, seed).to(device)
            quiet = replace(recipe.augmentation, noise_share=0.2)
            if recipe.frontend_steps:
                sampler = Sampler(utterances, None, seconds, quiet, seed)
                warm_up(model, sampler, recipe.frontend_steps, recipe.frontend_lr, 8, log)
        if recipe.headroom:
            crops, _ = Sampler(utterances, None, seconds, recipe.augmentation, seed).batch(0, NORM_CROPS)
            model = fix_norm(model.cpu(), list(crops), recipe.headroom)
        export_model(model, saved)
    return load_model(saved)


def run_recipe(recipe: Path, data: Path, work: Path, out: Path | None = None, device: str | None = None) -> None:
    """Pre-train hubert-micro by masked prediction on natural and synthetic speech. A run that was killed resumes.

    The shipped weights come from --recipe src/speechladder/assets/hubert-micro/recipe.yaml --data DATA. It
    trains on a GPU if there is one, in bf16 as on a CPU; the weights of the two differ by rounding.

    Args:
        recipe: recipe.yaml: data, sizes, iterations, seed
        data: folder to which the data paths of the recipe are relative
        work: folder for synthetic speech, targets, checkpoints and models
        out: folder to which the model of the last iteration is also written
        device: cpu, cuda or cuda:N; by default the first GPU that is free, else the CPU
    """
    import faiss

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    read, sources = read_recipe(recipe)
    share = float(sources["natural_share"])  # of what is drawn
    utterances = natural_utterances([data / folder for folder in sources["natural"]], share)
    if sources["synthetic_hours"]:
        spoken = work / "synthetic"
        if not (spoken / "index.json").is_file():
            books = sorted(data.glob(sources["books"]))
            hours, lists = float(sources["synthetic_hours"]), float(sources.get("word_lists", 0))
            synthesise(read_sentences(books, read.seed), hours, read.seed, spoken, lists)
        utterances += synthetic_utterances(spoken, 1 - share)
    model = pretrain(read, utterances, work, device or acquire_gpu())
    if out:
        export_model(load_model(model), out)
