"""The settings of the continuation task: prompts, sampling, and the models that transcribe, speak and judge."""

from typing import Literal

from pydantic import Field

from speechladder.settings.section import Section


class Continuation(Section):
    """Every rung goes on speaking; what it says is heard by an ASR and judged by a text LM."""

    enabled: bool = Field(True, description="Continuation perplexity and audio; false leaves these columns empty.")
    prompts: int = Field(24, ge=2, description="Held-out prompts, the same for every rung.")
    prompt_seconds: float = Field(
        3.0,
        gt=0,
        description="Prompts of a natural corpus end at the first word boundary at or after this, in seconds.",
    )
    prompt_sentences: int = Field(2, ge=1, le=3, description="Sentences of a held-out story in a prompt of the world.")
    seconds: float = Field(
        5.0,
        ge=0.5,
        le=60,
        description="Duration of a continuation, the same for every rung, in seconds; tokens = seconds x the rung's rate.",
    )
    samples: int = Field(3, ge=1, description="Continuations of each prompt (paper: 10).")
    temperature: float = Field(1.0, gt=0, le=5, description="Sampling temperature (paper: 1.0).")
    top_p: float = Field(0.9, gt=0, le=1, description="Nucleus that is sampled from (paper: 0.9).")
    batch: int = Field(72, ge=1, description="Continuations generated at once; never changes a token.")
    asr: Literal["pocketsphinx", "whisper"] = Field(
        "pocketsphinx",
        description="pocketsphinx: its bundled model with an n-gram LM and the dictionary of the corpus; whisper: see whisper.",
    )
    whisper: str = Field(
        "large-v3",
        description="asr: whisper: a size of openai-whisper, one of its checkpoint files, or a transformers Whisper (folder, "
        "OWNER/NAME) (paper: large-v3).",
    )
    vocoder: str = Field(
        "run",
        description="run: trained in the run on the run's own speech; else a folder or OWNER/NAME of a HiFi-GAN unit vocoder "
        "for the run's units.",
    )
    vocoder_steps: int = Field(600, ge=1, description="Training steps of the run's own vocoder.")
    vocoder_minutes: float = Field(30.0, gt=0, description="Speech that it is trained on at most, in minutes.")
    judge: Literal["run", "hf"] = Field(
        "run",
        description="run: a text LM trained in the run on text that no rung sees; hf: judge_model.",
    )
    judge_model: str = Field(
        "meta-llama/Llama-3.1-8B",
        description="judge: hf: a folder or OWNER/NAME of any causal LM (paper: Llama-3.1-8B).",
    )
    judge_text: list[str] = Field(
        [],
        description="judge: run: plain text files (.txt, .txt.gz) to train the judge on; none: generated text (world), or the "
        "transcripts of the train split, which the rungs saw too (local).",
    )
    judge_words: int = Field(200_000, ge=100, description="judge: run: words of text that it is trained on at most.")
    judge_steps: int = Field(220, ge=1, description="judge: run: training steps; its size is that of lm.")
    examples: int = Field(4, ge=0, description="Continuations of each rung kept as FLAC with transcript, to listen to.")
