"""The settings of acoustic units: encoder, k-means sample, codebook, or the user's own units."""

from typing import Literal

from pydantic import Field, model_validator

from speechladder.settings.section import Fraction, Section

MAX_UNITS = 2**16 - 4  # ids of tokens are uint16, and four are specials (rungs.tokenizers)


class Units(Section):
    """Acoustic units: encoder, layer, k-means."""

    source: Literal["auto", "hubert", "wavlm", "wav2vec2", "s3prl", "given"] = Field(
        "auto",
        description="Where units come from. auto: encoder is a HuBERT, WavLM or wav2vec 2.0, whichever its config.json says; "
        "hubert, wavlm, wav2vec2: it must be this one; s3prl: an upstream, in the environment envs/s3prl.yaml; given: units "
        "that your own tokenizer made, from path.",
    )
    encoder: str = Field(
        "hubert-micro",
        description="hubert-micro (shipped), a directory, or a hub id of any HuBERT, WavLM or wav2vec 2.0 that transformers "
        "loads; with source: s3prl the name of an upstream, or NAME:CHECKPOINT.",
    )
    path: str = Field(
        "",
        description="source: given: a file of your tokenizer's units, or a folder of such files: Parquet or JSON lines "
        "(docs/your-tokenizer.md).",
    )
    items_path: str = Field(
        "", description="source: given: the same for benchmark items and prompts; empty: they are in path too."
    )
    rate: float = Field(
        50.0,
        ge=0,
        le=1000,
        description="source: given: units per second of speech, of the frames that durations count where there are any; 0: no "
        "fixed rate and no durations.",
    )
    repeat: bool = Field(
        False,
        description="source: given: write each unit as often as its duration says; else units are taken as they are written.",
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
        description="k-means clusters, the vocabulary of the speech rung; source: given: that of your tokenizer.",
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
    sampling: Literal["share", "reservoir"] = Field(
        "share",
        description="How the sample is drawn. share: half of an utterance's frames, utterances by hash; reservoir: the same, with "
        "sample_by_speaker and sample_silence.",
    )
    sample_by_speaker: bool = Field(
        False, description="reservoir: every speaker gives the same number of frames, as far as it has them."
    )
    sample_silence: Fraction = Field(
        1.0,
        description="reservoir: frames aligned as SIL are at most this share of the sample; 1 leaves them as they come.",
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

    @model_validator(mode="after")
    def _enough_frames(self) -> "Units":
        if self.source != "given" and self.sample_frames < self.clusters:
            raise ValueError(
                f"sample_frames: {self.sample_frames} frames cannot be {self.clusters} clusters; raise it or lower clusters"
            )
        return self

    @model_validator(mode="after")
    def _read_where_set(self) -> "Units":
        if self.sampling == "share":
            for name, unset in {"sample_by_speaker": False, "sample_silence": 1.0}.items():
                if getattr(self, name) != unset:
                    raise ValueError(f"{name}: would not be read, since sampling is share; write sampling: reservoir")
        for name, unset in {"path": "", "items_path": "", "rate": 50.0, "repeat": False}.items():
            if getattr(self, name) != unset and self.source != "given":
                raise ValueError(f"{name}: would not be read, since source is {self.source}; write source: given")
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
        if self.source == "given" and not self.path:
            raise ValueError("path: source: given needs the file or folder of your units")
        if self.kmeans_precision == "bf16" and self.kmeans != "torch":
            raise ValueError("kmeans_precision: bf16 is for kmeans: torch; faiss computes in float32")
        return self
