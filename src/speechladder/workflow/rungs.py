"""What the rungs of a run need: which have continuations, and which of those need units or a vocoder."""

from collections.abc import Sequence

from speechladder.io.errors import UserError
from speechladder.settings import Settings


def transcribed_as(rung: str) -> str | None:
    """The kind of a rung's symbols (rungs.registry.TRANSCRIBED_AS); None for a rung without continuations."""
    from speechladder.rungs import registry

    return registry.get(rung).transcribed_as


def reads_units(rung: str) -> bool:
    """Whether a rung's prompts are made of units."""
    from speechladder.rungs import registry

    return "units" in registry.get(rung).needs


def reads_confusions(rung: str) -> bool:
    """Whether a rung draws phones from the run's table of phones and units."""
    from speechladder.rungs import registry

    return "confusions" in registry.get(rung).needs


def units_are_frames(settings: Settings) -> bool:
    """Whether there is one unit for each 50 Hz frame. Vocoders, and continuations of units, need that."""
    units = settings.units
    if units.source != "external":
        return units.segments == "frame"
    from speechladder.units.external.read import has_durations

    one = units.rate == 50 and units.streams == 1
    return one and (units.repeat or not has_durations(units.path, codebooks=units.num_codebooks))


def check_units_of(rungs: Sequence[str], settings: Settings, field: str = "rungs") -> None:
    """Raise UserError if a rung of `field` cannot be made from the run's units.

    Some need a unit per 50 Hz frame. Those that draw confusions need a rate.
    """
    from speechladder.rungs import registry

    units, needs = settings.units, {rung: registry.get(rung).needs for rung in rungs}
    external = units.source == "external"
    framed = [rung for rung in rungs if "frames" in needs[rung]]
    if framed and not units_are_frames(settings):
        made = "those in units.path" if external else f"segments (units.segments: {units.segments})"
        fix = "take an encoder" if external else "write units.segments: frame"
        raise UserError(
            f"{field}: {', '.join(framed)}: each unit must be a 50 Hz frame, and these units are {made}; leave out "
            f"these rungs, or {fix}"
        )
    confused = [rung for rung in rungs if "confusions" in needs[rung]]
    if confused and external and not units.rate:
        raise UserError(
            f"{field}: {', '.join(confused)}: units without a rate belong to no phone; set units.rate, or leave out "
            "these rungs"
        )


def spoken_rungs(settings: Settings) -> list[str]:
    """The rungs with continuations. Rungs of units have none unless the units are 50 Hz frames."""
    spoken = [rung for rung in settings.rungs if settings.continuation.enabled and transcribed_as(rung)]
    return spoken if units_are_frames(settings) else [rung for rung in spoken if not reads_units(rung)]


def silent_rungs(settings: Settings) -> list[str]:
    """The rungs that `spoken_rungs` leaves out because of their units."""
    spoken = set(spoken_rungs(settings))
    return [r for r in settings.rungs if settings.continuation.enabled and transcribed_as(r) and r not in spoken]


def needs_vocoder(settings: Settings, rung: str | None = None) -> bool:
    """Whether a rung's continuations are units, which need a vocoder. Without `rung`: whether any rung's are."""
    rungs = [rung] if rung else spoken_rungs(settings)
    return any((transcribed_as(name) or "").startswith("unit") for name in rungs)


def needs_durations(settings: Settings) -> bool:
    """Whether some rung's continuations are units without durations, which the vocoder must predict."""
    return any(transcribed_as(rung) == "unit-runs" for rung in spoken_rungs(settings))


def stories_need_transcripts(settings: Settings) -> bool:
    """Whether the ASR gives the texts of the stories of Topic-StoryCloze."""
    return bool(settings.benchmarks.storycloze and not settings.benchmarks.storycloze_text)
