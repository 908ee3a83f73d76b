"""Checks of a configuration that need more than the settings: registries, files and hubs."""

from pathlib import Path
from typing import Any

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.devices import gpus
from speechladder.io.errors import UserError, suggestion
from speechladder.io.hub import is_hub_name
from speechladder.lm.architectures.base import get_architecture
from speechladder.settings import DIMENSIONS, LM, Settings, Units
from speechladder.settings.messages import mistakes, not_allowed
from speechladder.settings.units import SHIPPED, SPECTRAL, encoder_folder
from speechladder.units.encoders.check import KINDS, check_config, check_folder
from speechladder.workflow.folders import check_contents
from speechladder.workflow.inputs import recordings
from speechladder.workflow.paths import find, find_or_keep
from speechladder.workflow.rungs import needs_durations, needs_vocoder, spoken_rungs, stories_need_transcripts

TRANSFORMERS = ("auto", *KINDS)  # values of units.source whose encoder transformers loads
SOURCE = "the configuration (config/config.yaml, --configfile, --config)"


def check_rungs(settings: Settings) -> None:
    """Raise UserError if a rung of the settings is not registered, with the nearest name and all allowed names."""
    from speechladder.rungs import registry

    given = {"rungs": settings.rungs, "scaling.rungs": settings.scaling.rungs, "causes.rungs": settings.causes.rungs}
    names = registry.names()
    wrong = [
        (f"{field}.{n}", rung) for field, rungs in given.items() for n, rung in enumerate(rungs) if rung not in names
    ]
    if wrong:
        raise mistakes(SOURCE, [not_allowed(field, rung, names) for field, rung in wrong])


def check_architectures(settings: Settings) -> None:
    """Raise UserError if the architecture of the models, or of a size of `scaling`, is not known."""
    get_architecture(settings.lm.architecture)
    for size in settings.scaling.sizes:
        name = size.get("architecture", settings.lm.architecture)
        get_architecture(name, f"scaling.sizes.{size['name']}.architecture")


def check_encoder(units: Units, home: Path) -> str:
    """`units.encoder` as the stages take it.

    That is hubert-micro, the path of a folder, OWNER/NAME of a hub, or for s3prl NAME or NAME:CHECKPOINT. Raises
    UserError if it is none of these, or if a folder holds another kind of model or too few layers. The encoder of a
    source that was added to units.encoders.factory checks its own name when it is opened.
    """
    if units.source in SPECTRAL:
        return units.encoder
    if units.source == "s3prl":
        return _check_upstream(units.encoder, home)
    if units.source not in TRANSFORMERS:
        return find_or_keep(units.encoder, home)
    given, folder = units.encoder, encoder_folder(units.encoder)
    if given != SHIPPED:
        try:
            folder = Path(find(given, home))
        except UserError as error:
            if is_hub_name(given):
                return given  # check_hubs looks at its config.json
            hint = suggestion(given, [SHIPPED])
            raise UserError(
                f"units.encoder: {error}; {hint}allowed: {SHIPPED}, a folder, or OWNER/NAME of a hub"
            ) from None
    check_folder(folder, given, units.layer, units.source)
    return given if given == SHIPPED else str(folder)


def _check_upstream(given: str, home: Path) -> str:
    """The same for an upstream of s3prl; check_s3prl looks at its layers and frames when jobs start."""
    from speechladder.units.encoders.s3prl_environment import split_encoder

    name, checkpoint = split_encoder(given)
    if checkpoint is None or checkpoint.startswith(("http://", "https://")):
        return given
    try:
        found = find(checkpoint, home)
    except UserError as error:
        if name.startswith("hf_") and is_hub_name(checkpoint):
            return given
        raise UserError(f"units.encoder: {error}") from None
    if name.endswith("_local") and not Path(found).is_file():
        raise UserError(f"units.encoder: {found} is a folder; {name} reads a file: name the .pt file in it")
    return f"{name}:{found}"


def check_sweep(settings: Settings, home: Path) -> None:
    """Raise UserError if a point of the sweep is impossible: a missing layer, more clusters than frames, or labels."""
    if settings.units.labels != "none":
        raise UserError(
            f"units.labels: {settings.units.labels}: the sweep compares k-means codebooks; write units.labels: none"
        )
    layer, clusters = max(settings.sweep.layers), max(settings.sweep.clusters)
    try:
        check_encoder(settings.units.model_copy(update={"layer": layer}), home)
    except UserError as error:
        raise UserError(str(error).replace("units.layer", "sweep.layers")) from None
    if clusters > settings.units.sample_frames:
        raise UserError(
            f"sweep.clusters: {clusters} clusters from units.sample_frames: {settings.units.sample_frames}; raise the "
            "latter, or lower the former"
        )


def init_with_dimensions(lm: LM, home: Path) -> dict[str, Any]:
    """`lm.init` as the stages take it (an absolute folder or OWNER/NAME of a hub), and its dimensions if it is on disk.

    Raises UserError if the folder holds no model that a warm start can take.
    """
    from speechladder.lm.warm_start import weight_files, with_init_dimensions

    lm = lm.model_copy(update={"init": find_or_keep(str(lm.init), home)})
    found = with_init_dimensions(lm).model_dump(include={"init", *DIMENSIONS})
    if Path(lm.init).is_dir():
        weight_files(Path(lm.init))
    return found


