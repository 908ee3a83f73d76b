"""Bad input never vanishes and never stops the rest (invariant 4): it is listed with its reason."""

import json
import sys
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl


class Rejects:
    """Utterances that a stage leaves out, with why."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []
        self.mentions: list[dict[str, str]] = []

    def add(self, utterance: str, reason: str, source: str | Path = "") -> None:
        """Note one; `source` is the file to look at."""
        self.rows.append({"id": utterance, "reason": reason, "source": str(source)})

    def mention(self, what: str, reason: str, source: str | Path = "") -> None:
        """List something that is no utterance of the stage: it is written with the rejects, but not counted."""
        self.mentions.append({"id": what, "reason": reason, "source": str(source)})

    def write(self, path: str | Path, total: int, max_share: float) -> None:
        """Write `<stage>/rejected.{shard}.jsonl`.

        Raises UserError when more than `max_share` of `total` was rejected; Snakemake removes a failed job's
        files, so the list then goes to stderr, which is the job's log.
        """
        write_jsonl(path, [*self.mentions, *self.rows])
        if total and len(self.rows) > max_share * total:
            for row in self.rows:
                sys.stderr.write(f"rejected: {json.dumps(row, ensure_ascii=False)}\n")
            first = "; ".join(f"{r['id']}: {r['reason']}" for r in self.rows[:3])
            raise UserError(
                f"{len(self.rows)} of {total} utterances rejected, more than corpus.max_rejected = {max_share} allows "
                f"({first}); all are listed above; mend the input or raise corpus.max_rejected"
            )
