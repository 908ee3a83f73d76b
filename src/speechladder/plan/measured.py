"""What an earlier run in the results folder has measured, as far as it had the same settings."""

from dataclasses import dataclass, field
from pathlib import Path

from speechladder.settings import Settings
from speechladder.workflow.record import CORPUS, Record, differences

TOKENS = (*CORPUS, "alignment", "tokens")  # sections of the settings that decide the tokens of a rung
SHOWN = 2  # differences that a reason lists


@dataclass(frozen=True)
class Measured:
    """The results folder of a planned run; `record` is what the last run there recorded of its settings, if anything.

    `reasons` collects why files were not used, for the page.
    """

    results: Path
    settings: Settings
    record: Record | None
    reasons: list[str] = field(default_factory=list)

    def file(self, name: str, *sections: str) -> Path | None:
        """Return an artefact's path, or None if it does not exist or was made with other settings in `sections`."""
        path = self.results / name
        if not path.is_file():
            return None
        if self.record is None:
            return self._refuse("the run there left no record of its settings")
        found = differences(self.record, self.settings, sections)
        if not found:
            return path
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return self._refuse("the run there had other settings (" + "; ".join(found[:SHOWN]) + more + ")")

    def _refuse(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)
