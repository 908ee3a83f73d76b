"""The stages of a run as a list: each rule with the files that it makes and the rules whose files it needs."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from speechladder.io.errors import UserError

HOME = Path(__file__).resolve().parents[3]
TARGET = "results/table.csv"
MARK = "rules as JSON: "
# Snakemake has no command that prints outputs; a Snakefile can look at the rules that it has included.
SNAKEFILE = """
include: {snakefile!r}
import json
print({mark!r} + json.dumps({{rule.name: list(map(str, rule.output)) for rule in workflow.rules}}))
"""


class Stage(NamedTuple):
    """A rule, which -R and --until take; its outputs, which are targets; the rules that it directly needs.

    `needs` is None for a rule that the targets do not need.
    """

    rule: str
    makes: list[str]
    needs: list[str] | None


def stages(words: Sequence[str] = ()) -> list[Stage]:
    """The stages of a run, each after the stages that it needs, then the stages that results/table.csv does not need.

    `words` are Snakemake's options (--configfile, --config, --directory). Outputs are patterns: {shard}, {rung} and
    the like are wildcards. Raises UserError with Snakemake's own message if the configuration is wrong.
    """
    outputs, needs = _ask_snakemake(words)
    order: list[str] = []

    def add(rule: str) -> None:
        for before in needs[rule]:
            if before not in order:
                add(before)
        if rule not in order:
            order.append(rule)

    for rule in needs:
        add(rule)
    run = [Stage(rule, outputs[rule], sorted(needs[rule], key=order.index)) for rule in order if rule != "all"]
    return run + [Stage(rule, made, None) for rule, made in outputs.items() if rule not in needs and made]


def _ask_snakemake(words: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Rule -> patterns of its outputs, for every rule; rule -> rules that it needs, for those of this run."""
    with tempfile.TemporaryDirectory() as folder:
        snakefile = Path(folder) / "Snakefile"
        snakefile.write_text(SNAKEFILE.format(snakefile=str(HOME / "workflow" / "Snakefile"), mark=MARK))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--rulegraph", "dot"]
        done = subprocess.run([*command, *words, "--", TARGET], capture_output=True, text=True)
    names = dict(re.findall(r"^\s*(\d+)\[label = \"(\w+)\"", done.stdout, flags=re.M))
    found = re.search(f"^{MARK}(.*)$", done.stdout, flags=re.M)
    if not names or not found:
        raise UserError("snakemake --rulegraph: " + "\n".join(done.stderr.strip().splitlines()[-6:]))
    needs: dict[str, list[str]] = {name: [] for name in names.values()}
    for before, after in re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, flags=re.M):
        needs[names[after]].append(names[before])
    outputs = {rule: list(map(_without_constraints, made)) for rule, made in json.loads(found[1]).items()}
    return outputs, needs


def _without_constraints(pattern: str) -> str:
    """results/tokens/{rung,text-bpe|text-raw} -> results/tokens/{rung}."""
    return re.sub(r"\{(\w+),(?:[^{}]|\{[^{}]*\})*\}", r"{\1}", pattern)


def table(listed: Sequence[Stage]) -> str:
    """The list as text."""
    lines = []
    for stage in listed:
        lines += [stage.rule, *(f"    makes {path}" for path in stage.makes)]
        if stage.needs is None:
            lines.append("    not needed by this run")
        else:
            lines.append(f"    needs {', '.join(stage.needs) or 'nothing of another stage'}")
    return "\n".join(lines)
