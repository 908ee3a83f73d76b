"""The settings of acoustic units: encoder, k-means sample, codebook, or the user's own units."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from speechladder.settings.section import Fraction, Section

SHIPPED = "hubert-micro"  # the encoder that the package ships
SPECTRAL = ("mfcc", "logmel")  # values of source that are no model, with neither an encoder nor layers
PHONE_LABELS = 40  # the phones of ARPAbet without stress, and SIL (units.labels names them)
MAX_UNITS = 2**16 - 4  # ids of tokens are uint16, and four are specials (rungs.tokenizers)


def encoder_folder(name: str) -> Path:
    """The folder of the shipped encoder, or of an encoder by its path."""
    return Path(__file__).resolve().parents[1] / "assets" / SHIPPED if name == SHIPPED else Path(name)


class Units(Section):
    """Acoustic units: encoder, layer and k-means, or the units of your own tokenizer."""

    source: Literal["auto", "hubert", "wavlm", "wav2vec2", "mfcc", "logmel", "s3prl", "external"] = Field(
        "auto",
        description="Where units come from. auto: from a HuBERT, WavLM or wav2vec 2.0, as config.json of the encoder says. hubert, "
        "wavlm, wav2vec2: the encoder must be of this kind. mfcc, logmel: from MFCC with deltas or from log mel energies, without a "
        "model; encoder and layer are then not read. s3prl: from an upstream, in the environment envs/s3prl.yaml. "
        "external: your own tokenizer made the units in path.",
    )
    encoder: str = Field(
        SHIPPED,
        description="hubert-micro (shipped), or a folder or hub id of any HuBERT, WavLM or wav2vec 2.0 that transformers loads. "
        "source: s3prl: the name of an upstream, or NAME:CHECKPOINT.",
    )
    path: str = Field(
        "",
        description="source: external: a file of your tokenizer's units or a folder of such files: Parquet, JSON lines, or the "
        "text of textlesslib, GSLM or fairseq (docs/your-tokenizer.md).",
    )
    items_path: str = Field(
        "",
        description="source: external: the same for benchmark items and prompts. Empty: path holds them too.",
    )
    rate: float = Field(
        50.0,
        ge=0,
        le=1000,
        description="source: external: units per second of speech. If the units have durations: frames per second, which the "
        "durations count. 0: neither a fixed rate nor durations.",
    )
    repeat: bool = Field(
        False,
        description="source: external: repeat each unit as often as its duration says. false takes units as they are written.",
    )
    num_codebooks: int = Field(
        1,
        ge=1,
        le=64,
        description="source: external: codebooks of your tokenizer. With several, a row's units are a list of each codebook, or a "
        "list of ids for each frame. clusters is the size of one codebook, and rate counts frames.",
    )
    codebook_order: Literal["first", "flat", "delay"] | None = Field(
        None,
        description="source: external: how several codebooks become one stream. first: the first codebook alone. flat: all ids "
        "of a frame, then those of the next. delay: the same, with codebook k (from 0) k frames later. In flat and delay each "
        "codebook has ids of its own, so vocabulary and tokens per second are codebooks times as many.",
    )
    s3prl_python: str | None = Field(
        None,
        description="source: s3prl: the python of an environment with s3prl. null: the environment of `make s3prl` (.venv-s3prl), "
        "or with --sdm conda the environment that Snakemake makes from envs/s3prl.yaml.",
    )
    layer: int = Field(
        3,
        ge=0,
        description="Transformer layer whose output is clustered; 1 is the first layer. source: s3prl: index of the hidden state; "
        "0 is the state before the first layer.",
    )
    clusters: int = Field(
        100,
        ge=2,
        le=MAX_UNITS,
        description="Number of k-means clusters, which is the vocabulary of the speech rung. source: external: the vocabulary of "
        "your tokenizer. labels: phones: not read; there are 40 units.",
    )
    sample_frames: int = Field(
        100_000,
        ge=100,
        description="Number of frames that k-means is trained on. They are drawn by seed from the train split of all shards. "
        "segments: number of segments.",
    )
    iterations: int = Field(20, ge=1, description="Number of Lloyd iterations.")
    max_points_per_centroid: int = Field(
        1_000_000,
        ge=1,
        description="faiss takes a part of the sample if it has more points per centroid than this. The default keeps all "
        "points.",
    )
    batch_seconds: float = Field(
        60.0,
        gt=0,
        description="Speech in a batch of the encoder, padding included, in seconds. A CPU takes at most 16. Several hundred fill "
        "a large GPU.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Precision of the encoder. Normalisation and assignment are always in fp32. auto: fp32 on a CPU, bf16 on a "
        "GPU.",
    )
    chunk_seconds: float = Field(
        60.0,
        ge=10,
        description="Longer utterances are encoded in overlapping chunks of this length, in seconds.",
    )
    workers: int | None = Field(
        None,
        ge=0,
        description="Processes that decode audio ahead of the encoder. 0: the encoder's process decodes it. null: 0 on a CPU; on a "
        "GPU one per further core, at most 8.",
    )
    compile: bool = Field(
        False,
        description="Compile the transformer (torch.compile). This takes half a minute at the start, which is worth it on a GPU "
        "only.",
    )
    sample_by_speaker: bool = Field(
        False,
        description="Draw the same number of frames from every speaker; a speaker with fewer frames gives all of them.",
    )
    sample_silence: Fraction = Field(
        1.0,
        description="The largest share of the sample that frames aligned as SIL may have. 1 sets no limit. Segments have no "
        "limit (segments).",
    )
    sample_gigabytes: float = Field(
        8.0,
        gt=0,
        description="A sample larger than this is written to disk while it is drawn, and is never held in memory.",
    )
    kmeans: Literal["auto", "faiss", "faiss-gpu", "torch"] = Field(
        "auto",
        description="faiss: faiss on the CPU. faiss-gpu: needs a GPU, and the package faiss-gpu instead of faiss-cpu. torch: Lloyd's "
        "algorithm on any device. auto: faiss-gpu if it is installed and there is a GPU, otherwise faiss.",
    )
    kmeans_init: Literal["random", "k-means++"] = Field(
        "random", description="First centroids: frames drawn at random, or by k-means++ on a part of the sample."
    )
    kmeans_restarts: int = Field(
        1,
        ge=1,
        description="Number of starts, each with its own first centroids. The start with the lowest objective is kept.",
    )
    kmeans_precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="kmeans: torch: bf16 ranks the centroids of a frame in bfloat16, and decides between the nearest ones in "
        "float32.",
    )
    normalisation: Literal["none", "utterance", "speaker"] = Field(
        "none",
        description="Whether each dimension of the features is normalised to zero mean and unit variance, before clustering and "
        "before assignment: not at all, per utterance or item, or per speaker or voice.",
    )
    segments: Literal["frame", "auto", "phone", "syllable", "word"] = Field(
        "frame",
        description="What a unit is made of. frame: each 50 Hz frame is a unit. phone, syllable, word: the features are averaged "
        "over each segment of the alignment, and a segment is a unit; a pause is a segment. auto: the same over segments that are "
        "found in the features, without labels.",
    )
    segment_penalty: float = Field(
        3.0,
        gt=0,
        description="segments: auto: the cost of a segment, as a multiple of the mean squared distance of the utterance's "
        "frames to their mean. A higher cost gives fewer segments.",
    )
    labels: Literal["none", "phones"] = Field(
        "none",
        description="Supervision of the units. none: k-means, which sees no label. phones: a linear classifier of phones on the "
        "encoder's features, trained on label_minutes of the aligned train split; its label of each frame is the unit.",
    )
    label_minutes: float = Field(
        10.0, gt=0, description="labels: phones: speech whose labels the classifier is trained on, in minutes."
    )
    item_context: float = Field(
        0.0,
        ge=0,
        le=30,
        description="Other items of the same voice before an item of a benchmark, and after it, while it is encoded, in seconds. "
        "Only the item's own frames become units. 0 encodes each item alone.",
    )
    speaker_seconds: float = Field(
        60.0,
        gt=0,
        description="normalisation: speaker: the most speech that the statistics of a speaker are taken from, in seconds.",
    )
    abx_minutes: float = Field(
        8.0,
        ge=0,
        description="Speech of eight speakers on which the ABX error of features and units is measured, in minutes. 0 leaves ABX "
        "out.",
    )

    @property
    def streams(self) -> int:
        """How many units of the stream there are for each frame: one of each codebook that is in it."""
        return self.num_codebooks if self.codebook_order in ("flat", "delay") else 1

    @property
    def vocabulary(self) -> int:
        """The number of different units: the clusters of all codebooks, or the labels of supervised units."""
        return PHONE_LABELS if self.labels == "phones" else self.clusters * self.streams

    @model_validator(mode="before")
    @classmethod
    def _gone(cls, values: Any) -> Any:
        if isinstance(values, dict) and "sampling" in values:
            raise ValueError("sampling is gone; leave it out: sample_by_speaker and sample_silence work without it")
        return values

    @field_validator("source", mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        if value == "given":
            raise ValueError("given is now called external; write source: external")
        return value

    @model_validator(mode="after")
    def _enough_frames(self) -> "Units":
        if self.source != "external" and self.labels == "none" and self.sample_frames < self.clusters:
            raise ValueError(
                f"sample_frames: {self.sample_frames} frames cannot be {self.clusters} clusters; raise it or lower clusters"
            )
        return self

    @model_validator(mode="after")
    def _one_stream(self) -> "Units":
        if self.num_codebooks > 1 and self.codebook_order is None:
            raise ValueError(
                f"num_codebooks: a model reads one stream, and {self.num_codebooks} codebooks are several; write codebook_order: "
                "first, flat or delay"
            )
        if self.num_codebooks == 1 and self.codebook_order is not None:
            raise ValueError("codebook_order: would not be read, since num_codebooks is 1; leave it out")
        if self.vocabulary > MAX_UNITS:
            raise ValueError(
                f"clusters: {self.num_codebooks} codebooks of {self.clusters} are {self.vocabulary:,} units, and {MAX_UNITS:,} "
                "are possible; write fewer codebooks, or codebook_order: first"
            )
        return self

    @model_validator(mode="after")
    def _read_where_set(self) -> "Units":
        for name in ("path", "items_path", "rate", "repeat", "num_codebooks", "codebook_order"):
            if getattr(self, name) != type(self).model_fields[name].default and self.source != "external":
                raise ValueError(f"{name}: would not be read, since source is {self.source}; write source: external")
        if self.label_minutes != type(self).model_fields["label_minutes"].default and self.labels == "none":
            raise ValueError("label_minutes: would not be read, since labels is none; write labels: phones")
        for name, unset in {"segments": "frame", "labels": "none"}.items():
            if getattr(self, name) != unset and self.source == "external":
                raise ValueError(f"{name}: would not be read, since source is external; leave {name} out")
        if self.item_context and (self.source == "external" or self.segments != "frame"):
            raise ValueError("item_context: is for the encoder's units of frames; leave item_context out")
        if self.labels != "none" and self.segments != "frame":
            raise ValueError(f"labels: {self.labels} is of frames; write segments: frame, or labels: none")
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
