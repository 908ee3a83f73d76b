"""A run's configuration, checked before any job, with every path found."""

from pathlib import Path
from typing import Any

from speechladder.lm.tracking import check_tracking
from speechladder.settings import Settings, load
from speechladder.workflow.checks import (
    SOURCE,
    check_architectures,
    check_encoder,
    check_files,
    check_gpu,
    check_rungs,
    init_with_dimensions,
)
from speechladder.workflow.external import place_models
from speechladder.workflow.paths import check_inputs, place_files
from speechladder.workflow.rungs import check_units_of


def checked(config: dict[str, Any], home: Path, computes: bool = False) -> Settings:
    """The settings of a run, with absolute paths; `home` is the checkout.

    `computes`: whether the jobs of the run compute on this machine, with this Python. Raises UserError that names the
    field for every mistake that can be found before a job runs.
    """
    settings = load(config, SOURCE)
    check_rungs(settings)
    values = place_files(settings, home)
    if settings.units.source != "external":
        values["units"]["encoder"] = check_encoder(settings.units, home)
    check_architectures(settings)
    if settings.lm.init:
        values["lm"] |= init_with_dimensions(settings.lm, home)
    if settings.external.models:
        values["external"] = place_models(load(values), home)
    check_tracking(settings.lm.tracking)
    settings = load(values)
    check_inputs(settings, home)
    check_files(settings)
    check_units_of(settings.rungs, settings)
    if computes:
        check_gpu(settings)
    return settings
