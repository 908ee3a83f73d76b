"""The run itself: its settings, where it comes from, how to run it again, and how to cite it."""

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from speechladder import __version__
from speechladder.io.files import read_json
from speechladder.io.hashing import files_sha256
from speechladder.lm.output import commit
from speechladder.report.page.section import Section, Table
from speechladder.settings import Settings, tracked

CITATION = Path(__file__).resolve().parents[5] / "CITATION.cff"
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "sentencepiece",
    "faiss-cpu",
    "numpy",
    "scipy",
    "snakemake",
    "pocketsphinx",
)
TABLES = ("table.csv", "factors.csv", "continuation.csv", "layers.csv", "learning.csv")
PAPER = (
    "arXiv 2412.17048, Why Do Speech Language Models Fail to Generate Semantically Coherent Outputs? A Modality "
    "Evolving Perspective"
)


def section(results: Path) -> Section:
    """Settings, provenance, the command and the citation."""
    path = results / "run.json"
    record = read_json(path) if path.is_file() else {}
    settings = record.get("settings", {})
    different = changed(settings)
    context = {
        "known": bool(settings),
        "command": command(different),
        "different": _settings_table(different),
        "settings": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else "",
        "file": yaml.safe_dump(nested(different), sort_keys=False, allow_unicode=True) if different else "",
        "commit": trained_at(results) or commit(),
        "provenance": _provenance(results, record),
        "hashes": _hashes(results),
        "citation": citation(),
        "paper": PAPER,
    }
    return Section("The run", "run", "run.html.j2", context)


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings as 'section.field' -> value."""
    found = {}
    for name, value in settings.items():
        found |= {f"{name}.{field}": own for field, own in value.items()} if isinstance(value, dict) else {name: value}
    return found


def changed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """'section.field' -> value, of the recorded settings that differ from their defaults."""
    usual = flat(tracked(Settings()))
    return {name: value for name, value in flat(settings).items() if value != usual.get(name)}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """{'a.b': 1} as {'a': {'b': 1}}."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        section, _, field = name.partition(".")
        if field:
            found.setdefault(section, {})[field] = value
        else:
            found[section] = value
    return found


def command(different: dict[str, Any]) -> str:
    """The command that runs these settings again; they stand in a file if there are any."""
    return "snakemake --cores all" + (" --configfile my-run.yaml" if different else "")


def _settings_table(different: dict[str, Any]) -> Table | None:
    usual = flat(tracked(Settings()))
    rows = [[name, shown(value), shown(usual.get(name))] for name, value in different.items()]
    caption = "Settings that differ from their defaults"
    return Table(caption, ["setting", "here", "default"], rows, frozenset({1, 2})) if rows else None


def shown(value: Any) -> str:
    """A setting as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _provenance(results: Path, record: dict[str, Any]) -> Table:
    rows = [["page", f"speechladder {record.get('version', __version__)}, commit {commit()}"]]
    if trained := trained_at(results):
        rows += [["models", f"trained at commit {trained}"]]
    rows += [["Python", platform.python_version()]]
    rows += [["packages", ", ".join(f"{name} {found}" for name in PACKAGES if (found := installed(name)))]]
    rows += [["machine", f"{processor()}, {os.cpu_count()} cores, {platform.system()}"]]
    encoder = results / "units" / "quality.json"
    known = read_json(encoder).get("encoder") if encoder.is_file() else None
    if isinstance(known, dict) and known.get("sha256"):
        rows.append(["encoder", f"{known.get('encoder')}, layer {known.get('layer')}, SHA-256 {known['sha256']}"])
    return Table("Where the page was made", ["what", "which"], rows, frozenset({1}))


def trained_at(results: Path, rung: str = "*") -> str:
    """The commit that all models of the run, or of a rung, were trained at, as their cards say; empty if they differ
    or say none."""
    cards = [path.read_text(encoding="utf-8") for path in (results / "lm").glob(f"{rung}/seed*/README.md")]
    found = {commit for card in cards for commit in re.findall(r"^Commit ([0-9a-f]{7,40}\+?)\.$", card, flags=re.M)}
    return found.pop() if len(found) == 1 else ""


def installed(name: str) -> str | None:
    """The version of a package, None without it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _hashes(results: Path) -> Table:
    rows = [[name, files_sha256([results / name])] for name in TABLES if (results / name).is_file()]
    for path in sorted((results / "lm").glob("*/seed*/train.json")):
        if digest := read_json(path).get("weights_sha256"):
            rows.append([f"{path.parts[-3]}, {path.parts[-2]}, weights", digest])
    return Table("SHA-256", ["file", "digest"], rows, frozenset({1}))


def citation(path: Path = CITATION) -> str:
    """The project as an entry of BibTeX, from CITATION.cff; empty outside a checkout."""
    if not path.is_file():
        return ""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    authors = " and ".join(f"{{{author.get('name', '')}}}" for author in found["authors"])
    return (
        f"@software{{speechladder,\n  title = {{{found['title']}}},\n  author = {{{authors}}},\n"
        f"  version = {{{found['version']}}},\n  year = {{{str(found['date-released'])[:4]}}}\n}}"
    )
