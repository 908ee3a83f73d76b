"""Bad input is listed with its reason; it never disappears silently and never stops the rest."""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl


class Rejects:
    """What a stage leaves out, each with its reason: utterances, or the members of an archive."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []
        self.mentions: list[dict[str, str]] = []

    def add(self, name: str, reason: str, source: str | Path = "") -> None:
        """Reject one; `source` is the file to look at."""
        self.rows.append({"id": name, "reason": reason, "source": str(source)})

    def mention(self, what: str, reason: str, source: str | Path = "") -> None:
        """List something that is no utterance of the stage; it is written with the rejects but not counted."""
        self.mentions.append({"id": what, "reason": reason, "source": str(source)})

    def log(self) -> None:
        """Print the rejects to stderr, which is the job's log: Snakemake removes the files of a job that fails."""
        for row in self.rows:
            sys.stderr.write(f"rejected: {json.dumps(row, ensure_ascii=False)}\n")

    def write(self, path: str | Path, total: int, max_share: float) -> None:
        """Write `<stage>/rejected.{shard}.jsonl`.

        Raises UserError if more than `max_share` of `total` was rejected; the list is then in the log too.
        """
        write_jsonl(path, [*self.mentions, *self.rows])
        if total and len(self.rows) > max_share * total:
            self.log()
            first = "; ".join(f"{r['id']}: {r['reason']}" for r in self.rows[:3])
            raise UserError(
                f"{len(self.rows)} of {total} utterances rejected, more than corpus.max_rejected = {max_share} allows "
                f"({first}); all are listed above; correct the input or raise corpus.max_rejected"
            )


def found_instead(names: Iterable[str | PurePath], left_out: Iterable[dict[str, str]]) -> str:
    """What a folder or an archive without a usable file holds, as a part of an error; '' if it holds nothing.

    `names`: its files. `left_out`: the rows of a Rejects.
    """
    kinds = Counter(PurePath(name).suffix.lower() or "no suffix" for name in names)
    reasons = Counter(row["reason"] for row in left_out)
    said = [f"{count:,} of {kind}" for kind, count in kinds.most_common(4)]
    said += [f"{count:,} left out: {reason}" for reason, count in reasons.most_common(3)]
    return f"; it holds {', '.join(said)}" if said else ""
