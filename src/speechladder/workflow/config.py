"""What the Snakefile needs of the library: a configuration checked before any job, with every path found."""

import os
from pathlib import Path
from typing import Any

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError, suggestion
from speechladder.io.files import read_json
from speechladder.io.hub import is_hub_name
from speechladder.lm.architectures.base import get_architecture
from speechladder.lm.tracking import check_tracking
from speechladder.settings import DIMENSIONS, LM, Settings, Units, load
from speechladder.settings.loading import mistakes, not_allowed
from speechladder.settings.units import SHIPPED, encoder_folder

SOURCE = "the configuration (config/config.yaml, --configfile, --config)"


def find(given: str, home: Path) -> str:
    """The absolute path of a file or folder that the configuration names.

    Looked for from where the command was typed (which `--directory` does not change), then from the working
    directory, then from the workflow's folder `home`. Raises UserError that lists where it looked.
    """
    tried = [Path(base) / Path(given).expanduser() for base in (os.environ.get("PWD", "."), Path.cwd(), home)]
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        raise UserError(f"{given}: no such file or folder; looked at " + ", ".join(dict.fromkeys(map(str, tried))))
    return str(found.resolve())


def _encoder(units: Units, home: Path) -> str:
    """`units.encoder` as the stages take it: hubert-micro, the path of a folder, a hub's OWNER/NAME, or for s3prl
    NAME or NAME:CHECKPOINT.

    Raises UserError where it is none of them, and where a folder has fewer layers than `units.layer`.
    """
    if units.source == "s3prl":
        return _upstream(units.encoder, home)
    given, folder = units.encoder, encoder_folder(units.encoder)
    if given != SHIPPED:
        try:
            folder = Path(find(given, home))
        except UserError as error:
            if is_hub_name(given):
                return given  # a hub's; how many layers it has is known where it is loaded
            hint = suggestion(given, [SHIPPED])
            raise UserError(
                f"units.encoder: {error}; {hint}allowed: {SHIPPED}, a folder, or OWNER/NAME of a hub"
            ) from None
    try:
        found = read_json(folder / "config.json")
    except UserError as error:
        raise UserError(f"units.encoder: {given} is no model folder: {error!s}") from None
    _check_encoder(found, given, units)
    return given if given == SHIPPED else str(folder)


def _check_encoder(config: dict[str, Any], given: str, units: Units) -> None:
    """Raise UserError where an encoder's config.json is of another kind than `units.source`, or of fewer layers."""
    kind, layers = config.get("model_type"), config.get("num_hidden_layers")
    if not isinstance(layers, int):
        raise UserError(f"units.encoder: {given} is no model folder: its config.json has no num_hidden_layers")
    if units.source not in ("auto", kind):
        raise UserError(f"units.source: {units.source}, but {given} is a {kind!r} model; write source: auto")
    if units.layer > layers:
        raise UserError(f"units.layer: {units.layer} is out of range; {given} has the layers 1 to {layers}")


def check_sweep(settings: Settings, home: Path) -> None:
    """Raise UserError where a point of the sweep cannot be: a layer that is not there, more clusters than frames."""
    layer, clusters = max(settings.sweep.layers), max(settings.sweep.clusters)
    try:
        _encoder(settings.units.model_copy(update={"layer": layer}), home)
    except UserError as error:
        raise UserError(str(error).replace("units.layer", "sweep.layers")) from None
    if clusters > settings.units.sample_frames:
        raise UserError(
            f"sweep.clusters: {clusters} clusters from units.sample_frames: {settings.units.sample_frames}; raise the "
            "latter, or lower the former"
        )


def _upstream(given: str, home: Path) -> str:
    """The same of an s3prl upstream, whose layers and frames `check_s3prl` finds out."""
    from speechladder.units.encoders.s3prl_environment import split_encoder

    name, checkpoint = split_encoder(given)
    if checkpoint is None or checkpoint.startswith(("http://", "https://")):
        return given
    try:
        return f"{name}:{find(checkpoint, home)}"
    except UserError as error:
        if name.startswith("hf_") and is_hub_name(checkpoint):
            return given
        raise UserError(f"units.encoder: {error}") from None