def check_files(settings: Settings) -> None:
    """Raise UserError for every mistake in files, archives and models that shows without loading or fetching one."""
    from speechladder.alignment.check import check_aligner_files
    from speechladder.workflow.sources import check_sources

    corpus = settings.corpus
    if corpus.name == "local" and not Path(str(corpus.path)).is_dir():
        raise UserError(f"corpus.path: {corpus.path} is no folder; name the folder that holds speaker/chapter/*.flac")
    if settings.units.source == "external":
        _check_units(settings.units)
    if settings.continuation.enabled:
        _check_models(settings)
    elif stories_need_transcripts(settings):
        _check_asr(settings)
    check_sources(settings)
    check_contents(settings)
    for name, task in TASKS.items():
        try:
            recordings(tuple(task.pairs_files(settings.benchmarks)))
        except UserError as error:
            raise UserError(f"benchmarks.{name}: {error}") from None
    check_aligner_files(settings.alignment, settings.downloads.files)


def check_gpu(settings: Settings) -> None:
    """Raise UserError for settings that need a GPU, if this machine shows none.

    For a run whose jobs compute on this machine, with this Python. Jobs of a cluster, and those in environments of
    their own, find out when they start.
    """
    lm, units = settings.lm, settings.units
    codebook = units.source != "external" and units.labels == "none" and units.kmeans == "faiss-gpu"
    wanted = {
        "lm.attention: flex": lm.attention == "flex",
        "lm.compile: on": lm.compile == "on",
        "units.precision: fp16": units.source != "external" and units.precision == "fp16",
        "units.kmeans: faiss-gpu": codebook,
    }
    fields = [field for field, needed in wanted.items() if needed]
    if fields and not gpus():
        advice = (
            "needs a GPU, and this machine shows none; write auto, or let a cluster run the jobs (docs/clusters.md)"
        )
        raise mistakes(SOURCE, [f"{field} {advice}" for field in fields])
    if codebook:
        from speechladder.units.kmeans.faiss_backend import choose_backend

        choose_backend(units.kmeans)


def _check_units(units: Units) -> None:
    """Raise UserError for mistakes that the first rows of the user's own units show."""
    from speechladder.units.external.read import has_durations

    durations = has_durations(units.path, "units.path", units.num_codebooks)
    if units.items_path:
        has_durations(units.items_path, "units.items_path", units.num_codebooks)
    if units.repeat and not durations:
        raise UserError(f"units.repeat: the units in {units.path} have no durations, by which they would be repeated")


def _check_models(settings: Settings) -> None:
    from speechladder.continuation.asr.checks import SECOND, check_whisper
    from speechladder.continuation.judge.checks import check_judge
    from speechladder.continuation.vocoder.checks import check_vocoder

    if needs_vocoder(settings):
        check_vocoder(settings.continuation.vocoder, settings.units.vocabulary, needs_durations(settings))
    _check_asr(settings)
    if settings.continuation.second_asr:
        check_whisper(settings.continuation.second_asr, SECOND)
    check_judge(settings.continuation)


def _check_asr(settings: Settings) -> None:
    from speechladder.continuation.asr.checks import check_asr

    check_asr(settings.continuation)


def check_hubs(settings: Settings) -> None:
    """Raise UserError if a hub does not give a model that the run names by OWNER/NAME, or if its config.json is unfit.

    Asks the network, so it runs once, when jobs start.
    """
    from speechladder.continuation.asr.checks import check_whisper_config
    from speechladder.continuation.judge.checks import check_judge_config
    from speechladder.continuation.vocoder.checks import check_vocoder_config
    from speechladder.io.hub import fetch_config

    if settings.lm.init and not Path(settings.lm.init).exists():
        _check_init(fetch_config(settings.lm.init, "lm.init"), settings.lm)
    units = settings.units
    if units.source in TRANSFORMERS and units.encoder != SHIPPED and not Path(units.encoder).exists():
        check_config(fetch_config(units.encoder, "units.encoder"), units.encoder, units.layer, units.source)
    for field in _hub_models(settings):
        name = getattr(settings.continuation, field)
        config = fetch_config(name, f"continuation.{field}")
        if field == "vocoder":
            check_vocoder_config(config, name, settings.units.vocabulary, needs_durations(settings))
        elif field == "judge_model":
            check_judge_config(config, name)
        else:
            check_whisper_config(config, name, f"continuation.{field}")


def _hub_models(settings: Settings) -> list[str]:
    """The fields of `continuation` that name a model of a hub which the run uses."""
    wanted, spoken = settings.continuation, bool(spoken_rungs(settings))
    used = {
        "vocoder": spoken and wanted.vocoder != "run" and needs_vocoder(settings),
        "whisper": wanted.asr == "whisper" and (spoken or stories_need_transcripts(settings)),
        "second_asr": spoken and wanted.second_asr is not None,
        "judge_model": spoken and wanted.judge == "hf",
    }
    names = {field: getattr(wanted, field) for field, needed in used.items() if needed}
    return [field for field, name in names.items() if not Path(name).exists() and is_hub_name(name)]


def _check_init(file: dict[str, Any], lm: LM) -> None:
    from speechladder.lm.warm_start import check_init_config, with_init_dimensions

    check_init_config(file, lm.init, lm.architecture)
    with_init_dimensions(lm, file)
