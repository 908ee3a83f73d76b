"""The settings of the language models: size, schedule, and execution."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from speechladder.settings.section import Fraction, Section, check_distinct

DIMENSIONS = ("hidden_size", "layers", "heads", "kv_heads", "intermediate_size", "head_dim")
# Dimensions of models by name. Embeddings and head are not tied, so they add 2 x vocabulary x width parameters: with a
# vocabulary of 2048 there are 1.3 M, 28 M, 88 M, 313 M and 0.98 B parameters.
MODELS = {
    name: dict(zip(DIMENSIONS, (*sizes, None), strict=True))
    for name, sizes in {
        "micro": (128, 4, 4, 4, 352),
        "30m": (512, 8, 8, 8, 1408),
        "125m": (768, 12, 12, 12, 2048),
        "350m": (1024, 24, 16, 16, 2816),
        "tinyllama-1.1b": (2048, 22, 32, 4, 5632),  # 1.10 B with its own vocabulary of 32,000
    }.items()
}
DEFAULT_MODEL = "micro"
ADAMW_SHARE = 0.6  # of lm.lr: the rate of AdamW beside Muon, if lm.adamw_lr is null
# Fields that say how a training is executed and observed. They change results only by rounding, so they trigger no rerun
# (settings.options).
EXECUTION_FIELDS = (
    *("checkpoint_every", "keep_checkpoints", "resume", "processes", "parallel", "micro_windows"),
    *("activation_checkpointing", "attention", "compile", "tracking"),
)


QUERY_BLOCK = 128  # queries of a block of attention; the fastest of 64, 128 and 256, and the default of flex_attention
FLEX_HEAD = 16  # the smallest head dimension that the kernels of flex_attention accept; it must be a power of two


def fits_flex(head: int) -> bool:
    """Whether flex_attention has kernels for heads of `head` dimensions."""
    return head >= FLEX_HEAD and head & (head - 1) == 0


class LM(Section):
    """One language model per rung, from scratch or from a text LM."""

    architecture: str = Field(
        "llama",
        description="Kind of decoder, by its model_type in transformers: llama or qwen3 (docs/training.md says how to add one).",
    )
    model: Literal["custom", "micro", "30m", "125m", "350m", "tinyllama-1.1b"] = Field(
        "custom",
        description="A model by name (docs/training.md lists the sizes). custom: the dimensions below; those that are null are "
        "those of micro. A name together with a dimension that is not its own is an error.",
    )
    hidden_size: int | None = Field(None, ge=8, description="Width. null: the width of the model.")
    layers: int | None = Field(None, ge=1, description="Number of transformer blocks. null: as in the model.")
    heads: int | None = Field(None, ge=1, description="Number of attention heads. null: as in the model.")
    kv_heads: int | None = Field(
        None, ge=1, description="Number of key-value heads (grouped-query attention). null: as in the model."
    )
    intermediate_size: int | None = Field(
        None, ge=8, description="Width of the feed-forward layer. null: as in the model."
    )
    head_dim: int | None = Field(
        None,
        ge=2,
        description="Dimensions of an attention head. null: hidden_size / heads; with init as in that model.",
    )
    init: str | None = Field(
        None,
        description="Warm start (TWIST): a folder or OWNER/NAME of a text LM of the same architecture, whose body and "
        "dimensions are taken; embeddings and head are drawn for the rung's vocabulary. null: from scratch.",
    )
    window: int = Field(
        1024, ge=8, description="Tokens in a training window. Attention never crosses the boundary of a document."
    )
    batch_windows: int = Field(
        1, ge=1, description="Windows in an optimiser step, over all processes and accumulated gradients (paper: 128)."
    )
    optimizer: Literal["muon", "adamw"] = Field(
        "muon",
        description="muon: Muon for the matrices within the layers, AdamW for embeddings, head and norms. adamw: AdamW for all "
        "(paper). It needs a lower lr, such as 3e-3 for micro.",
    )
    lr: float = Field(0.01, gt=0, description="Peak learning rate of the optimizer (paper: 4e-4).")
    adamw_lr: float | None = Field(
        None,
        gt=0,
        description="With optimizer muon: peak learning rate of AdamW for embeddings, head and norms. null: 0.6 of lr.",
    )
    schedule: Literal["cosine", "linear", "wsd"] = Field(
        "linear",
        description="How the learning rate falls to min_lr_ratio of the peak after warm-up: cosine or linear over all steps; wsd: "
        "constant, then linear over the last decay_fraction of the steps.",
    )
    decay_fraction: float = Field(
        0.2, gt=0, le=1, description="Share of the steps in which the rate falls, with schedule wsd."
    )
    min_lr_ratio: Fraction = Field(0.0, description="Learning rate at the end of the schedule, as a share of the peak.")
    warmup_steps: int = Field(20, ge=0, description="Number of steps of linear warm-up.")
    weight_decay: float = Field(
        0.1, ge=0, description="Weight decay of the optimizer, on matrices only: times the learning rate, at each step."
    )
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient; a larger one is clipped.")
    max_steps: int = Field(2400, ge=1, description="Training stops after this many steps, at the end of the schedule.")
    max_passes: float = Field(
        5.0,
        gt=0,
        description="Training also stops after this many passes over the data. The schedule ends there.",
    )
    max_tokens: float | None = Field(
        None, gt=0, description="Training also stops after this many tokens. The schedule ends there."
    )
    max_hours: float | None = Field(
        None,
        gt=0,
        description="Training also stops after this many hours, which include the time before an interruption. After 0.5 % of "
        "these hours the schedule is shortened once, to the steps that fit. Needs run_curriculum: 0.",
    )
    run_curriculum: float = Field(
        0.35,
        ge=0,
        le=0.5,
        description="On rungs with a token per 50 Hz frame: share of the steps in which training data has each run of equal tokens "
        "once, and of those after them in which runs have half their length. Then, and in validation, the data are whole. 0: whole always.",
    )
    patience: int = Field(
        5,
        ge=1,
        description="Training has converged and stops after this many validations without improvement. The weights with the best "
        "validation are kept.",
    )
    valid_every: int = Field(200, ge=1, description="Number of steps between validations.")
    valid_seconds: float = Field(
        1200.0,
        gt=0,
        description="The most speech that is validated on, in seconds. The utterances are the same for every rung.",
    )
    checkpoint_every: int = Field(
        100, ge=1, description="Number of steps between checkpoints, from which training resumes."
    )
    keep_checkpoints: int = Field(
        2,
        ge=1,
        description="Number of newest checkpoints that are kept during training. Each also holds the weights with the best "
        "validation.",
    )
    resume: Literal["auto", "never"] = Field(
        "auto",
        description="auto: continue from the newest complete checkpoint, and refuse one that was made with other settings or data. "
        "never: start again, and delete existing checkpoints.",
    )
    learning_points: int = Field(
        4,
        ge=0,
        description="Number of snapshots for the learning curve, in the first passes, at equal ratios of the tokens seen.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 autocast on a GPU, or on a CPU with AVX512-BF16 or AMX; otherwise fp32."
    )
    threads: int = Field(
        1,
        ge=1,
        description="CPU threads of one training process. They change the bits of the result, so they are not taken from --cores.",
    )
    processes: int = Field(
        1,
        ge=1,
        description="Processes of one training on a node (torchrun), one per GPU. docs/clusters.md describes several nodes.",
    )
    parallel: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="With several processes: ddp keeps a whole model in each process, fsdp a part of the model. auto: fsdp if the "
        "model and its optimiser do not fit a GPU, otherwise ddp.",
    )
    micro_windows: int | None = Field(
        None, ge=1, description="Windows that a process computes at once; gradients accumulate. null: as many as fit."
    )
    activation_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compute activations again in the backward pass, to save memory. auto: on if a window does not fit otherwise.",
    )
    attention: Literal["auto", "packed", "flex"] = Field(
        "auto",
        description="How attention within documents is computed. packed: in blocks of the project's own, on any device. flex: "
        "torch's compiled flex_attention, on a GPU. auto: flex on a GPU if Triton can build its kernels and the training is "
        "expected to take five minutes or more, otherwise packed.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compile each layer (torch.compile). auto: on with attention flex if the training is expected to take five "
        "minutes or more.",
    )
    tracking: Literal["none", "tensorboard", "wandb"] = Field(
        "none",
        description="Log to TensorBoard or Weights & Biases too, beside log.jsonl (docs/interop.md). Their packages are not "
        "installed with speechladder.",
    )
    seeds: list[int] = Field([0], min_length=1, description="One model per seed and rung.")

    @model_validator(mode="before")
    @classmethod
    def _dimensions(cls, values: Any) -> Any:
        """Fill in the dimensions of the model. With `init` they are not known yet and stay null."""
        if not isinstance(values, dict):
            return values
        given = {name: values[name] for name in DIMENSIONS if values.get(name) is not None}
        model = values.get("model") or "custom"
        if model == "custom":
            return values if values.get("init") else values | (MODELS[DEFAULT_MODEL] | given)
        if not isinstance(model, str) or model not in MODELS:
            return values | MODELS[DEFAULT_MODEL]  # the field's own error says what is wrong
        named = MODELS[model]
        other = [f"{name}: {value}" for name, value in given.items() if str(value) != str(named[name])]
        if other:
            raise ValueError(
                f"model: {model} has other dimensions than {', '.join(other)}; set those to null, or model to custom"
            )
        return values | named

    _distinct = field_validator("seeds")(check_distinct)

    @field_validator("seeds")
    @classmethod
    def _counted(cls, seeds: list[int]) -> list[int]:
        if min(seeds) < 0:
            raise ValueError(f"{min(seeds)} is not allowed; a seed is 0 or more")
        return seeds

    @model_validator(mode="after")
    def _divides(self) -> "LM":
        if self.init and None in (self.hidden_size, self.heads, self.kv_heads):
            return self
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"heads: {self.heads} must divide hidden_size: {self.hidden_size}, and kv_heads: {self.kv_heads} must "
                "divide heads"
            )
        if self.head_width % 2:
            field = "head_dim" if self.head_dim else "hidden_size / heads"
            raise ValueError(f"{field} is {self.head_width}; rotary positions need an even number")
        return self

    @model_validator(mode="after")
    def _flexes(self) -> "LM":
        known = self.head_dim or (self.hidden_size and self.heads)  # not yet, with init
        fits = not known or fits_flex(self.head_width)
        if self.attention == "flex" and not fits:
            raise ValueError(
                f"attention: flex needs heads of 16, 32, 64, ... dimensions, not {self.head_width}; set it to auto"
            )
        if self.compile == "on" and (self.attention == "packed" or not fits):
            why = "attention is packed" if fits else f"heads have {self.head_width} dimensions"
            raise ValueError(f"compile: on needs flex_attention, and {why}; set compile to auto")
        return self

    @model_validator(mode="after")
    def _rates(self) -> "LM":
        if self.optimizer == "adamw" and self.adamw_lr is not None:
            raise ValueError(
                f"adamw_lr: {self.adamw_lr:g} is for optimizer: muon alone; set adamw_lr to null, and lr to the rate of AdamW"
            )
        return self

    @model_validator(mode="after")
    def _known_steps(self) -> "LM":
        if self.run_curriculum and self.max_hours:
            raise ValueError(
                f"run_curriculum: {self.run_curriculum:g} is a share of steps whose number max_hours leaves open; set max_hours "
                "to null and max_steps to what fits, or run_curriculum to 0"
            )
        return self

    @property
    def rest_lr(self) -> float:
        """The peak learning rate of AdamW: of all parameters, or of those that Muon leaves."""
        if self.optimizer == "adamw":
            return self.lr
        return ADAMW_SHARE * self.lr if self.adamw_lr is None else self.adamw_lr

    @property
    def head_width(self) -> int:
        """The dimensions of an attention head."""
        return self.head_dim or self.hidden_size // self.heads

    @property
    def attention_width(self) -> int:
        """The dimensions of all heads of a layer together, which may differ from hidden_size."""
        return self.heads * self.head_width

    @model_validator(mode="after")
    def _fits(self) -> "LM":
        if self.processes > self.batch_windows:
            raise ValueError(
                f"processes: {self.processes}, but batch_windows is {self.batch_windows}, and each process needs a window; set "
                f"batch_windows to {self.processes} or more, or lower processes"
            )
        return self