def checked(config: dict[str, Any], home: Path) -> Settings:
    """The settings of a run, with paths made absolute.

    Raises UserError naming the field for every mistake that can be found before a job runs.
    """
    settings = load(config, SOURCE)
    check_rungs(settings)
    values = settings.model_dump()

    def place(field: str, path: str) -> str:
        try:
            return find(path, home)
        except UserError as error:
            raise UserError(f"{field}: {error}") from None

    if settings.corpus.path and settings.corpus.name == "local":
        values["corpus"]["path"] = place("corpus.path", settings.corpus.path)
    if settings.corpus.source:
        values["corpus"]["source"] = place("corpus.source", settings.corpus.source)
    _place_data(values, home)
    if settings.units.source == "external":
        for field in ("path", "items_path"):
            if given := values["units"][field]:
                values["units"][field] = place(f"units.{field}", given)
    else:
        values["units"]["encoder"] = _encoder(settings.units, home)
    if python := settings.units.s3prl_python:  # a link, and what it leads to has no s3prl
        values["units"]["s3prl_python"] = str(
            Path(place("units.s3prl_python", str(Path(python).parent)), Path(python).name)
        )
    for task in TASKS:
        values["benchmarks"][task] = [place(f"benchmarks.{task}", p) for p in values["benchmarks"][task]]
    _place_models(values["continuation"], home)
    _check_architectures(settings)
    if settings.lm.init:
        values["lm"] |= _init(settings, home)
    check_tracking(settings.lm.tracking)
    values["continuation"]["judge_text"] = [
        place("continuation.judge_text", path) for path in settings.continuation.judge_text
    ]
    settings = load(values)
    if settings.units.source == "external":
        _check_units(settings.units)
    if settings.continuation.enabled:
        _check_models(settings)
    elif stories_need_transcripts(settings):
        _check_asr(settings)
    _check_data(settings)
    return settings


def check_rungs(settings: Settings) -> None:
    """Raise UserError if a rung of the settings is not registered, with the nearest name and every allowed one."""
    from speechladder.rungs import registry

    given = {"rungs": settings.rungs, "scaling.rungs": settings.scaling.rungs}
    names = registry.names()
    wrong = [
        (f"{field}.{n}", rung) for field, rungs in given.items() for n, rung in enumerate(rungs) if rung not in names
    ]
    if wrong:
        raise mistakes(SOURCE, [not_allowed(field, rung, names) for field, rung in wrong])


def _check_units(units: Units) -> None:
    """Every mistake in the user's own units that their files' first rows show."""
    from speechladder.units.external.read import has_durations

    durations = has_durations(units.path, "units.path")
    if units.items_path:
        has_durations(units.items_path, "units.items_path")
    if units.repeat and not durations:
        raise UserError(f"units.repeat: the units in {units.path} have no durations, by which they would be repeated")


def units_are_frames(settings: Settings) -> bool:
    """Whether units are one for each 50 Hz frame, which vocoders and the continuation of units need."""
    units = settings.units
    if units.source != "external":
        return True
    from speechladder.units.external.read import has_durations

    return units.rate == 50 and (units.repeat or not has_durations(units.path))


def _check_architectures(settings: Settings) -> None:
    """Raise UserError if the architecture of the models, or of a size of `scaling`, is not known."""
    get_architecture(settings.lm.architecture)
    for size in settings.scaling.sizes:
        name = size.get("architecture", settings.lm.architecture)
        get_architecture(name, f"scaling.sizes.{size['name']}.architecture")


def _init(settings: Settings, home: Path) -> dict[str, Any]:
    """`lm.init` as the stages take it, an absolute folder or a hub's OWNER/NAME, and its dimensions where it
    is there."""
    from speechladder.lm.warm_start import weight_files, with_init_dimensions

    lm = settings.lm.model_copy(update={"init": _placed(settings.lm.init, home)})
    found = with_init_dimensions(lm).model_dump(include={"init", *DIMENSIONS})
    if Path(lm.init).is_dir():
        weight_files(Path(lm.init))
    return found


def _placed(given: str, home: Path) -> str:
    """The absolute path of what is on disk; another word as it is."""
    try:
        return find(given, home)
    except UserError:
        return given


def _place_data(values: dict[str, Any], home: Path) -> None:
    """Absolute paths for the archives, manifests and models of the aligner that lie on disk; other words are names."""
    for section, field in (
        *(("corpus", name) for name in ("manifests", "archives")),
        *(("benchmarks", name) for name in ("slm21", "storycloze", "storycloze_text")),
        *(("alignment", name) for name in ("mfa_model", "mfa_dictionary", "mfa_g2p", "lexicon", "textgrids")),
    ):
        value = values[section][field]
        if isinstance(value, list):
            values[section][field] = [
                given if given in values["downloads"]["files"] else _placed(given, home) for given in value
            ]
        elif value is not None and value not in values["downloads"]["files"]:
            values[section][field] = _placed(value, home)


def _check_data(settings: Settings) -> None:
    """Every archive, manifest and alignment that is neither there nor to be downloaded, before any job."""
    from speechladder.alignment.check import check_aligner_files
    from speechladder.workflow.sources import check

    check(settings)
    check_aligner_files(settings.alignment, settings.downloads.files)


