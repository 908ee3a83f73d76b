"""The settings of the corpus, of its downloads and of its alignment."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from speechladder.settings.section import Fraction, Section, check_distinct

CORPORA = ("librispeech", "libriheavy")  # corpora that are downloaded, or lie in corpus.source
WORLD_HOURS = 3.6  # of speech that the world generates if corpus.hours is null
Cause = Literal["voices", "accents", "rate", "pitch", "reverberation", "noise", "bandwidth"]  # corpora.voices.CAUSES


class Corpus(Section):
    """Where the utterances come from, and which ones are left out."""

    name: Literal["world", "local", "librispeech", "libriheavy"] = Field(
        "world",
        description="world: generated English, spoken by espeak-ng. local: a folder in LibriSpeech layout "
        "(speaker/chapter/*.flac with *.trans.txt), which is read in place. librispeech, libriheavy: their own archives "
        "and manifests (see the presets).",
    )
    path: str | None = Field(
        None,
        description="local: the folder, relative to where snakemake is called.",
    )
    source: str | None = Field(
        None,
        description="librispeech, libriheavy: a folder that already holds the corpus, as unpacked audio or as archives and "
        "manifests under their own names. Files in this folder are read in place. Files that are missing are downloaded.",
    )
    manifests: list[str] = Field(
        [], description="libriheavy: manifests of cuts (.jsonl.gz), as names under downloads.files or as files."
    )
    archives: list[str] = Field(
        [],
        description="librispeech, libriheavy: tars of the audio, as names under downloads.files or as files. A compressed tar "
        "is unpacked. Other tars are read in place.",
    )
    unpack: bool = Field(
        False,
        description="Also unpack tars that are not compressed, instead of reading the audio inside them.",
    )
    text: Literal["book", "asr"] = Field(
        "book",
        description="libriheavy: the text of the book (custom.texts[0]), or the transcript of an ASR (custom.texts[1]).",
    )
    english_only: bool = Field(
        True,
        description="libriheavy: reject utterances whose text has any letter other than a to z. Without it, accents fold (\u00e9 is e); "
        "letters that do not fold are rejected in every corpus.",
    )
    shards: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Number of files that the corpus is divided into, by a hash of the recording. Shards are processed in "
        "parallel.",
    )
    hours: float | None = Field(
        None,
        gt=0,
        description="Hours of speech. world: hours that are generated, before any are rejected; null generates 3.6. Other corpora: "
        "hours of the train split that are kept, the same share of each speaker's time where possible; null keeps all.",
    )
    variability: int = Field(
        3,
        ge=0,
        le=3,
        description="world: the variability level, which factor C is about. 0: one voice with a flat pitch. 1: one voice with prosody. "
        "2: several voices. 3: many voices, accents, rates and pitch ranges.",
    )
    speech: Literal["recorded", "synthesized"] = Field(
        "recorded",
        description="local, librispeech, libriheavy. recorded: the corpus's own recordings. synthesized: the same utterances, spoken "
        "by the synthesizer, each speaker in one of the voices of variability 3; their times are known (aligner: truth).",
    )
    causes: list[Cause] | None = Field(
        None,
        description="world: what varies, cause by cause, in place of a level (docs/corpora.md). voices, accents, rate and pitch are "
        "as at level 3; reverberation, noise and bandwidth are in no level. All else is that of one flat voice, which [] is. "
        "null: what variability says.",
    )
    valid_fraction: float = Field(
        0.04,
        gt=0,
        lt=0.5,
        description="Share of utterances held out for validation, if the corpus has no validation split of its own.",
    )
    test_fraction: float = Field(
        0.02,
        gt=0,
        lt=0.5,
        description="Share of utterances held out for tests such as that of the aligner, if the corpus has no test split of "
        "its own.",
    )
    min_seconds: float = Field(0.3, ge=0.1, description="Utterances shorter than this are rejected, in seconds.")
    max_seconds: float = Field(40.0, gt=0, description="Utterances longer than this are rejected, in seconds.")
    max_rejected: Fraction = Field(
        0.2, description="A stage fails on a shard if it rejects a larger share of the shard's utterances."
    )

    @field_validator("causes")
    @classmethod
    def _in_order(cls, causes: list[Cause] | None) -> list[Cause] | None:
        """The causes in the order of the table: another order is no other corpus."""
        return causes if causes is None else sorted(check_distinct(causes), key=get_args(Cause).index)

    @model_validator(mode="after")
    def _causes_of_the_world(self) -> "Corpus":
        if self.causes is None:
            return self
        if self.name != "world":
            raise ValueError(f"causes: would not be read, since name is {self.name}; leave it out, or name: world")
        usual = type(self).model_fields["variability"].default
        if self.variability != usual:
            raise ValueError(
                f"causes: {self.causes} and variability: {self.variability} both say what varies; leave one of them "
                f"out (variability is {usual} if it is left out)"
            )
        return self

    @model_validator(mode="after")
    def _agrees(self) -> "Corpus":
        if self.min_seconds >= self.max_seconds:
            raise ValueError(f"min_seconds: {self.min_seconds:g} must be below max_seconds: {self.max_seconds:g}")
        if self.name != "local" and self.path:
            fix = "use source" if self.name in CORPORA else "add name: local, or --configfile presets/local.yaml"
            raise ValueError(f"path: {self.path!r} would not be read, since name is {self.name}; {fix}")
        if self.name == "world" and self.speech == "synthesized":
            raise ValueError(
                "speech: the world's speech is always synthesized; leave speech out, or name another corpus"
            )
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

    @property
    def is_synthesized(self) -> bool:
        """Whether the synthesizer speaks the utterances, so that there is truth of their words and phones."""
        return self.name == "world" or self.speech == "synthesized"


class Download(Section):
    """A file to download, and how to recognise that it is the right one."""

    urls: list[str] = Field(
        min_length=1,
        description="Addresses that are tried in turn: http://, https://, file:// or a path. A local file is linked, not copied.",
    )
    bytes: int | None = Field(None, ge=1, description="Size of the file in bytes.")
    md5: str | None = Field(None, pattern=r"^[0-9a-fA-F]{32}$", description="MD5 of the file, in hexadecimal.")
    sha256: str | None = Field(None, pattern=r"^[0-9a-fA-F]{64}$", description="SHA-256 of the file, in hexadecimal.")


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]*$")]


class Downloads(Section):
    """Archives and manifests that are downloaded before anything else, and kept."""

    folder: str = Field(
        "downloads",
        description="Folder for downloaded files: beside results/, or an absolute path. Several runs may share it.",
    )
    files: dict[FileName, Download] = Field(
        {}, description="Name of each file, with its urls and, if known, its bytes, md5 and sha256."
    )
    retries: int = Field(
        8,
        ge=0,
        description="Attempts at one address that bring no new data, before the next address is tried or the download fails.",
    )
    backoff: float = Field(
        1.0, ge=0, description="Pause before the second attempt, in seconds. The pause doubles each time, up to 60 s."
    )


class Alignment(Section):
    """Words and phones of each utterance, with their times."""

    aligner: Literal["truth", "pocketsphinx", "mfa", "textgrids"] = Field(
        "truth",
        description="truth: the exact times from the synthesizer (the world, and corpus.speech: synthesized). pocketsphinx: forced alignment with the bundled "
        "model. mfa: the Montreal Forced Aligner (conda environment envs/mfa.yaml). textgrids: existing alignments.",
    )
    mfa_model: str | None = Field(
        "english_us_arpa",
        description="mfa: the acoustic model, as the name of a pretrained model or a .zip. null: a model is trained on the train "
        "split of the run.",
    )
    mfa_dictionary: str = Field(
        "english_us_arpa",
        description="mfa: pronunciations in ARPAbet, as the name of a pretrained dictionary or a .dict file.",
    )
    mfa_g2p: str | None = Field(
        "english_us_arpa",
        description="mfa: the grapheme-to-phoneme model for words that are in neither dictionary nor lexicon, as a name or a "
        ".zip. null: utterances with such words are rejected.",
    )
    lexicon: str | None = Field(
        None,
        description="mfa: a file with more pronunciations. Each line is a WORD and its ARPAbet phones. It comes before mfa_g2p.",
    )
    mfa_train_hours: float = Field(
        50.0,
        gt=0,
        description="mfa with mfa_model: null: the most speech that the model is trained on, in hours.",
    )
    textgrids: str | None = Field(
        None,
        description="textgrids: a folder, .zip or .tar of TextGrids. They are named like the utterances and have the tiers words "
        "and phones, or NAME - words and NAME - phones of one speaker.",
    )
    sample_utterances: int = Field(
        60,
        ge=4,
        description="Synthesized speech: number of held-out utterances on which the aligner is compared with the true times. If the aligner "
        "is truth, PocketSphinx is compared.",
    )
    beam: float = Field(
        1e-300,
        gt=0,
        lt=1e-60,
        description="Beam of PocketSphinx. A smaller number is a wider beam: it loses fewer utterances and is slower.",
    )
