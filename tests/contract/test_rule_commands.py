"""A rule's shell command against the function of its script: it names only options that the function knows, and gives
every required one. Snakemake checks neither, and a dry run does not either; the job would fail."""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from speechladder.analysis.costs import log_of
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.command import option_parser
from speechladder.settings import STAGES, Settings, options
from speechladder.workflow.external import ExternalInputs
from speechladder.workflow.grids import QuestionInputs, ScalingInputs, SweepInputs
from speechladder.workflow.inputs import Inputs
from speechladder.workflow.subruns import CausesInputs

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
OPTION = re.compile(r"(?<![\w-])--([a-z0-9][\w-]*)")
HELPERS = {"inputs": Inputs, "sweep": SweepInputs, "scaled": ScalingInputs, "caused": CausesInputs}
HELPERS |= {"questions": QuestionInputs, "outside": ExternalInputs}
OFFICIAL = [task.official for task in TASKS.values() if task.official]
# What functions of the library write as f"--{...}": the options that they always write, and the others.
WRITTEN = {
    "model_words": ({"clusters", "batch-tokens"}, {"run-rate"}),
    "mfa_names": ({"dictionary"}, {"model", "g2p"}),  # alignment.mfa_dictionary is never null
    "official_option": (set(), {official.field for official in OFFICIAL}),
    "official_texts_option": (set(), {o.texts_field.replace("_", "-") for o in OFFICIAL if o.texts_field}),
}


@dataclass(frozen=True)
class Command:
    """A call of a script in a rule: the options that it always gives, and those that it gives in some runs."""

    rule: str
    script: str
    always: frozenset[str]
    sometimes: frozenset[str]


def directive(rule: str, name: str) -> str:
    """The block of a directive of a rule, without its indentation; empty if the rule has none."""
    found = re.search(rf"^( +){name}:\n((?:\1 +.*\n|\s*\n)+)", rule, flags=re.M)
    return textwrap.dedent(found[2]) if found else ""


def texts(node: ast.AST) -> str:
    """All string constants below a node."""
    return " ".join(n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def param_options(node: ast.expr, constants: dict[str, str]) -> tuple[set[str], set[str]]:
    """The options that the expression of a param writes: those that it always writes, and the others."""
    if isinstance(node, ast.Name):
        return set(), set(OPTION.findall(constants.get(node.id, "")))
    called = node.func if isinstance(node, ast.Call) else node
    if isinstance(called, ast.Name) and called.id == "flags":
        return set(), {argument.value.replace("_", "-") for argument in node.args}
    if not isinstance(called, ast.Attribute) or getattr(called.value, "id", "") not in HELPERS:
        return set(), set(OPTION.findall(texts(node)))
    if called.attr == "options":
        rule = node.args[0].value if isinstance(node, ast.Call) else "sweep_quality"
        return set(OPTION.findall(options(Settings(), rule))), {
            field.replace("_", "-") for fields in STAGES[rule].options.values() for field in fields
        }
    if called.attr in WRITTEN:
        return WRITTEN[called.attr]
    found = texts(node)
    if inspect.isfunction(helper := getattr(HELPERS[called.value.id], called.attr, None)):  # else a list of values
        source = textwrap.dedent(inspect.getsource(helper))
        assert 'f"--{' not in source, f"{called.attr} computes the name of an option; list what it writes in WRITTEN"
        found += " " + texts(ast.parse(source))
    return set(), set(OPTION.findall(found))


def commands() -> list[Command]:
    """The commands of all rules; a rule with a branch for each kind of corpus has one for each."""
    files = {path: path.read_text() for path in RULES}
    constants = {
        name: value for text in files.values() for name, value in re.findall(r"^([A-Z][A-Z0-9_]*) = (.*)$", text, re.M)
    }
    out = []
    for text in files.values():
        parts = re.split(r"^( *)rule (\w+):\n", text, flags=re.M)
        for name, body in zip(parts[2::3], parts[3::3], strict=True):
            shell = directive(body, "shell")
            script = re.search(r'"\$SCRIPTS"/(\w+\.py)', shell)
            if not script:
                continue
            line = ast.literal_eval(f"({shell})").partition(" 2>&1 ")[0]
            given = {
                keyword.arg: keyword.value
                for keyword in ast.parse(f"f({directive(body, 'params')})", mode="eval").body.keywords
            }
            always, sometimes = set(OPTION.findall(line)), set()
            for param in re.findall(r"\{params\.(\w+)(?::q)?\}", line):
                more, others = param_options(given[param], constants)
                always, sometimes = always | more, sometimes | others
            out.append(Command(name, script[1], frozenset(always), frozenset(sometimes)))
    return out


COMMANDS = commands()


def entry(script: str) -> str:
    """The function that a script makes a command of, package.module:function."""
    return re.search(r'^main\("([\w.]+:\w+)"', (ROOT / "scripts" / script).read_text(), flags=re.M)[1]


def unknown_and_missing(command: Command) -> tuple[set[str], set[str]]:
    """The options that the function of a command's script does not know, and required ones that may be lacking."""
    module, _, name = entry(command.script).partition(":")
    actions = option_parser(getattr(import_module(module), name))._actions
    known = {word.removeprefix("--") for action in actions for word in action.option_strings}
    required = {action.option_strings[0].removeprefix("--") for action in actions if action.required}
    return (command.always | command.sometimes) - known, required - command.always


def test_the_log_of_a_job_is_where_its_costs_are_read():
    seen = set()
    for path in RULES:
        parts = re.split(r"^ *(?:use )?rule (?:\w+ as )?(\w+)(?: with)?:\n", path.read_text(), flags=re.M)
        for rule, body in zip(parts[1::2], parts[2::2], strict=True):
            words = (directive(body, name).strip().rstrip(",") for name in ("benchmark", "log"))
            costs, log = (Path(ast.literal_eval(word).replace("{point}", "")) for word in words)
            assert rule == "units_sweep" or log == log_of(costs), rule  # whose costs are not the run's
            seen.add(rule)
    assert seen == STAGES.keys()


def test_every_stage_has_a_command():
    # which run snakemake
    whole_runs = {"variability_run", "causes_run", "synthesized_run"}
    assert {command.rule for command in COMMANDS} == STAGES.keys() - whole_runs
    assert sum(len(command.always) > 1 for command in COMMANDS) > 0.9 * len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.rule}-{command.script}")
def test_a_rule_gives_options_that_its_function_knows_and_all_that_it_requires(command):
    unknown, missing = unknown_and_missing(command)
    assert not unknown, f"{entry(command.script)} knows no {', '.join(f'--{name}' for name in sorted(unknown))}"
    assert not missing, f"{entry(command.script)} requires {', '.join(f'--{name}' for name in sorted(missing))}"


def test_a_wrong_option_is_found():
    (right,) = (command for command in COMMANDS if command.rule == "variability")
    wrong = Command("variability", right.script, right.always - {"levels"} | {"dial"}, right.sometimes)
    assert unknown_and_missing(right) == (set(), set())
    assert unknown_and_missing(wrong) == ({"dial"}, {"levels"})
