"""Write results/diagnosis.json and results/diagnosis.html."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder.analysis.diagnosis import diagnose, parse_json
from speechladder.io.files import read_json, write_json
from speechladder.report.diagnosis.figures import COLOURS
from speechladder.report.diagnosis.sections import sections, tokenizer_name
from speechladder.report.page.build import write
from speechladder.settings import Analysis


def diagnose_units(
    quality: Path,
    items: Path,
    about: Path,
    probe_units: Path,
    units: list[Path],
    alignment: list[Path],
    published: Path,
    out: Path,
    page: Path,
    analysis: Analysis,
    tokenizer: str = "{}",
    corpus: str = "{}",
    resynthesis: Path | None = None,
    entries: Path | None = None,
    seed: int = 0,
) -> None:
    """Say what units keep and where they lose: rates, phones, causes of variability, speakers, words, resynthesis.

    Raise UserError if an input is missing or of another run.

    Args:
        quality: diagnosis/quality.json
        items: probe/items.parquet
        about: probe/about.json
        probe_units: probe/units.parquet
        units: units/{shard}.parquet of every shard
        alignment: alignment/{shard}.parquet of every shard, in the same order
        published: the folder data/published of the repository, with published rows
        out: diagnosis.json to write
        page: diagnosis.html to write
        tokenizer: the settings of units that are not the default, as JSON
        corpus: what the speech of the run is, as JSON
        resynthesis: units/resynthesis.json; without it there is none
        entries: the folder leaderboard/entries of the repository, whose diagnoses of the same speech are set beside
        seed: seed of the draws and of the resamples
    """
    settings, speech = parse_json(tokenizer, "--tokenizer"), parse_json(corpus, "--corpus")
    found = diagnose(
        quality,
        items,
        about,
        probe_units,
        units,
        alignment,
        published,
        analysis,
        resynthesis,
        settings,
        speech,
        seed,
    )
    write_json(out, found)
    others = read_entries(entries, found["conditions"]) if entries else {}
    write(page, sections(found, others), COLOURS, f"speechladder: diagnosis of {tokenizer_name(settings)}")


def read_entries(folder: Path, conditions: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The diagnoses of the leaderboard's entries under the same conditions, by the entry's name."""
    found = {path.parent.name: read_json(path) for path in sorted(folder.glob("*/diagnosis.json"))}
    return {name: content for name, content in found.items() if content.get("conditions") == dict(conditions)}
