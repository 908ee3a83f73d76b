"""Checks of the aligner's settings before any job starts. The Snakefile imports this file, so it imports little."""

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.settings import Alignment

PRETRAINED = re.compile(r"[A-Za-z]\w*")  # names of the models of `mfa model download`
EXAMPLE = "english_us_arpa"
SUFFIXES = {"mfa_model": ".zip", "mfa_dictionary": ".dict", "mfa_g2p": ".zip"}


def is_pretrained_name(model: str) -> bool:
    """Whether `model` is the name of a pretrained model; a path or the name of a file is not."""
    return PRETRAINED.fullmatch(model) is not None


def check_mfa_command(alignment: Alignment, conda: bool) -> None:
    """Raise UserError if the run needs the command mfa and will not have it.

    `conda`: whether jobs run in the environments of their rules (--sdm conda); envs/mfa.yaml provides the command.
    """
    if alignment.aligner == "mfa" and not conda and shutil.which("mfa") is None:
        raise UserError(
            "alignment.aligner: mfa: there is no `mfa` on PATH; let Snakemake make its environment (--sdm conda), or "
            "activate one with it (conda env create -f envs/mfa.yaml), or take aligner: pocketsphinx"
        )


def check_aligner_files(alignment: Alignment, downloads: Collection[str] = ()) -> None:
    """Raise UserError if a file that the aligner in use reads is missing.

    A model may also be the name of a pretrained one, and any file may be one of `downloads`.
    """
    if alignment.aligner == "textgrids" and not alignment.textgrids:
        raise UserError("alignment.textgrids: is missing; name the folder, .zip or .tar with the TextGrids")
    if alignment.aligner != "mfa":
        return
    for field, suffix in SUFFIXES.items():
        given = getattr(alignment, field)
        if given is None or given in downloads or (is_pretrained_name(given) and not Path(given).is_file()):
            continue
        if not Path(given).is_file():
            raise UserError(
                f"alignment.{field}: {given}: no such file, nor the name of a pretrained model (such as {EXAMPLE})"
            )
        if not given.endswith(suffix):
            raise UserError(f"alignment.{field}: {given} is no {suffix} file; give a {suffix} file")
    lexicon = alignment.lexicon
    if lexicon and lexicon not in downloads and not Path(lexicon).is_file():
        raise UserError(
            f"alignment.lexicon: {lexicon}: no such file; name a text file with a word and its "
            "ARPAbet phones on each line"
        )
