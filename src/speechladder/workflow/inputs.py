"""What the rules ask the settings: the inputs of a job, and the parts of its command that depend on them.

The .smk files make one `Inputs` and name its methods. A method that takes `wildcards` is an input function of
Snakemake; a method that takes `input` too is a function for `params`.
"""

import functools
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.continuation.asr.checks import DECODING
from speechladder.corpora import world
from speechladder.corpora.folders import speech_digest
from speechladder.io.errors import UserError
from speechladder.io.files import is_left_alone
from speechladder.io.hashing import files_sha256
from speechladder.settings import DIMENSIONS, WORLD_HOURS, Settings, at, version, where
from speechladder.settings.tokenizer import portable_units
from speechladder.settings.units import SPECTRAL, encoder_folder
from speechladder.units.encoders.s3prl_environment import split_encoder
from speechladder.workflow.paths import as_input
from speechladder.workflow.rungs import needs_vocoder, reads_confusions, reads_units
from speechladder.workflow.sources import audio_inputs, content, place, readable, roots, tars, unpacked
from speechladder.workflow.unread import read_options

Found = str | list[str]


def flags(*names: str) -> Callable[..., str]:
    """A params function: `--name PATHS` for each of these inputs that there are, quoted for a shell."""

    def words(wildcards: Any, input: Any) -> str:
        found = {name: getattr(input, name) for name in names}
        return " ".join(
            f"--{name.replace('_', '-')} {' '.join(map(shlex.quote, _paths(value)))}"
            for name, value in found.items()
            if value
        )

    return words


def exported(values: Mapping[str, object]) -> str:
    """NAME=VALUE of each variable, quoted for a shell, for Snakemake's shell.prefix, in which braces are doubled."""
    words = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())
    return words.replace("{", "{{").replace("}", "}}")


