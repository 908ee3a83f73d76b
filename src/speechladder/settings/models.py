"""The fields of a configuration, with their defaults, bounds and meaning."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from speechladder.io.errors import suggestion
from speechladder.settings.lm import LM
from speechladder.settings.scaling import Scaling, sized
from speechladder.settings.section import Fraction, Section
from speechladder.settings.units import Sweep, Units

PAPER_RUNGS = ("text-bpe", "text-raw", "phone-bpe", "phone-raw", "phone-repeat", "speech-hubert")
TASKS = ("swuggy", "sblimp", "topic")
CORPORA = ("librispeech", "libriheavy")  # that are downloaded, or lie in corpus.source
WORLD_HOURS = 4.0  # of speech that the world generates where corpus.hours is null
PHONES = 45  # ids of a phone rung: 39 phones, SIL, the word boundary, 4 specials (rungs.functions.phone_alphabet)
STRESSED_PHONES = PHONES + 45  # and 15 vowels with each of 3 stress digits


def rung_names() -> tuple[str, ...]:
    """Every registered rung, from text to speech.

    The registry is asked when a configuration is validated, not when this module is imported: it stands above
    `settings`, and what is registered by then counts, so that a new rung needs no line here.
    """
    from speechladder.rungs import registry

    return registry.names()


# A stage's version constant. Raise it when the stage's algorithm changes: Snakemake sees it as a
# parameter, so the artefact and what follows are made anew; a changed comment changes nothing.
VERSIONS = {
    "corpus": 2,
    "alignment": 1,
    "mfa": 1,
    "alignment_quality": 1,
    "units": 1,
    "external_units": 1,
    "export_audio": 1,
    "units_quality": 2,
    "utterances": 1,
    "tokens": 1,
    "lm": 2,
    "durations": 1,
    "transcripts": 1,
    "items": 3,
    "item_tokens": 1,
    "scores": 3,
    "submission": 1,
    "prompts": 1,
    "generation": 1,
    "vocoder": 1,
    "asr": 1,
    "hearing": 1,
    "judge": 1,
    "perplexity": 1,
    "analysis": 4,
    "fractions": 1,
    "scaling": 1,
}


def _registered(name: str) -> str:
    if name not in rung_names():
        raise PydanticCustomError("unknown_rung", "no such rung")
    return name


RungName = Annotated[
    str,
    AfterValidator(_registered),
    Field(json_schema_extra=lambda schema: schema.update(enum=list(rung_names()))),
]


class Corpus(Section):
    """Where the utterances come from, and which are left out."""

    name: Literal["world", "local", "librispeech", "libriheavy"] = Field(
        "world",
        description="world: generated English spoken by espeak-ng; local: a folder in LibriSpeech layout "
        "(speaker/chapter/*.flac with *.trans.txt), read in place; librispeech, libriheavy: from their own archives and "
        "manifests (see the presets).",
    )
    path: str | None = Field(
        None,
        description="Folder of a local corpus; relative to where snakemake was called. Unused by the others.",
    )
    source: str | None = Field(
        None,
        description="Folder that holds librispeech or libriheavy already: the audio unpacked, or archives and manifests by "
        "their names. What lies there is read where it is; what does not is downloaded.",
    )
    manifests: list[str] = Field(
        [], description="libriheavy: manifests of cuts (.jsonl.gz): names under downloads.files, or files."
    )
    archives: list[str] = Field(
        [],
        description="librispeech, libriheavy: tars of the audio: names under downloads.files, or files. A compressed one is "
        "unpacked, another one is read in place.",
    )
    unpack: bool = Field(
        False,
        description="Unpack tars that are not compressed too, in place of reading the audio where it lies in them.",
    )
    text: Literal["book", "asr"] = Field(
        "book", description="libriheavy: the book's text, or what an ASR heard (custom.texts[0] or [1])."
    )
    english_only: bool = Field(
        True, description="libriheavy: reject utterances whose text has letters that are not English ones (a-z)."
    )
    shards: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Files that the corpus is divided into, by hash of the recording; the unit of parallel work.",
    )
    hours: float | None = Field(
        None,
        gt=0,
        description="Hours of speech. world: generated, counted before rejects, 4 if null; else: the train split is cut down to "
        "them, the same share of time for every speaker as far as it goes; null takes all.",
    )
    variability: int = Field(
        3,
        ge=0,
        le=3,
        description="The dial for factor C on the world: 0 one flat voice, 1 one voice with prosody, "
        "2 several voices, 3 many voices, accents, rates and pitch ranges.",
    )
    valid_fraction: float = Field(
        0.04,
        gt=0,
        lt=0.5,
        description="Share of utterances held out for validation where the corpus names no such split.",
    )
    test_fraction: float = Field(
        0.02,
        gt=0,
        lt=0.5,
        description="Share of utterances held out for tests (alignment sample) where the corpus names no such split.",
    )
    min_seconds: float = Field(0.3, ge=0.1, description="Utterances shorter than this are rejected, in seconds.")
    max_seconds: float = Field(40.0, gt=0, description="Utterances longer than this are rejected, in seconds.")
    max_rejected: Fraction = Field(
        0.2, description="A shard with a larger share of rejected utterances fails, in each stage."
    )

    @model_validator(mode="after")
    def _agrees(self) -> "Corpus":
        if self.min_seconds >= self.max_seconds:
            raise ValueError(f"min_seconds ({self.min_seconds}) must be below max_seconds ({self.max_seconds})")
        if self.name != "local" and self.path:
            fix = "use source" if self.name in CORPORA else "add name: local, or --configfile presets/local.yaml"
            raise ValueError(f"path: {self.path!r} would not be read, since name is {self.name}; {fix}")
        if self.name not in CORPORA:
            for field in ("source", "manifests", "archives"):
                if getattr(self, field):
                    raise ValueError(
                        f"{field}: would not be read, since name is {self.name}; {', '.join(CORPORA)} read it"
                    )
        elif not self.source and not self.archives:
            raise ValueError(f"archives: {self.name} needs its audio; name archives, or a folder as source")
        if (self.name == "libriheavy") != bool(self.manifests):
            need = "needs its manifests; see presets/libriheavy-small.yaml"
            raise ValueError(f"manifests: {self.name} {need if self.name == 'libriheavy' else 'has none'}")
        return self


class Download(Section):
    """A file to fetch, and how to know that it is the right one."""

    urls: list[str] = Field(
        min_length=1,
        description="Where it is, tried in turn: http://, https://, file:// or a path; a local file is linked to.",
    )
    bytes: int | None = Field(None, ge=1, description="Its size.")
    md5: str | None = Field(None, pattern=r"^[0-9a-fA-F]{32}$", description="Its MD5.")
    sha256: str | None = Field(None, pattern=r"^[0-9a-fA-F]{64}$", description="Its SHA-256.")


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]*$")]


class Downloads(Section):
    """Archives and manifests that are fetched before anything else, and kept."""

    folder: str = Field(
        "downloads",
        description="Where they are kept, beside results/ or as an absolute path; runs may share it.",
    )
    files: dict[FileName, Download] = Field(
        {}, description="Name of each file and its urls, with bytes, md5 or sha256 where they are known."
    )
    retries: int = Field(
        8, ge=0, description="Tries of one address that bring nothing new, before the next address or giving up."
    )
    backoff: float = Field(
        1.0, ge=0, description="Pause before the second try, in seconds; doubled each time, 60 at most."
    )


class Alignment(Section):
    """Words and phones with their times."""

    aligner: Literal["truth", "pocketsphinx", "mfa", "textgrids"] = Field(
        "truth",
        description="truth: the synthesizer's own times (world only); pocketsphinx: forced alignment with the bundled model; "
        "mfa: the Montreal Forced Aligner (conda: envs/mfa.yaml); textgrids: alignments that exist already.",
    )
    mfa_model: str | None = Field(
        "english_us_arpa",
        description="mfa: acoustic model, the name of a pretrained one or a .zip; null: trained on the run's own train split.",
    )
    mfa_dictionary: str = Field(
        "english_us_arpa",
        description="mfa: pronunciations in ARPAbet, the name of a pretrained dictionary or a .dict file.",
    )
    mfa_g2p: str | None = Field(
        "english_us_arpa",
        description="mfa: model for words that neither dictionary nor lexicon has, a name or a .zip; null: their utterances are "
        "rejected.",
    )
    lexicon: str | None = Field(
        None,
        description="mfa: a file of more pronunciations, WORD and its ARPAbet phones a line; asked before mfa_g2p.",
    )
    mfa_train_hours: float = Field(
        50.0, gt=0, description="mfa: speech that a model is trained on at most, where mfa_model is null, in hours."
    )
    textgrids: str | None = Field(
        None,
        description="textgrids: a folder, .zip or .tar of TextGrids named as the utterances, with tiers words and phones.",
    )
    sample_utterances: int = Field(
        60,
        ge=4,
        description="Test utterances of the world on which the aligner that is not in use is held against the truth.",
    )
    beam: float = Field(
        1e-300,
        gt=0,
        lt=1e-60,
        description="PocketSphinx beam; wider (smaller) loses fewer utterances and is slower.",
    )


class Tokens(Section):
    """The rungs' alphabets. The paper states none of these but the vocabulary size."""

    text_vocab: int = Field(512, ge=32, le=65_000, description="SentencePiece BPE pieces of text-bpe (paper: 2048).")
    phone_vocab: int = Field(512, ge=32, le=65_000, description="SentencePiece BPE pieces of phone-bpe (paper: 2048).")
    stress: bool = Field(
        False, description="Keep lexical stress digits on vowels (AH0, AH1) where the aligner knows them."
    )
    silence: bool = Field(
        True,
        description="Keep pauses as SIL in phone-bpe and phone-raw. phone-repeat always keeps them: its frames must add up.",
    )
    word_boundary: bool = Field(
        False, description="Put a word boundary symbol between the words of phone-bpe and phone-raw."
    )

    @model_validator(mode="after")
    def _holds_the_phones(self) -> "Tokens":
        least = STRESSED_PHONES if self.stress else PHONES
        if self.phone_vocab < least:
            why = " and vowels with stress" if self.stress else ""
            raise ValueError(f"phone_vocab: {self.phone_vocab} does not hold the phones{why}; at least {least}")
        return self


