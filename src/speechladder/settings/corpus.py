"""The settings of the corpus, of its downloads and of its alignment."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from speechladder.settings.section import Fraction, Section

CORPORA = ("librispeech", "libriheavy")  # corpora that are downloaded, or lie in corpus.source
WORLD_HOURS = 4.0  # of speech that the world generates if corpus.hours is null


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
