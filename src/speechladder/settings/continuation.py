"""The settings of the continuation task: prompts, sampling, and the models that transcribe, speak and judge."""

from typing import Literal

from pydantic import Field

from speechladder.settings.section import Section


class Continuation(Section):
    """Every rung continues the same prompts. An ASR transcribes the continuations, and a text LM judges the transcripts."""

    enabled: bool = Field(
        True,
        description="Make continuations, their audio and their perplexity. false leaves these columns of the table empty.",
    )
    prompts: int = Field(24, ge=2, description="Number of held-out prompts, the same for every rung.")
    prompt_seconds: float = Field(
        3.0,
        gt=0,
        description="Prompts of a natural corpus end at the first word boundary at or after this time, in seconds.",
    )
    prompt_sentences: int = Field(2, ge=1, le=3, description="Sentences in a prompt of the world.")
    seconds: float = Field(
        5.0,
        ge=0.5,
        le=60,
        description="Duration of a continuation in seconds, the same for every rung. A rung generates seconds x its rate tokens.",
    )
    samples: int = Field(3, ge=1, description="Number of continuations of each prompt (paper: 10).")
    babble: int = Field(
        12,
        ge=0,
        description="Number of prompts, the first ones, that a bigram model of the rung's tokens continues too. It goes the rung's "
        "own path (synthesis or vocoder, ASR, judge): the floor of that path.",
    )
    temperature: float = Field(1.0, gt=0, le=5, description="Sampling temperature (paper: 1.0).")
    top_p: float = Field(
        0.9, gt=0, le=1, description="Probability mass of the nucleus that tokens are sampled from (paper: 0.9)."
    )
    batch: int = Field(72, ge=1, description="Continuations that are generated at once. This never changes a token.")
    asr: Literal["pocketsphinx", "whisper"] = Field(
        "pocketsphinx",
        description="pocketsphinx: its bundled model, with an n-gram LM and the dictionary of the corpus. whisper: the model "
        "named by whisper.",
    )
    whisper: str = Field(
        "large-v3",
        description="asr: whisper: a size or a checkpoint file of openai-whisper, or a Whisper for transformers as a folder or "
        "OWNER/NAME (paper: large-v3). On a CPU take a folder or OWNER/NAME: openai-whisper installs a gigabyte for GPUs.",
    )
    second_asr: str | None = Field(
        None,
        description="A Whisper, named as in whisper, that also transcribes the true continuations and the examples, for "
        "word error rates beside those of asr (second_asr in continuation/quality.json). The default asr knows the "
        "world's words and voices, and a Whisper knows neither.",
    )
    vocoder: str = Field(
        "run",
        description="run: a vocoder that the run trains on its own speech. Otherwise: a folder or OWNER/NAME of a HiFi-GAN unit "
        "vocoder for the run's units.",
    )
    vocoder_steps: int = Field(600, ge=1, description="Training steps of the run's own vocoder.")
    vocoder_minutes: float = Field(
        30.0, gt=0, description="The most speech that the run's own vocoder is trained on, in minutes."
    )
    resynthesis_minutes: float = Field(
        10.0,
        gt=0,
        description="Held-out speech, in minutes, that is spoken again from its units for units/resynthesis.json, a target of its "
        "own.",
    )
    judge: Literal["run", "hf"] = Field(
        "run",
        description="run: a text LM that the run trains on text that no rung sees. hf: the model named by judge_model.",
    )
    judge_model: str = Field(
        "meta-llama/Llama-3.1-8B",
        description="judge: hf: a folder or OWNER/NAME of any causal LM (paper: Llama-3.1-8B).",
    )
    judge_text: list[str] = Field(
        [],
        description="judge: run: plain text files (.txt, .txt.gz) that the judge is trained on. Without files: generated text "
        "(world), or the transcripts of the train split, which the rungs see too (other corpora).",
    )
    judge_words: int = Field(200_000, ge=100, description="judge: run: the most words that the judge is trained on.")
    judge_steps: int = Field(600, ge=1, description="judge: run: training steps. The judge has the size of lm.")
    examples: int = Field(
        4,
        ge=0,
        description="Number of continuations of each rung that are kept as FLAC with a transcript, to listen to.",
    )
