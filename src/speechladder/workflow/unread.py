"""Which of a stage's settings it does not read in this run, so that changing them reruns nothing.

settings.stages lists every field that a stage may read. Some fields count only for one choice of another setting, for
one rung, or for one task.
"""

from collections.abc import Callable, Collection
from typing import Any

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.settings import STAGES, Settings, options
from speechladder.settings.units import SPECTRAL
from speechladder.workflow.rungs import needs_vocoder

Unread = Callable[[Settings, Any], Collection[str]]

_CORPUS = {  # fields that each kind of corpus leaves unread
    "world": {"path", "source", "manifests", "archives", "text", "english_only"},
    "libriheavy": {"path", "hours", "valid_fraction", "test_fraction", "variability", "causes"},
}
_NATURAL = {"manifests", "text", "english_only", "variability", "causes"}
_CODEBOOKS = {"units.num_codebooks", "units.codebook_order"}
_EXTERNAL = {f"units.{name}" for name in ("path", "items_path", "rate", "repeat", "clusters")} | _CODEBOOKS
_MODEL = {"encoder", "layer", "batch_seconds", "precision", "chunk_seconds", "compile"}
_ENCODER = {f"units.{name}" for name in _MODEL}


def _corpus(settings: Settings, wildcards: Any) -> set[str]:
    name = settings.corpus.name
    fields = {f"corpus.{field}" for field in _CORPUS.get(name, _NATURAL)}
    return fields | (set() if name == "world" else {"seed"})


def _unused(settings: Settings, wildcards: Any) -> set[str]:
    """Ways to make units that the run does not use. So a new way reruns nothing in a run that was made before it."""
    units = settings.units
    unused = {"segments"} if units.segments == "frame" else set()
    unused |= {"segment_penalty"} if units.segments != "auto" else set()
    unused |= set() if units.item_context else {"item_context"}
    unused |= _MODEL if units.source in SPECTRAL else set()
    if units.labels == "none":
        unused |= {"labels", "label_minutes"}
    else:
        unused |= {"sample_frames", "sample_by_speaker", "sample_silence"}
    return {f"units.{name}" for name in unused}


def _units(settings: Settings, wildcards: Any) -> set[str]:
    unused = _unused(settings, wildcards) | (_CODEBOOKS if settings.units.num_codebooks == 1 else set())
    return unused | (_ENCODER if settings.units.source == "external" else _EXTERNAL)


def _codebook(settings: Settings, wildcards: Any) -> set[str]:
    """A classifier starts from no seed and has no clusters."""
    if settings.units.labels == "none":
        return _unused(settings, wildcards)
    return {"seed", *(f"units.{name}" for name in STAGES["train_kmeans"].options["units"] if name != "labels")}


def _clusters(settings: Settings, wildcards: Any) -> set[str]:
    """A codebook says how many clusters it has. Units from elsewhere do not, and segments are measured as those are."""
    return {"units.clusters"} if settings.units.source != "external" and settings.units.segments == "frame" else set()


def _aligner(settings: Settings, wildcards: Any) -> set[str]:
    """The beam is PocketSphinx's, which also aligns items where the corpus has TextGrids."""
    return set() if settings.alignment.aligner in ("pocketsphinx", "textgrids") else {"alignment.beam"}


def _tokens(settings: Settings, wildcards: Any) -> set[str]:
    from speechladder.rungs import registry

    rung = registry.get(wildcards.rung)
    read = {str(rung.bpe)}
    if "alignment" in rung.needs:
        read |= {"stress", "silence", "word_boundary"}
    if "pauses" in rung.needs:
        read |= {"text_pauses", "silence"} if settings.tokens.text_pauses else {"text_pauses"}
    unread = {f"tokens.{name}" for name in STAGES["tokenize_rung"].options["tokens"] if name not in read}
    return unread if "seed" in rung.needs else unread | {"seed"}


def _items(settings: Settings, wildcards: Any) -> set[str]:
    given = settings.benchmarks
    read = TASKS[wildcards.task].options(given)
    fields = type(given).model_fields
    beam = {"alignment.beam"} if settings.alignment.aligner == "mfa" else set()
    return {f"benchmarks.{name}" for name in fields if name not in read} | beam


def _whisper(settings: Settings, wildcards: Any) -> set[str]:
    return set() if settings.continuation.asr == "whisper" else {"continuation.whisper"}


def _vocoder(settings: Settings, wildcards: Any) -> set[str]:
    """A rung without units is spoken by no vocoder."""
    spoken = needs_vocoder(settings, getattr(wildcards, "rung", None))
    return _whisper(settings, wildcards) | (set() if spoken else {"continuation.vocoder", "units.clusters"})


def _judge(settings: Settings, wildcards: Any) -> set[str]:
    model = set() if settings.continuation.judge == "hf" else {"continuation.judge_model"}
    return _whisper(settings, wildcards) | model


UNREAD: dict[str, Unread] = {
    "build_corpus": _corpus,
    "align": _aligner,
    **dict.fromkeys(("features_abx", "speaker_statistics", "voice_statistics", "sweep_quality"), _unused),
    "make_prompts": _aligner,
    "sample_features": _unused,
    "train_kmeans": _codebook,
    "extract_units": _units,
    "extract_item_units": _units,
    "extract_prompt_units": _units,
    "extract_probe_units": _units,
    "units_quality": _clusters,
    "diagnosis_quality": _clusters,
    "tokenize_rung": _tokens,
    "make_items": _items,
    "transcribe_stories": _whisper,
    "train_judge": _whisper,
    "transcribe_rung": _vocoder,
    "transcribe_reference": _vocoder,
    "transcribe_second": _vocoder,
    "transcribe_held_out": _whisper,
    "transcribe_resynthesis": _whisper,
    "judge_continuations": _judge,
}


def read_options(settings: Settings, rule: str, wildcards: Any = None) -> str:
    """The options of a job of `rule`: those of its stage, without what the job does not read."""
    without = UNREAD[rule](settings, wildcards) if rule in UNREAD else ()
    return options(settings, rule, without)
