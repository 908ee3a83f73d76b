"""The sections of a configuration on acoustic units: where they come from, and the sweep over them."""

import fnmatch
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from speechladder.io.errors import suggestion
from speechladder.settings.points import Point
from speechladder.settings.section import Fraction, Section

MAX_UNITS = 2**16 - 4  # ids of tokens are uint16, and four are specials (rungs.tokenizers)


class Units(Section):
    """Acoustic units: encoder, layer, k-means."""

    source: Literal["auto", "hubert", "wavlm", "wav2vec2", "s3prl", "external"] = Field(
        "auto",
        description="Where units come from. auto: encoder is a HuBERT, WavLM or wav2vec 2.0, whichever its config.json says; "
        "hubert, wavlm, wav2vec2: it must be this one; s3prl: an upstream, in the environment envs/s3prl.yaml; external: "
        "units that your own tokenizer made, from path.",
    )
    encoder: str = Field(
        "hubert-micro",
        description="hubert-micro (shipped), a directory, or a hub id of any HuBERT, WavLM or wav2vec 2.0 that transformers "
        "loads; with source: s3prl the name of an upstream, or NAME:CHECKPOINT.",
    )
    path: str = Field(
        "",
        description="source: external: a file of your tokenizer's units, or a folder of such files: Parquet or JSON lines "
        "(docs/your-tokenizer.md).",
    )
    items_path: str = Field(
        "", description="source: external: the same for benchmark items and prompts; empty: they are in path too."
    )
    rate: float = Field(
        50.0,
        ge=0,
        le=1000,
        description="source: external: units per second of speech, of the frames that durations count where there are any; 0: no "
        "fixed rate and no durations.",
    )
    repeat: bool = Field(
        False,
        description="source: external: write each unit as often as its duration says; else units are taken as they are written.",
    )
    s3prl_python: str | None = Field(
        None,
        description="source: s3prl: the python of an environment with s3prl; null: that of `make s3prl` (.venv-s3prl), or "
        "with --sdm conda the one that Snakemake makes from envs/s3prl.yaml.",
    )
    layer: int = Field(
        3,
        ge=0,
        description="Transformer layer whose output is clustered, 1 is the first; source: s3prl: index of the hidden state, 0 "
        "is before the first layer.",
    )
    clusters: int = Field(
        100,
        ge=2,
        le=MAX_UNITS,
        description="k-means clusters, the vocabulary of the speech rung; source: external: that of your tokenizer.",
    )
    sample_frames: int = Field(
        100_000,
        ge=100,
        description="Frames that k-means is trained on, drawn over the train split of all shards, seeded.",
    )
    iterations: int = Field(20, ge=1, description="Lloyd iterations.")
    max_points_per_centroid: int = Field(
        1_000_000,
        ge=1,
        description="faiss subsamples beyond this number of points per centroid; the default never does.",
    )
    batch_seconds: float = Field(
        60.0,
        gt=0,
        description="Speech per encoder batch, padding included, in seconds; on a CPU at most 16. Several hundred fill a large GPU.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Of the encoder; normalisation and assignment are in fp32. auto: fp32 on a CPU, bf16 on a GPU.",
    )
    chunk_seconds: float = Field(
        60.0,
        ge=10,
        description="Longer utterances are encoded in overlapping pieces of this length, in seconds.",
    )
    workers: int | None = Field(
        None,
        ge=0,
        description="Processes that decode audio ahead of the encoder; 0 decodes in the encoder's own. null: 0 on a CPU, on a "
        "GPU one for each core but its own, up to 8.",
    )
    compile: bool = Field(
        False,
        description="Put the transformer through torch.compile: half a minute at the start, which only a GPU repays.",
    )
    sample_by_speaker: bool = Field(
        False, description="Draw the same number of frames from every speaker, as far as each has them."
    )
    sample_silence: Fraction = Field(
        1.0,
        description="Largest share of the sample that frames aligned as SIL may have; 1: no limit.",
    )
    sample_gigabytes: float = Field(
        8.0, gt=0, description="A sample larger than this is written to disk as it is drawn, and never held in memory."
    )
    kmeans: Literal["auto", "faiss", "faiss-gpu", "torch"] = Field(
        "auto",
        description="faiss: on the CPU; faiss-gpu: needs a GPU and faiss-gpu in place of faiss-cpu; torch: plain Lloyd on any "
        "device; auto: faiss-gpu where it is installed and there is a GPU, else faiss.",
    )
    kmeans_init: Literal["random", "k-means++"] = Field(
        "random", description="First centroids: frames drawn at random, or k-means++ on a part of the sample."
    )
    kmeans_restarts: int = Field(
        1, ge=1, description="Starts, each with its own first centroids; the lowest objective is kept."
    )
    kmeans_precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="torch: bf16 ranks the centroids of a frame in bfloat16 and decides between the nearest in float32.",
    )
    normalisation: Literal["none", "utterance", "speaker"] = Field(
        "none",
        description="Mean and variance of each dimension are taken out of the features before they are clustered and before they "
        "are assigned: not at all, per utterance (an item is one), or per speaker (or voice).",
    )
    speaker_seconds: float = Field(
        60.0,
        gt=0,
        description="normalisation: speaker: speech of each speaker that its statistics come from at most, in seconds.",
    )
    abx_minutes: float = Field(
        8.0,
        ge=0,
        description="Speech of eight speakers on which ABX is measured, of features and of units, in minutes; 0 leaves it out.",
    )

    @field_validator("source", mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        if value == "given":
            raise ValueError("given is now called external; write source: external")
        return value

    @model_validator(mode="after")
    def _enough_frames(self) -> "Units":
        if self.source != "external" and self.sample_frames < self.clusters:
            raise ValueError(
                f"sample_frames: {self.sample_frames} frames cannot be {self.clusters} clusters; raise it or lower clusters"
            )
        return self

    @model_validator(mode="after")
    def _read_where_set(self) -> "Units":
        for name, unset in {"path": "", "items_path": "", "rate": 50.0, "repeat": False}.items():
            if getattr(self, name) != unset and self.source != "external":
                raise ValueError(f"{name}: would not be read, since source is {self.source}; write source: external")
        if self.source == "s3prl":
            if self.precision not in ("auto", "fp32"):
                raise ValueError(
                    f"precision: {self.precision} would not be read, since s3prl computes in fp32; write auto"
                )
            if self.compile:
                raise ValueError("compile: would not be read, since source is s3prl; write false")
        elif self.layer == 0:
            raise ValueError("layer: 0 is a hidden state of source: s3prl; the first transformer layer is 1")
        if self.s3prl_python and self.source != "s3prl":
            raise ValueError(f"s3prl_python: would not be read, since source is {self.source}; write source: s3prl")
        if self.repeat and not self.rate:
            raise ValueError("repeat: durations count frames, so units need a rate; set units.rate")
        if self.source == "external" and not self.path:
            raise ValueError("path: source: external needs the file or folder of your units")
        if self.kmeans_precision == "bf16" and self.kmeans != "torch":
            raise ValueError("kmeans_precision: bf16 is for kmeans: torch; faiss computes in float32")
        return self


class Sweep(Section):
    """Which units, and so which factor C: the points of results/units_sweep.csv, a target of its own."""

    layers: list[Annotated[int, Field(ge=1)]] = Field([2, 3], min_length=1, description="units.layer of the points.")
    clusters: list[Annotated[int, Field(ge=2, le=MAX_UNITS)]] = Field(
        [100, 400], min_length=1, description="units.clusters of the points."
    )
    normalisations: list[Literal["none", "utterance", "speaker"]] = Field(
        ["none", "speaker"], min_length=1, description="units.normalisation of the points."
    )
    dedup: list[bool] = Field(
        [False, True], min_length=1, description="Whether each run of one unit is written once (speech-hubert-dedup)."
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0, 1], min_length=1, description="Seeds of k-means.")
    minutes: float = Field(20.0, gt=0, description="Speech that the quality of a point is measured on, in minutes.")
    train: list[str] = Field(
        ["axes"],
        description="Points on which a language model is trained and scored. axes: the run's own units, and every point that "
        "differs from them in one choice; else names (layer3-k100-none-seed0-dedup), * and ? standing for anything; [] is none.",
    )

    @field_validator("layers", "clusters", "normalisations", "dedup", "seeds")
    @classmethod
    def _distinct(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) != len(values):
            raise ValueError("a value is named twice")
        return values

    @model_validator(mode="after")
    def _trains_what_there_is(self) -> "Sweep":
        names = [point.name for point in self.points()]
        for pattern in self.train:
            if pattern != "axes" and not fnmatch.filter(names, pattern):
                hint = suggestion(pattern, ["axes", *names], 0)
                raise ValueError(f"train: no point is named {pattern!r}; {hint}There are {len(names)}")
        return self

    def points(self) -> list[Point]:
        """Every point, in the order of the table."""
        choices = product(self.layers, self.clusters, self.normalisations, self.seeds, self.dedup)
        return [Point(*choice) for choice in choices]

    def trained(self, own: Point) -> list[Point]:
        """Those that `train` names; `own` is the run's, or its nearest: the first of a list that lacks its value."""
        lists = (self.layers, self.clusters, self.normalisations, self.seeds, self.dedup)
        centre = [value if value in values else values[0] for value, values in zip(own, lists, strict=True)]

        def wanted(point: Point) -> bool:
            axes = "axes" in self.train and sum(a != b for a, b in zip(point, centre, strict=True)) <= 1
            return axes or any(fnmatch.fnmatchcase(point.name, pattern) for pattern in self.train)

        return [point for point in self.points() if wanted(point)]