def _paths(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(map(str, value))


class Inputs:
    """The inputs of a run with these settings; `home` is the folder of the checkout."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.settings, self.home = settings, home
        self.shards = [str(number) for number in range(settings.corpus.shards)]
        self.tasks = list(TASKS)

    # --- commands ---

    def options(self, rule: str) -> Callable[[Any], str]:
        """A params function: the options of a job of `rule`, with the settings of its point."""
        return lambda wildcards: read_options(self.at(wildcards), rule, wildcards)

    def world_version(self, rule: str) -> tuple[Any, ...]:
        """The version of a rule that generates text in the world's language, whatever the corpus is."""
        return (version(rule), f"world {world.VERSION}")

    def language_version(self, rule: str) -> int | tuple[Any, ...]:
        """The version of a rule that generates text: on the world, that of its language too."""
        return self.world_version(rule) if self.settings.corpus.name == "world" else version(rule)

    def asr_version(self, rule: str) -> int | tuple[Any, ...]:
        """The version of a rule that transcribes: with Whisper, that of its decoding too."""
        found = version(rule)
        whisper = self.settings.continuation.asr == "whisper" or rule == "transcribe_second"
        return (found, f"whisper {DECODING}") if whisper else found

    def over_shards(self, pattern: str) -> Callable[[Any], str]:
        """A params function: the files of all shards as bash writes them, results/x.{0..999}.

        A thousand paths would not fit a command line (bash -c takes 128 KB). It is a function, since Snakemake would
        take the braces for a wildcard. {point} in `pattern` is the prefix below which the point's units lie.
        """
        count = len(self.shards)
        every = f"{{0..{count - 1}}}" if count > 1 else "0"

        def text(wildcards: Any) -> str:
            return pattern.format(shard=every, point=self.prefix(wildcards, "units"))

        return text

    # --- points of the sweep and of the scaling grid (settings.points) ---

    def at(self, wildcards: Any) -> Settings:
        """The settings of the job's point; those of the run for a rule without points."""
        return at(self.settings, getattr(wildcards, "point", ""), getattr(wildcards, "rung", ""))

    def prefix(self, wildcards: Any, artefact: str) -> str:
        """Below which folder the artefact lies that a job of this point reads."""
        return where(self.settings, getattr(wildcards, "point", ""), artefact)

    def speakers(self, wildcards: Any) -> Found:
        """The speakers' statistics, if the features of this point are normalised by them."""
        if self.at(wildcards).units.normalisation != "speaker":
            return []
        return f"results/{self.prefix(wildcards, 'speakers')}units/speakers.safetensors"

    def item_speakers(self, wildcards: Any) -> list[str]:
        """The statistics of the speakers of items: speakers of the corpus, and other voices."""
        corpus = self.speakers(wildcards)
        return [corpus, corpus.replace("speakers.", "voices.")] if corpus else []

    def probe_speakers(self, wildcards: Any) -> list[str]:
        """The same of the voices of the probe."""
        corpus = self.speakers(wildcards)
        return [corpus, "results/probe/voices.safetensors"] if corpus else []

    def tokenizer(self, wildcards: Any) -> str:
        """The settings of units that are not the default (settings.tokenizer), as JSON."""
        return json.dumps(portable_units(self.settings.units.model_dump(mode="json")))

    def spoken(self, wildcards: Any) -> str:
        """What the speech of the run is, as JSON: figures of another corpus cannot be compared."""
        corpus = self.settings.corpus
        facts = {"corpus": corpus.name, "hours": corpus.hours, "abx_minutes": self.settings.units.abx_minutes}
        if corpus.name == "world":
            facts |= {"world": world.VERSION, "shards": corpus.shards, "hours": corpus.hours or WORLD_HOURS}
            facts |= {"causes": corpus.causes} if corpus.causes is not None else {"variability": corpus.variability}
        return json.dumps(facts)

    def sample(self, wildcards: Any) -> str:
        """The sample that a codebook is trained on."""
        return f"results/{self.prefix(wildcards, 'sample')}units/sample.safetensors"

    def units(self, wildcards: Any) -> list[str]:
        """The units of every shard."""
        return [f"results/{self.prefix(wildcards, 'units')}units/{shard}.parquet" for shard in self.shards]

    def item_units(self, wildcards: Any) -> list[str]:
        """The units of every task's items."""
        return [f"results/{self.prefix(wildcards, 'units')}benchmarks/{task}/units.parquet" for task in self.tasks]

    def tokens(self, wildcards: Any) -> str:
        """The token folder that a rung's model is trained on."""
        return f"results/{self.prefix(wildcards, 'tokens')}tokens/{wildcards.rung}"

    def confusions(self, wildcards: Any) -> list[str]:
        """The table of phones and units, for a rung that draws confusions."""
        path = f"results/{self.prefix(wildcards, 'units')}units/phone_units.parquet"
        return [path] if reads_confusions(wildcards.rung) else []

    def token_options(self, wildcards: Any) -> str:
        """The options of tokenize_rung; only a rung that reads the table has it, so no other job changes."""
        table = self.confusions(wildcards)
        return " ".join([self.options("tokenize_rung")(wildcards), *(["--confusions", *table] if table else [])])

    def item_tokens(self, wildcards: Any) -> list[str]:
        """The tokens of every task's items."""
        folder = f"results/{self.prefix(wildcards, 'units')}benchmarks"
        return [f"{folder}/{task}/{wildcards.rung}.parquet" for task in self.tasks]

    def models(self, wildcards: Any) -> list[str]:
        """The models of a rung, one per seed, by the file that each has when it is finished."""
        folder = f"results/{self.prefix(wildcards, 'models')}lm/{wildcards.rung}"
        return [f"{folder}/seed{seed}/train.json" for seed in self.at(wildcards).lm.seeds]

    def model_folders(self, wildcards: Any, input: Any) -> list[str]:
        """The folders of these models, for the command line."""
        return [str(Path(path).parent) for path in _paths(input.models)]

    # --- downloads, corpus and alignment ---

    def download_content(self, wildcards: Any) -> str:
        """What a download is known by."""
        return content(self.settings, wildcards.file)

    def packed_archive(self, wildcards: Any) -> str:
        """The archive that is unpacked."""
        return unpacked(self.settings)[wildcards.archive]

    def tar(self, wildcards: Any) -> str:
        """The tar that is indexed."""
        return tars(self.settings)[wildcards.archive]

    def corpus_speech(self, wildcards: Any) -> list[str]:
        """LibriSpeech's unpacked folders."""
        return [] if self.settings.corpus.name == "local" else audio_inputs(self.settings)

    def corpus_roots(self, wildcards: Any) -> list[str]:
        """The folders with unpacked audio, by a function, since in other params braces are wildcards."""
        return roots(self.settings)

    def speech_digest(self, wildcards: Any) -> str:
        """A digest of a local corpus's audio and transcripts, which are too many to be inputs."""
        corpus = self.settings.corpus
        return _speech_digest(corpus.path) if corpus.name == "local" else ""

    def mfa_file(self, field: str) -> Found:
        """A model of MFA if the configuration names a download, or a file (`checked` made its path absolute)."""
        given = getattr(self.settings.alignment, field)
        if given in self.settings.downloads.files:
            return place(self.settings, given, f"alignment.{field}")
        return on_disk(given) if given else []

    def mfa_names(self, wildcards: Any, input: Any) -> str:
        """Options for MFA's models: the files, else the names of pretrained models."""
        words = []
        for option, field in (("model", "mfa_model"), ("dictionary", "mfa_dictionary"), ("g2p", "mfa_g2p")):
            given = str(getattr(input, option)) or getattr(self.settings.alignment, field)
            words += [f"--{option}", shlex.quote(given)] if given else []
        return " ".join(words)

    def textgrids(self, wildcards: Any) -> Found:
        """Alignments that exist already."""
        alignment = self.settings.alignment
        given = alignment.textgrids if alignment.aligner == "textgrids" else None
        return readable(self.settings, given, "alignment.textgrids") if given else []

    # --- encoder and language models ---

    def encoder_digest(self, wildcards: Any) -> str:
        """SHA-256 of the encoder's files where it lies on disk: other weights or another front end give other units.

        It is a parameter of the jobs that open the encoder. As inputs the files would be compared by their time and
        place, so that another checkout of the same encoder would make everything again.
        """
        return _content(tuple(self.encoder_files()))

    def encoder_files(self) -> list[str]:
        """The encoder's files where it lies on disk; none of one that the hub has, or of features of no model."""
        units = self.settings.units
        if units.source in SPECTRAL:
            return []
        given = (split_encoder(units.encoder)[1] or "") if units.source == "s3prl" else units.encoder
        folder = encoder_folder(given)
        if units.source == "s3prl" and folder.is_file():
            return [str(folder)]
        return _files(folder, "*.safetensors", "pytorch_model*.bin", "*config.json") if given else []

    def init_files(self, wildcards: Any) -> list[str]:
        """The files of the text LM that a warm start begins from, where it lies on disk.

        Raises UserError if the point's size has other dimensions than that model.
        """
        init, lm = self.settings.lm.init, self.at(wildcards).lm
        if init and any(getattr(lm, name) != getattr(self.settings.lm, name) for name in DIMENSIONS):
            size = wildcards.point.strip("/").rpartition("/")[2]
            raise UserError(f"scaling.sizes: {size} has other dimensions than lm.init; leave it out, or lm.init")
        return _files(Path(init), "model*.safetensors", "config.json") if init else []

    # --- benchmarks ---

    def pairs_files(self, wildcards: Any) -> list[str]:
        """The user's own pairs files for a task, if any."""
        return TASKS[wildcards.task].pairs_files(self.settings.benchmarks)

    def pairs_audio(self, wildcards: Any) -> list[str]:
        """The recordings that the pairs files name."""
        return recordings(tuple(self.pairs_files(wildcards)))

    def _official(self, field: str) -> Found:
        given = getattr(self.settings.benchmarks, field)
        return readable(self.settings, given, f"benchmarks.{field}") if given else []

    def official(self, wildcards: Any) -> Found:
        """The task's official benchmark, if the run has one."""
        official = TASKS[wildcards.task].official
        return self._official(official.field) if official else []

    def official_option(self, wildcards: Any, input: Any) -> str:
        """The same for the command line: the archive on disk takes the place of the configuration's name for it."""
        field = TASKS[wildcards.task].official.field if input.official else ""
        return f"--{field} {shlex.quote(str(input.official))}" if input.official else ""

    def stories(self, wildcards: Any) -> Found:
        """Topic-StoryCloze, whose stories are transcribed."""
        return self._official("storycloze")

    def submitted(self, wildcards: Any) -> Found:
        """sLM21, which a submission is of. Raises UserError if the run has none."""
        if found := self._official("slm21"):
            return found
        raise UserError("results/submission: benchmarks.slm21 is not set; a submission is of sLM21's recordings")

    def official_texts(self, wildcards: Any) -> Found:
        """The texts of official recordings that come without texts, if they are a table."""
        field = TASKS[wildcards.task].texts_field(self.settings.benchmarks)
        given = getattr(self.settings.benchmarks, field) if field else None
        return place(self.settings, given, f"benchmarks.{field}") if given else []

    def official_texts_option(self, wildcards: Any, input: Any) -> str:
        """The same for the command line."""
        field = TASKS[wildcards.task].texts_field(self.settings.benchmarks) or ""
        return f"--{field.replace('_', '-')} {shlex.quote(str(input.texts))}" if input.texts else ""

    def official_transcripts(self, wildcards: Any) -> Found:
        """The ASR's transcripts of official recordings that come without texts, if there is no table of texts."""
        field = TASKS[wildcards.task].texts_field(self.settings.benchmarks)
        wanted = field and not getattr(self.settings.benchmarks, field)
        return f"results/benchmarks/{wildcards.task}/transcripts.jsonl" if wanted else []

    def phone_durations(self, wildcards: Any) -> Found:
        """Mean durations of the training phones, for official recordings that cannot be aligned."""
        return "results/alignment/durations.json" if self.official(wildcards) else []

    def vocabulary(self, wildcards: Any) -> list[str]:
        """The cuts whose words are a task's words: those of a natural corpus; the world has a lexicon."""
        task, given = TASKS[wildcards.task], self.settings.benchmarks
        own = self.settings.corpus.name != "world" and task.corpus_words
        own = own and not (task.pairs_files(given) or task.archive(given))
        return [f"results/corpus/cuts.{shard}.jsonl.gz" for shard in self.shards] if own else []

    def vocabulary_option(self, wildcards: Any, input: Any) -> str:
        """The same files for the command line."""
        return "--cuts " + self.over_shards("results/corpus/cuts.{shard}.jsonl.gz")(wildcards) if input.cuts else ""

    def item_threads(self, wildcards: Any) -> int:
        """Processes of the aligner: an official benchmark is a hundred hours of speech."""
        return 8 if self.official(wildcards) or self.settings.alignment.aligner == "mfa" else 1

    # --- continuation ---

    def asr_model(self, wildcards: Any) -> Found:
        """The ASR that transcribes continuations."""
        wanted = self.settings.continuation
        return on_disk(wanted.whisper) if wanted.asr == "whisper" else "results/continuation/asr"

    def second_asr_model(self, wildcards: Any) -> Found:
        """The second ASR, which transcribes the true continuations and the examples."""
        return on_disk(self.settings.continuation.second_asr or "")

    def second_transcripts(self, wildcards: Any) -> Found:
        """What the second ASR heard, if there is one."""
        return "results/continuation/second_asr.json" if self.settings.continuation.second_asr else []

    def vocoder_model(self, wildcards: Any) -> Found:
        """The vocoder of a rung's units; nothing if no unit is spoken."""
        if not needs_vocoder(self.settings, getattr(wildcards, "rung", None)):
            return []
        given = self.settings.continuation.vocoder
        return on_disk(given) if given != "run" else "results/continuation/vocoder"

    def own_resynthesis(self, wildcards: Any) -> Found:
        """The transcripts of the run's own units spoken again, which those of a point are compared with."""
        return "results/continuation/resynthesis.parquet" if wildcards.point else []

    def judge_model(self, wildcards: Any) -> Found:
        """The text LM that judges."""
        wanted = self.settings.continuation
        return on_disk(wanted.judge_model) if wanted.judge == "hf" else "results/continuation/judge"

    def prompt_units(self, wildcards: Any) -> Found:
        """The prompts' units, if the rung or its resynthesis reads them: other units change no rung of text."""
        rung = getattr(wildcards, "rung", None)
        wanted = reads_units(rung) if rung else needs_vocoder(self.settings)
        return "results/continuation/units.parquet" if wanted else []


def on_disk(model: str) -> list[str]:
    """A model that the configuration names, if it is a path (`checked` made it absolute) and not a name."""
    return [model] if Path(model).is_absolute() else []


def _files(folder: Path, *patterns: str) -> list[str]:
    found = (path for name in patterns for path in folder.glob(name) if not is_left_alone(path.name))
    return sorted(map(str, found)) if folder.is_dir() else []


@functools.cache
def _speech_digest(folder: str) -> str:
    return speech_digest(Path(folder))


@functools.cache
def _content(files: tuple[str, ...]) -> str:
    return files_sha256(map(Path, files)) if files else ""


@functools.cache
def recordings(files: tuple[str, ...]) -> list[str]:
    """The audio that pairs files name; raises UserError as `benchmarks.pairs.read_pairs` does."""
    from speechladder.benchmarks.pairs import read_pairs

    pairs = [pair for path in files for pair in read_pairs(path)[0]]
    audio = {audio for pair in pairs for audio in (pair.good_audio, pair.bad_audio) if audio}
    return sorted(as_input(path, "a recording of a pairs file") for path in audio)
