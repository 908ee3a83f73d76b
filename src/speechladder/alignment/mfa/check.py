"""Mistakes in the aligner's settings that show before any job. Light: the Snakefile imports it."""

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.settings import Alignment

PRETRAINED = re.compile(r"[A-Za-z]\w*")  # what `mfa model download` calls its models
EXAMPLE = "english_us_arpa"
SUFFIXES = {"mfa_model": ".zip", "mfa_dictionary": ".dict", "mfa_g2p": ".zip"}


def is_name(given: str) -> bool:
    """Whether `given` names a pretrained model; a path and a file's name do not."""
    return PRETRAINED.fullmatch(given) is not None


def check_mfa(alignment: Alignment, conda: bool) -> None:
    """Raise UserError where the run needs the command mfa and will not have it.

    `conda`: whether jobs run in the environments of their rules (--sdm conda), one of which has it.
    """
    if alignment.aligner == "mfa" and not conda and shutil.which("mfa") is None:
        raise UserError(
            "alignment.aligner: mfa: there is no `mfa` on PATH; let Snakemake make its environment (--sdm conda), or "
            "activate one with it (conda env create -f envs/mfa.yaml), or take aligner: pocketsphinx"
        )


def check_files(alignment: Alignment, downloads: Collection[str] = ()) -> None:
    """Raise UserError for what the aligner in use reads and that is neither there, nor the name of a model, nor one
    of `downloads`."""
    if alignment.aligner == "textgrids" and not alignment.textgrids:
        raise UserError("alignment.textgrids: is missing; name the folder, .zip or .tar with the TextGrids")
    if alignment.aligner != "mfa":
        return
    for field, suffix in SUFFIXES.items():
        given = getattr(alignment, field)
        if given is None or given in downloads or (is_name(given) and not Path(given).is_file()):
            continue
        if not Path(given).is_file():
            raise UserError(
                f"alignment.{field}: {given}: no such file, nor a pretrained one's name (such as {EXAMPLE})"
            )
        if not given.endswith(suffix):
            raise UserError(f"alignment.{field}: {given} is no {suffix} file")
    lexicon = alignment.lexicon
    if lexicon and lexicon not in downloads and not Path(lexicon).is_file():
        raise UserError(f"alignment.lexicon: {lexicon}: no such file; a word and its ARPAbet phones a line")
