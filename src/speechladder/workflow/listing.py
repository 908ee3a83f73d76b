"""The stages of a run as a list: each rule with the files that it makes and the rules whose files it needs."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from speechladder.io.errors import UserError

HOME = Path(__file__).resolve().parents[3]
TARGETS = ("results/table.csv",)


class Stage(NamedTuple):
    """A rule, which -R and --until take; its outputs, which are targets; the rules before it, without their own."""

    rule: str
    makes: list[str]
    needs: list[str]


def outputs(folder: Path = HOME / "workflow" / "rules") -> dict[str, list[str]]:
    """Rule -> the patterns of its outputs, as the rule files write them."""
    out: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.smk")):
        parts = re.split(r"^\s*rule (\w+):\n", path.read_text(), flags=re.M)
        for rule, text in zip(parts[1::2], parts[2::2]):
            body = re.search(r"^\s*output:\n(.*?)^\s*log:\n", text, flags=re.M | re.S)
            found = re.findall(r"\"(results/[^\"]+)\"", body[1] if body else "")
            patterns = [pattern.replace("{{", "{").replace("}}", "}") for pattern in found]
            out[rule] = list(dict.fromkeys([*out.get(rule, []), *patterns]))
    return out


def needs(words: Sequence[str], targets: Sequence[str] = TARGETS) -> dict[str, list[str]]:
    """Rule -> rules whose outputs it reads, of this run; `words` are snakemake's (--configfile, --config, --directory).

    Raises UserError with Snakemake's own message where the configuration is wrong.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile"), "--rulegraph", "dot"]
    done = subprocess.run([*command, *words, "--", *targets], capture_output=True, text=True)
    names = dict(re.findall(r"^\s*(\d+)\[label = \"(\w+)\"", done.stdout, flags=re.M))
    if not names:
        raise UserError("snakemake --rulegraph: " + "\n".join(done.stderr.strip().splitlines()[-6:]))
    out: dict[str, list[str]] = {name: [] for name in names.values()}
    for before, after in re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, flags=re.M):
        out[names[after]].append(names[before])
    return out


def stages(words: Sequence[str] = ()) -> list[Stage]:
    """The stages of a run, each after those that it needs."""
    graph, made = needs(words), outputs()
    order: list[str] = []

    def add(rule: str) -> None:
        for before in graph[rule]:
            if before not in order:
                add(before)
        if rule not in order:
            order.append(rule)

    for rule in graph:
        add(rule)
    return [Stage(rule, made.get(rule, []), sorted(graph[rule], key=order.index)) for rule in order if rule != "all"]


def table(listed: Sequence[Stage]) -> str:
    """The list as text."""
    lines = []
    for stage in listed:
        lines += [stage.rule, *(f"    makes {path}" for path in stage.makes)]
        lines.append(f"    needs {', '.join(stage.needs) or 'nothing of another stage'}")
    return "\n".join(lines)
