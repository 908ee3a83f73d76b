"""The pages for readers: what they link to and name exists, and the tables of artefacts say what the code says."""

import re
from pathlib import Path

import pytest

from speechladder.io import tables
from speechladder.settings.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
# The log says what was tried at its time, with the names of that time.
CURRENT = [path for path in PAGES if path.name != "log.md"]
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _code(text: str) -> list[str]:
    """Code blocks and spans."""
    blocks = re.findall(r"^ *```.*?\n(.*?)^ *```", text, flags=re.M | re.S)
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    return blocks + re.findall(r"`([^`]+)`", prose)


def _slug(heading: str) -> str:
    """The anchor of a heading, as it is rendered on a Git host."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_relative_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert path.is_relative_to(ROOT), target
        if anchor:
            assert anchor in map(_slug, re.findall(r"^#+ (.*)", path.read_text(), flags=re.M)), target


@pytest.mark.parametrize("page", CURRENT, ids=_id)
def test_scripts_files_and_targets_exist(page):
    text = page.read_text()
    folders = "scripts|src|tests|presets|recipes|envs|containers|workflow|benchmarks"
    paths = set(re.findall(rf"(?<![\w/])(?:{folders})/[\w./-]*\w", text))
    # NAME stands for a name of the reader's; benchmarks/ is also a folder of results
    paths = {path for path in paths if "NAME" not in path and not re.match(r"benchmarks/(?!\w+\.(py|json)$)", path)}
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    named = {word for code in _code(text) for word in re.findall(r"(?:^|\s)make ([a-z][a-z0-9-]*)", code, flags=re.M)}
    assert named <= TARGETS


def test_the_files_to_touch_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w./-]+/[\w.-]*)`", page[page.index("## To change something") :])
    named = [name for name in named if not name.startswith("results/")]
    assert len(named) > 15
    missing = [name for name in named if not any((top / name).exists() for top in (ROOT, ROOT / "src/speechladder"))]
    assert [name for name in missing if name != "units/quality.json"] == []


def _rows() -> list[list[str]]:
    page = (ROOT / "docs" / "artefacts.md").read_text()
    lines = page[: page.index("## Definitions")].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]
    assert all(len(row) == 3 for row in rows)
    return rows


def test_artefacts_are_made_by_rules_and_every_rule_makes_some():
    assert {rule for row in _rows() for rule in re.findall(r"`(\w+)`", row[1])} == STAGES.keys()


@pytest.mark.parametrize(
    ("artefact", "schema"),
    {
        "corpus/index/{archive}.parquet": tables.INDEX,
        "alignment/{shard}.parquet": tables.ALIGNMENT,
        "units/{shard}.parquet": tables.UNITS,
        "tokens/utterances.parquet": tables.UTTERANCES,
        "tokens/{rung}/": tables.TOKEN_INDEX,
        "benchmarks/{task}/items.parquet": tables.ITEMS,
        "benchmarks/{task}/{rung}.parquet": tables.ITEM_TOKENS,
        "scores/{rung}/{task}.parquet": tables.SCORES,
        "scores/{rung}/learning.parquet": tables.LEARNING,
        "external/{name}.parquet": tables.EXTERNAL_SCORES,
        "continuation/prompts.parquet": tables.PROMPTS,
        "continuation/{rung}/tokens.parquet": tables.CONTINUATIONS,
        "continuation/{rung}/transcripts.parquet": tables.TRANSCRIPTS,
        "continuation/reference.parquet": tables.REFERENCE,
        "continuation/judged.parquet": tables.JUDGED,
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_columns_of_a_table_are_those_of_its_schema(artefact, schema):
    about = next(row[2] for row in _rows() if row[0] == f"`{artefact}`")
    named = {word for span in re.findall(r"`([^`]+)`", about) for word in re.findall(r"\w+", span)}
    assert set(schema.names) <= named
