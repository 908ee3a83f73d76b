"""Scores of sLM21 in zerospeech's submission format: a line `FILENAME SCORE` for each recording of a split."""

import csv
from collections.abc import Sequence
from pathlib import Path

from speechladder.benchmarks.slm21 import LEXICAL, SYNTACTIC, folder_of, recordings
from speechladder.constants import ItemNorm
from speechladder.fetch.archives import open_store
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder
from speechladder.io.progress import say
from speechladder.io.tables import SCORES, read_table

MISSING = ("part", "split", "filename")
SHOWN = 5  # missing recordings that the warning names


def export_slm21(
    slm21: Path,
    swuggy: Path,
    sblimp: Path,
    out: Path,
    splits: Sequence[str] = ("dev",),
    seed: int = 0,
    norm: ItemNorm = "sum",
) -> int:
    """Write the scores of one model on sLM21 in zerospeech's submission format.

    The folder gets lexical/{split}.txt, syntactic/{split}.txt and missing.tsv. A score is a log-likelihood in nats,
    written in full, so equal scores stay equal. missing.tsv lists the recordings of the archive that have no score, and
    a warning names some of them, since zerospeech rejects an incomplete submission. Returns the number of
    missing recordings. Raises UserError if the model of this seed was not scored.

    Args:
        slm21: sLM21, a folder or .zip: the recordings that a submission needs
        swuggy: scores/{rung}/swuggy.parquet
        sblimp: scores/{rung}/sblimp.parquet
        out: folder submission/{rung}/seed{seed} to write
        splits: splits of sLM21
        seed: the seed of the model
        norm: log-likelihood summed over tokens, or the mean per token
    """
    store, missing = open_store(slm21), []
    with atomic_folder(out) as folder:
        for part, path in ((LEXICAL, swuggy), (SYNTACTIC, sblimp)):
            rows = read_table(path, SCORES, ["item", "seed", "nll", "tokens"]).to_pylist()
            known = {row["item"]: row for row in rows if row["seed"] == seed}
            if not known:
                raise UserError(f"{path}: model seed {seed} is not scored; see lm.seeds")
            (folder / part).mkdir()
            for split in splits:
                names = recordings(store, folder_of(store, part, split, str(slm21)))
                scored = {name: known[item] for name in sorted(names) if (item := f"{split}/{name}") in known}
                lines = (f"{name} {_score(row, norm)!r}\n" for name, row in scored.items())
                (folder / part / f"{split}.txt").write_text("".join(lines))
                missing += [(part, split, name) for name in sorted(names) if name not in scored]
        with (folder / "missing.tsv").open("w", newline="") as handle:
            csv.writer(handle, delimiter="\t", lineterminator="\n").writerows([MISSING, *missing])
    if missing:
        some = ", ".join("/".join(row) for row in missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        say(
            f"warning: {len(missing)} recordings have no score ({some}), and zerospeech rejects a submission without "
            f"them; {out}/missing.tsv lists all. Either benchmarks.max_pairs left them out, or "
            "benchmarks/{swuggy,sblimp}/rejected.jsonl gives the reasons"
        )
    return len(missing)


def _score(row: dict, norm: ItemNorm) -> float:
    return -row["nll"] if norm == "sum" else -row["nll"] / row["tokens"]
