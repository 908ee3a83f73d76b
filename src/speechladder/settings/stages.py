"""The stages of a run: one table of what each rule's result depends on.

The rules take their version and their command-line options from here, the plan takes its lines, and tests hold the
profiles' lists of GPU rules against it. Snakemake reruns a job when its options or its version change, so a setting
that no stage lists reruns nothing, and a setting that one stage lists reruns that stage alone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from speechladder.settings.options import as_options

RUN = ""  # the section of the settings that stand at the top level: seed, rungs
Reads = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Stage:
    """A rule of the workflow.

    Attributes:
        title: The plan's line that the rule belongs to. The first rule of a title tells how much of it is left.
        version: Raise it when the algorithm of the stage changes, so that its artefacts are made again. A tuple
            joins the versions of several algorithms.
        options: Section -> the fields that the rule passes to its script as options of the same name. A field that
            is missing here has its default in the script, so every field that the script reads must be listed.
        inputs: Section -> the fields that the rule passes in another way, as inputs or under another option.
        gpu: Whether the stage computes on a GPU where there is one.
    """

    title: str
    version: int | tuple[int, ...] = 1
    options: Reads = field(default_factory=dict)
    inputs: Reads = field(default_factory=dict)
    gpu: bool = False

    @property
    def reads(self) -> set[str]:
        """Every field that the stage reads, as section.field."""
        both = (*self.options.items(), *self.inputs.items())
        return {f"{section}.{name}" if section else name for section, names in both for name in names}


_SEED: Reads = {RUN: ("seed",)}
_ENCODER = ("source", "encoder", "layer", "batch_seconds", "precision", "chunk_seconds", "compile")
_SEGMENTS = ("segments", "segment_penalty")
_LABELS = ("labels", "label_minutes")
_EXTERNAL = ("path", "items_path", "rate", "repeat", "clusters", "num_codebooks", "codebook_order")
_KMEANS = (
    *("clusters", "iterations", "max_points_per_centroid"),
    *("kmeans", "kmeans_init", "kmeans_restarts", "kmeans_precision"),
)
_ALIGNER = ("aligner", "beam")
_ASR = ("asr", "whisper")
_MODEL = (
    *("architecture", "model", "hidden_size", "layers", "heads", "kv_heads", "intermediate_size", "head_dim"),
    *("init", "window"),
    *("batch_windows", "optimizer", "lr", "adamw_lr", "schedule", "decay_fraction", "min_lr_ratio", "warmup_steps"),
    *("weight_decay", "clip", "max_passes", "patience"),
    *("valid_every", "valid_seconds", "precision", "threads"),
)
_INTERVALS: Reads = _SEED | {"analysis": ("confidence", "resamples")}
# Versions that several rules share, because they run the same algorithm.
_CORPUS, _TEXT, _UNITS, _UNITS_QUALITY, _JUDGE, _ANALYSIS = 3, 2, 1, 3, 1, 5

STAGES: dict[str, Stage] = {
    "download": Stage("download", inputs={"downloads": ("folder", "files", "retries", "backoff")}),
    "unpack_archive": Stage("unpack", inputs={"corpus": ("archives", "unpack"), "downloads": ("folder",)}),
    "index_archive": Stage("unpack", inputs={"corpus": ("archives", "unpack")}),
    "build_corpus": Stage(
        "corpus",
        version=(_CORPUS, _TEXT),
        options=_SEED
        | {
            "corpus": (
                *("name", "path", "source", "manifests", "archives", "text", "english_only", "shards", "hours"),
                *("variability", "causes", "valid_fraction", "test_fraction", "min_seconds", "max_seconds"),
            )
        },
        inputs={"corpus": ("unpack",)},
    ),
    "speak_corpus": Stage(
        "corpus",
        version=(_CORPUS, _TEXT),
        options=_SEED | {"corpus": ("min_seconds", "max_seconds")},
        inputs={"corpus": ("speech",)},
    ),
    "split_manifest": Stage(
        "corpus",
        version=3,
        options={
            "corpus": (
                *("name", "source", "manifests", "archives", "shards", "hours", "valid_fraction", "test_fraction"),
            )
        },
    ),
    "audit_corpus": Stage("corpus", version=_CORPUS),
    "align": Stage(
        "align",
        version=(2, _TEXT),
        options={"alignment": _ALIGNER},
        inputs={"alignment": ("textgrids", "mfa_model", "mfa_dictionary")},
    ),
    "fetch_mfa": Stage("align", inputs={"alignment": ("mfa_model", "mfa_dictionary", "mfa_g2p")}),
    "prepare_mfa": Stage("align", version=2, inputs={"alignment": ("lexicon", "mfa_model")}),
    "train_mfa": Stage("align", inputs={"alignment": ("mfa_train_hours",)}),
    "alignment_quality": Stage("align", version=_TEXT, options={"alignment": (*_ALIGNER, "sample_utterances")}),
    "phone_durations": Stage("align"),
    "sample_features": Stage(
        "k-means sample",
        version=_UNITS,
        options=_SEED
        | {
            "units": (
                *_ENCODER,
                *("sample_frames", "sample_by_speaker", "sample_silence", "normalisation"),
                *(*_SEGMENTS, *_LABELS),
            )
        },
        gpu=True,
    ),
    "features_abx": Stage(
        "k-means sample",
        version=2,
        options=_SEED | {"units": (*_ENCODER, "normalisation", "abx_minutes")},
        gpu=True,
    ),
    "speaker_statistics": Stage(
        "k-means sample", version=_UNITS, options=_SEED | {"units": (*_ENCODER, "speaker_seconds")}, gpu=True
    ),
    "train_kmeans": Stage("k-means", version=_UNITS, options=_SEED | {"units": (*_KMEANS, "labels")}, gpu=True),
    "extract_units": Stage("units", version=_UNITS, options={"units": (*_ENCODER, *_EXTERNAL, *_SEGMENTS)}, gpu=True),
    "units_quality": Stage("units", version=_UNITS_QUALITY, options=_SEED | {"units": ("clusters", "abx_minutes")}),
    "count_phone_units": Stage("units", version=2),
    "partition_units": Stage("units", version=2, inputs={"units": ("path", "items_path", "num_codebooks")}),
    "tokenize_rung": Stage(
        "tokens",
        version=2,
        options=_SEED
        | {
            "units": ("clusters",),
            "tokens": (
                *("text_vocab", "phone_vocab", "unit_vocab"),
                *("stress", "silence", "text_pauses", "word_boundary"),
            ),
        },
    ),
    "select_utterances": Stage("tokens"),
    "train_lm": Stage(
        "train",
        version=3,
        options={"lm": (*_MODEL, "max_steps", "max_tokens", "max_hours", "run_curriculum", "learning_points")},
        inputs={"lm": ("seeds",)},
        gpu=True,
    ),
    "make_items": Stage(
        "items",
        version=(5, _TEXT),
        options=_SEED
        | {
            "corpus": ("variability", "causes"),
            "benchmarks": (
                *("swuggy_pairs", "sblimp_pairs", "topic_pairs", "voices", "topic_voices"),
                *("max_pairs", "slm21_splits"),
            ),
            "alignment": _ALIGNER,
        },
        inputs={"benchmarks": ("swuggy", "sblimp", "topic", "slm21", "storycloze", "storycloze_text")},
    ),
    "transcribe_stories": Stage(
        "items", options={"continuation": _ASR}, inputs={"benchmarks": ("storycloze",)}, gpu=True
    ),
    "voice_statistics": Stage(
        "items", version=_UNITS, options=_SEED | {"units": (*_ENCODER, "speaker_seconds")}, gpu=True
    ),
    "extract_item_units": Stage(
        "items", version=_UNITS, options={"units": (*_ENCODER, *_EXTERNAL, *_SEGMENTS, "item_context")}, gpu=True
    ),
    "tokenize_items": Stage("items"),
    "score_rung": Stage(
        "scores",
        version=5,
        options={"scores": ("batch_tokens", "layers", "learning", "learning_pairs")},
        inputs={"benchmarks": ("slm21_splits",)},
        gpu=True,
    ),
    "score_external": Stage(
        "external",
        options={"tokens": ("stress", "silence", "text_pauses", "word_boundary")},
        inputs={"external": ("models",), "units": ("clusters", "rate"), "scores": ("batch_tokens",)},
        gpu=True,
    ),
    "external": Stage(
        "external",
        version=_ANALYSIS,
        options=_INTERVALS,
        inputs={"external": ("models",), "benchmarks": ("slm21_splits",)},
    ),
    "continue_rung": Stage(
        "continue",
        version=2,
        options=_SEED | {"continuation": ("seconds", "samples", "babble", "temperature", "top_p")},
        gpu=True,
    ),
    "make_prompts": Stage(
        "continue",
        version=(1, _CORPUS),
        options=_SEED
        | {
            "corpus": ("variability", "causes"),
            "continuation": ("prompts", "prompt_seconds", "prompt_sentences", "seconds"),
            "alignment": _ALIGNER,
        },
        inputs={"continuation": ("enabled",)},
    ),
    "extract_prompt_units": Stage(
        "continue", version=_UNITS, options={"units": (*_ENCODER, *_EXTERNAL, *_SEGMENTS)}, gpu=True
    ),
    "build_asr": Stage("continue"),
    "train_vocoder": Stage(
        "continue",
        options=_SEED | {"units": ("clusters",), "continuation": ("vocoder_steps", "vocoder_minutes")},
    ),
    "transcribe_rung": Stage(
        "continue",
        options=_SEED | {"units": ("clusters",), "continuation": (*_ASR, "vocoder", "examples")},
        gpu=True,
    ),
    "transcribe_reference": Stage(
        "continue",
        options=_SEED | {"units": ("clusters",), "continuation": (*_ASR, "vocoder")},
        gpu=True,
    ),
    "transcribe_second": Stage(
        "continue",
        options=_SEED | {"units": ("clusters",), "continuation": ("second_asr", "vocoder")},
        gpu=True,
    ),
    "transcribe_held_out": Stage(
        "resynthesis", options=_SEED | {"continuation": (*_ASR, "resynthesis_minutes")}, gpu=True
    ),
    "transcribe_resynthesis": Stage("resynthesis", options={"units": ("clusters",), "continuation": _ASR}, gpu=True),
    "resynthesis": Stage("resynthesis", options=_INTERVALS),
    "make_judge_text": Stage(
        "continue",
        version=(_JUDGE, _CORPUS, _TEXT),
        options=_SEED | {"continuation": ("judge_words",)},
        inputs={"continuation": ("judge_text",)},
    ),
    "train_judge": Stage(
        "continue",
        version=(_JUDGE, _TEXT),
        options=_SEED | {"continuation": (*_ASR, "judge_steps"), "lm": _MODEL, "tokens": ("text_vocab",)},
        gpu=True,
    ),
    "judge_continuations": Stage(
        "continue",
        version=(3, _TEXT),
        options=_SEED | {"continuation": (*_ASR, "judge", "judge_model", "seconds")},
        gpu=True,
    ),
    "make_table": Stage(
        "report",
        version=_ANALYSIS,
        options=_INTERVALS,
        inputs={RUN: ("rungs",), "corpus": ("shards",), "lm": ("seeds",), "benchmarks": ("slm21_splits",)},
    ),
    "make_baselines": Stage("report", options=_INTERVALS, inputs={RUN: ("rungs",), "benchmarks": ("slm21_splits",)}),
    "make_report": Stage("report"),
    "export_slm21": Stage("report", inputs={"benchmarks": ("slm21", "slm21_splits")}),
    "export_audio": Stage("export"),
    "make_probe": Stage("diagnosis", version=_CORPUS, options=_SEED | {"diagnosis": ("sentences",)}),
    "probe_statistics": Stage(
        "diagnosis", version=_UNITS, options=_SEED | {"units": (*_ENCODER, "speaker_seconds")}, gpu=True
    ),
    "extract_probe_units": Stage(
        "diagnosis", version=_UNITS, options={"units": (*_ENCODER, *_EXTERNAL, *_SEGMENTS)}, gpu=True
    ),
    "diagnosis_quality": Stage(
        "diagnosis", version=_UNITS_QUALITY, options=_SEED | {"units": ("clusters", "abx_minutes")}
    ),
    "diagnose_units": Stage("diagnosis", version=_ANALYSIS, options=_INTERVALS),
    "export_diagnosis": Stage("export"),
    "sweep_quality": Stage(
        "sweep",
        version=(_UNITS, _UNITS_QUALITY),
        options=_SEED | {"sweep": ("minutes",), "units": (*_ENCODER, "abx_minutes")},
        gpu=True,
    ),
    "units_sweep": Stage(
        "sweep",
        version=_ANALYSIS,
        options=_INTERVALS,
        inputs={
            "sweep": ("layers", "clusters", "normalisations", "dedup", "seeds", "train"),
            "benchmarks": ("slm21_splits",),
        },
    ),
    "take_fraction": Stage("scaling", inputs={"scaling": ("fractions",)}),
    "scaling": Stage(
        "scaling",
        version=_ANALYSIS,
        options=_INTERVALS,
        inputs={"scaling": ("rungs", "sizes", "fractions", "seeds"), "benchmarks": ("slm21_splits",)},
    ),
    "variability_run": Stage("variability"),
    "variability": Stage("variability", version=_ANALYSIS, options=_INTERVALS),
    "causes_run": Stage("causes"),
    "causes": Stage(
        "causes",
        version=_ANALYSIS,
        options=_INTERVALS,
        inputs={"causes": ("rungs", "corpora", "cause_seeds"), "lm": ("seeds",), "benchmarks": ("slm21_splits",)},
    ),
    "synthesized_run": Stage("questions"),
    "questions": Stage(
        "questions",
        version=_ANALYSIS,
        options=_INTERVALS,
        inputs={"questions": ("arms", "rungs", "corpora", "resynthesis"), "benchmarks": ("slm21_splits",)},
    ),
}


def version(rule: str) -> int | tuple[int, ...]:
    """The version of a rule's algorithm, a parameter of its jobs."""
    return STAGES[rule].version


def versions() -> dict[str, int | tuple[int, ...]]:
    """The versions of all rules, for a rule that runs the whole workflow."""
    return {rule: stage.version for rule, stage in STAGES.items()}


def options(settings: Any, rule: str, without: Collection[str] = ()) -> str:
    """The command-line options of a rule, quoted for a shell: the fields that the table lists, and no others.

    `without` names fields, as section.field, that the rule does not read in this run. `settings` is a Settings. To a
    stage that knows of no codebooks, units.clusters is the number of different units, which is another number where
    units have labels or several codebooks.
    """
    if "units.num_codebooks" not in STAGES[rule].reads:
        units = settings.units.model_copy(update={"clusters": settings.units.vocabulary})
        settings = settings.model_copy(update={"units": units})
    words = []
    for section, names in STAGES[rule].options.items():
        if section == RUN:
            words += [f"--{name} {getattr(settings, name)}" for name in names if name not in without]
        else:
            kept = [name for name in names if f"{section}.{name}" not in without]
            words.append(as_options(getattr(settings, section), kept))
    return " ".join(word for word in words if word)