class Benchmarks(Section):
    """The items of the three tasks."""

    swuggy_pairs: int = Field(300, ge=2, description="Word / non-word pairs to generate.")
    sblimp_pairs: int = Field(
        320, ge=2, description="Minimal pairs of sentences to generate, spread over the phenomena."
    )
    topic_pairs: int = Field(200, ge=2, description="Stories with a right and an off-topic ending to generate.")
    voices: int = Field(2, ge=1, description="Voices that speak each word or sentence pair.")
    topic_voices: int = Field(1, ge=1, description="Voices that speak each story pair.")
    swuggy: list[str] = Field(
        [],
        description="Pairs files in place of generated items: JSON lines, CSV (Wuggy's Word,Pseudoword too); .gz read as is.",
    )
    sblimp: list[str] = Field(
        [],
        description="Pairs files in place of generated items: JSON lines (BLiMP's own), CSV; .gz read as is.",
    )
    topic: list[str] = Field([], description="Pairs files in place of generated items: JSON lines or CSV.")
    max_pairs: int = Field(
        0, ge=0, description="Pairs taken from pairs files or official benchmarks, evenly spread; 0 takes all."
    )
    slm21: str | None = Field(
        None,
        description="sLM21 of zerospeech, for sWUGGY and sBLIMP: a folder, a .zip, or a name under downloads.files.",
    )
    slm21_splits: list[Literal["dev", "test"]] = Field(
        ["dev"],
        min_length=1,
        description="Splits of sLM21; results/slm21.csv has each, table.csv the first.",
    )
    storycloze: str | None = Field(
        None,
        description="Topic-StoryCloze: a folder of STORY_PREFIX_correct.wav and ..._incorrect.wav, a .zip or .tar of it, or a name "
        "under downloads.files.",
    )
    storycloze_text: str | None = Field(
        None,
        description="Its texts, a table with columns filename,text; null: transcribed by continuation.asr.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Benchmarks":
        for official, tasks in {"slm21": ("swuggy", "sblimp"), "storycloze": ("topic",)}.items():
            for task in tasks:
                if getattr(self, official) and getattr(self, task):
                    raise ValueError(f"{task}: both {official} and pairs files are given; leave one out")
        if len(set(self.slm21_splits)) != len(self.slm21_splits):
            raise ValueError("slm21_splits: a split is named twice")
        if self.storycloze_text and not self.storycloze:
            raise ValueError("storycloze_text: would not be read without storycloze")
        return self


class Scores(Section):
    """Likelihood comparison."""

    batch_tokens: int = Field(
        2048,
        ge=64,
        description="Tokens per scoring batch, padding included; a GPU takes 65536, a CPU is slower beyond 2048.",
    )
    layers: bool = Field(True, description="Score every layer through the final norm and the head (paper, Figs. 2-3).")
    learning: bool = Field(True, description="Score the learning-curve snapshots (paper, Fig. 1).")
    learning_pairs: int = Field(
        120, ge=0, description="Pairs per task, evenly spread, in one voice, for the learning curve; 0 takes all."
    )


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


class Analysis(Section):
    """Intervals and tests."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the bootstrap intervals.")
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples (over ids) and permutations.")


class Settings(Section):
    """A whole run."""

    seed: int = Field(
        0, ge=0, description="Seed of everything that is drawn: corpus, items, k-means sample, intervals."
    )
    rungs: list[RungName] = Field(
        list(PAPER_RUNGS),
        min_length=1,
        description="Rungs of the ladder, in the order of the table: the paper's six, speech-hubert-dedup, or your own "
        "(docs/adding-a-rung.md).",
    )
    corpus: Corpus = Field(Corpus(), description=Corpus.__doc__)
    downloads: Downloads = Field(Downloads(), description=Downloads.__doc__)
    alignment: Alignment = Field(Alignment(), description=Alignment.__doc__)
    units: Units = Field(Units(), description=Units.__doc__)
    sweep: Sweep = Field(Sweep(), description=Sweep.__doc__)
    tokens: Tokens = Field(Tokens(), description=Tokens.__doc__)
    lm: LM = Field(LM(), description=LM.__doc__)
    benchmarks: Benchmarks = Field(Benchmarks(), description=Benchmarks.__doc__)
    scores: Scores = Field(Scores(), description=Scores.__doc__)
    continuation: Continuation = Field(Continuation(), description=Continuation.__doc__)
    analysis: Analysis = Field(Analysis(), description=Analysis.__doc__)
    scaling: Scaling = Field(Scaling(), description=Scaling.__doc__)

    @field_validator("rungs")
    @classmethod
    def _distinct(cls, rungs: list[str]) -> list[str]:
        if len(set(rungs)) != len(rungs):
            raise ValueError("a rung is named twice")
        return rungs

    @model_validator(mode="after")
    def _scales(self) -> "Settings":
        for number, rung in enumerate(self.scaling.rungs):
            if rung not in rung_names():
                hint = suggestion(rung, rung_names())
                raise ValueError(
                    f"scaling.rungs.{number}: {rung!r} is not allowed; {hint}allowed: {', '.join(rung_names())}"
                )
        for size in self.scaling.sizes:
            sized(self.lm, size)
        return self

    def scaled_lm(self, name: str) -> LM:
        """The settings of the models of a size under scaling.sizes."""
        return next(sized(self.lm, size) for size in self.scaling.sizes if size["name"] == name)

    @model_validator(mode="after")
    def _belongs_together(self) -> "Settings":
        if self.corpus.name == "local" and not self.corpus.path:
            raise ValueError(
                "corpus.path: a local corpus needs its folder; add --config corpus='{path: FOLDER}' or set corpus.path"
            )
        if self.corpus.name != "world" and self.alignment.aligner == "truth":
            raise ValueError("alignment.aligner: truth exists on the world only; write aligner: pocketsphinx (or mfa)")
        if (self.alignment.aligner == "textgrids") != bool(self.alignment.textgrids):
            raise ValueError("alignment.textgrids: aligner: textgrids and a folder or archive of them belong together")
        shortest = self.continuation.prompt_seconds + self.continuation.seconds / 2
        if self.corpus.name != "world" and self.continuation.enabled and shortest > self.corpus.max_seconds:
            raise ValueError(
                f"continuation.prompt_seconds: no utterance of at most {self.corpus.max_seconds:g} s "
                f"(corpus.max_seconds) holds a prompt and half of continuation.seconds, {shortest:g} s; lower them"
            )
        return self