def _place_models(values: dict[str, Any], home: Path) -> None:
    """Absolute paths for the models of the continuation that lie on disk; what does not, is judged by its own part."""
    from speechladder.continuation.asr.checks import SIZES

    for field, words in {"whisper": SIZES, "vocoder": ("run",), "judge_model": ()}.items():
        if values[field] not in words:
            values[field] = _placed(values[field], home)


def _check_models(settings: Settings) -> None:
    """Every mistake in the continuation's models that shows without loading or downloading them."""
    from speechladder.continuation.judge.checks import check_judge
    from speechladder.continuation.vocoder.checks import check_vocoder

    if needs_vocoder(settings):
        check_vocoder(settings.continuation.vocoder, settings.units.clusters, _needs_durations(settings))
    _check_asr(settings)
    check_judge(settings.continuation)


def _check_asr(settings: Settings) -> None:
    from speechladder.continuation.asr.checks import check_asr

    check_asr(settings.continuation)


def stories_need_transcripts(settings: Settings) -> bool:
    """Whether the ASR gives the texts of the stories of Topic-StoryCloze."""
    return bool(settings.benchmarks.storycloze and not settings.benchmarks.storycloze_text)


def check_hubs(settings: Settings) -> None:
    """Whether the hub gives the models that the run names by OWNER/NAME, and their config.json says what is needed;
    asks the network, so once, when jobs start."""
    from speechladder.continuation.asr.checks import check_whisper_config
    from speechladder.continuation.judge.checks import check_judge_config
    from speechladder.continuation.vocoder.checks import check_vocoder_config
    from speechladder.io.hub import fetch_config

    if settings.lm.init and not Path(settings.lm.init).exists():
        _check_init(fetch_config(settings.lm.init, "lm.init"), settings.lm)
    units = settings.units
    if units.source not in ("external", "s3prl") and units.encoder != SHIPPED and not Path(units.encoder).exists():
        _check_encoder(fetch_config(units.encoder, "units.encoder"), units.encoder, units)
    wanted = settings.continuation
    used = {
        "vocoder": wanted.vocoder != "run" and needs_vocoder(settings),
        "whisper": wanted.asr == "whisper",
        "judge_model": wanted.judge == "hf",
    }
    for field, needed in used.items():
        given = getattr(wanted, field)
        stories = field == "whisper" and stories_need_transcripts(settings)
        if not (needed and (stories or spoken_rungs(settings))) or Path(given).exists() or not is_hub_name(given):
            continue
        config = fetch_config(given, f"continuation.{field}")
        if field == "vocoder":
            check_vocoder_config(config, given, settings.units.clusters, _needs_durations(settings))
        else:
            (check_whisper_config if field == "whisper" else check_judge_config)(config, given)


def _check_init(file: dict[str, Any], lm: LM) -> None:
    from speechladder.lm.warm_start import check_init_config, with_init_dimensions

    check_init_config(file, lm.init, lm.architecture)
    with_init_dimensions(lm, file)


def _needs_durations(settings: Settings) -> bool:
    """Whether some rung's continuations are units without durations, which the vocoder must predict."""
    return any(transcribed_as(rung) == "unit-runs" for rung in spoken_rungs(settings))


def transcribed_as(rung: str) -> str | None:
    """The kind of a rung's symbols (rungs.registry.TRANSCRIBED_AS); None for a rung without continuations."""
    from speechladder.rungs import registry

    return registry.get(rung).transcribed_as


def spoken_rungs(settings: Settings) -> list[str]:
    """The rungs with continuations: not those of units other than 50 Hz frames, which no vocoder here can speak."""
    spoken = [rung for rung in settings.rungs if settings.continuation.enabled and transcribed_as(rung)]
    return spoken if units_are_frames(settings) else [rung for rung in spoken if not reads_units(rung)]


def silent_rungs(settings: Settings) -> list[str]:
    """The rungs that `spoken_rungs` leaves out for their units."""
    spoken = set(spoken_rungs(settings))
    return [r for r in settings.rungs if settings.continuation.enabled and transcribed_as(r) and r not in spoken]


def needs_vocoder(settings: Settings, rung: str | None = None) -> bool:
    """Whether a rung's continuations are units, which need a vocoder. Without `rung`: whether any rung's are."""
    rungs = [rung] if rung else spoken_rungs(settings)
    return any((transcribed_as(name) or "").startswith("unit") for name in rungs)


def reads_units(rung: str) -> bool:
    """Whether a rung's prompts are made of units."""
    from speechladder.rungs import registry

    return "units" in registry.get(rung).needs
