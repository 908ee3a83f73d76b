"""Scores of sLM21 in zerospeech's submission format: a line `FILENAME SCORE` for each recording of a split."""

import csv
from collections.abc import Sequence
from pathlib import Path

from speechladder.benchmarks.slm21 import PARTS, folder_of, recordings
from speechladder.fetch.archives import open_store
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder
from speechladder.io.progress import say
from speechladder.io.tables import SCORES, read_table

NORMS = ("sum", "mean")
MISSING = ("part", "split", "filename")
SHOWN = 5  # missing recordings that the warning names


def export_slm21(
    archive: str | Path, scores: dict[str, Path], splits: Sequence[str], seed: int, norm: str, out: Path
) -> int:
    """Write the folder `out`: lexical/{split}.txt and syntactic/{split}.txt, and missing.tsv; how many are missing.

    `scores`: swuggy, sblimp -> scores/{rung}/{task}.parquet, of which those of model `seed` are taken. A score is the
    log-likelihood in nats, summed over tokens or (`norm` mean) per token, written so that equal scores stay equal.
    Recordings of the archive that were not scored are listed in missing.tsv, and in a warning, since zerospeech takes a
    submission only with every one. Raises UserError where the seed was not scored.
    """
    if norm not in NORMS:
        raise UserError(f"--norm: {norm!r}; allowed: {', '.join(NORMS)}")
    store, missing = open_store(archive), []
    with atomic_folder(out) as folder:
        for task, part in PARTS.items():
            rows = read_table(scores[task], SCORES, ["item", "seed", "nll", "tokens"]).to_pylist()
            known = {row["item"]: row for row in rows if row["seed"] == seed}
            if not known:
                raise UserError(f"{scores[task]}: model seed {seed} is not scored; see lm.seeds")
            (folder / part).mkdir()
            for split in splits:
                names = recordings(store, folder_of(store, part, split, str(archive)))
                scored = {name: known[item] for name in sorted(names) if (item := f"{split}/{name}") in known}
                lines = (f"{name} {_score(row, norm)!r}\n" for name, row in scored.items())
                (folder / part / f"{split}.txt").write_text("".join(lines))
                missing += [(part, split, name) for name in sorted(names) if name not in scored]
        with (folder / "missing.tsv").open("w", newline="") as handle:
            csv.writer(handle, delimiter="\t", lineterminator="\n").writerows([MISSING, *missing])
    if missing:
        some = ", ".join("/".join(row) for row in missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        say(
            f"warning: {len(missing)} recordings have no score ({some}), without which zerospeech does not take the "
            f"submission; {out}/missing.tsv has all, benchmarks/{{swuggy,sblimp}}/rejected.jsonl says why, unless "
            "benchmarks.max_pairs left them out"
        )
    return len(missing)


def _score(row: dict, norm: str) -> float:
    return -row["nll"] if norm == "sum" else -row["nll"] / row["tokens"]
