"""A stage's function as a command line: its arguments and their help stand in its signature and docstring, once.

A script names the function, and nothing else:

    from speechladder.command import main

    main("speechladder.alignment.run:align_shard")

`--help`, the types of the options and the checks of required ones follow from the function.
"""

import argparse
import functools
import importlib
import inspect
import json
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.processes import RUNNER, die_with_runner
from speechladder.io.usage import measure
from speechladder.settings import Section, add_max_rejected, add_options, from_options

WORTH_SAYING = 100  # MB
_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY


def script(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap a script's `main`.

    A UserError becomes one message on stderr and exit status 2, without a traceback. The script ends when the snakemake
    that started it is gone. At its end it prints to stderr what it used of CPU and memory (`io.usage`), which
    results/costs.csv reads from the log of a job. By hand it is printed only if the memory is worth saying.
    """

    @functools.wraps(main)
    def run() -> None:
        die_with_runner()
        try:
            main()
        except UserError as error:
            print(f"{sys.argv[0].rsplit('/', 1)[-1]}: error: {error}", file=sys.stderr)  # noqa: T201
            sys.exit(2)
        used = measure()
        if used.peak_mb >= WORTH_SAYING or RUNNER in os.environ:
            print(used, file=sys.stderr)  # noqa: T201

    return run


def main(target: str, offline: bool = False) -> None:
    """Run `target`, "package.module:function", with the options of the command line.

    A positional-only parameter, a list, takes the words that belong to no option. Every other one becomes an option of
    its name: Path, str, int, float; bool (a flag); Literal (choices); list (several values; texts also as one JSON
    list, as the settings write them); dict (NAME=VALUE words); a Section of the settings (one option per field);
    `max_rejected` (its default is the run's). A parameter without a default is required. One whose default is None may
    be given without a value. What its help says stands under Args in the docstring. `offline` keeps Hugging Face's
    libraries from the network, unless the environment says otherwise.

    The number of threads is part of the bits of some results. It is one, as under Snakemake, unless OMP_NUM_THREADS is
    set already. The trainings take theirs from lm.threads.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads slow a shared machine down
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would be more than the job's share
    if offline:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")

    @script
    def run() -> None:
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(module), name)
        found = parse(function, sys.argv[1:])
        words = [found.pop(name) for name, p in inspect.signature(function).parameters.items() if p.kind is _POSITIONAL]
        function(*words, **found)

    run()


def parse(function: Callable[..., None], words: Sequence[str]) -> dict[str, Any]:
    """The arguments of `function` that command-line `words` say; raises UserError where a setting is out of range."""
    args = option_parser(function).parse_args(words)
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    found = {}
    for name in parameters:
        if _is_section(hints[name]):
            found[name] = from_options(args, hints[name])
        else:
            value = getattr(args, name)
            if value is None and parameters[name].default is not inspect.Parameter.empty:
                value = parameters[name].default
            is_dict = typing.get_origin(_without_none(hints[name])) is dict
            found[name] = dict(value) if is_dict and value is not None else _texts(value)
    return found


def _texts(value: Any) -> Any:
    """The values of an option; a JSON list of texts, which `settings.as_options` writes for a list, as a list."""
    given = value[0] if isinstance(value, list) and len(value) == 1 else None
    return json.loads(given) if isinstance(given, str) and given.startswith("[") else value


def option_parser(function: Callable[..., None]) -> argparse.ArgumentParser:
    """The parser of the options of `function`."""
    description, helps = _documented(function)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if _is_section(hints[name]):
            add_options(parser, hints[name])
        elif name == "max_rejected":
            add_max_rejected(parser)
        else:
            _add(parser, name, hints[name], parameter, helps.get(name, ""))
    return parser


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


def _without_none(hint: Any) -> Any:
    """X for X | None, else the hint itself."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


def _add(parser: argparse.ArgumentParser, name: str, hint: Any, parameter: inspect.Parameter, text: str) -> None:
    """Give `parser` the option of one parameter, or the words of a positional-only one."""
    if parameter.kind is _POSITIONAL:
        parser.add_argument(name, nargs="+", type=typing.get_args(hint)[0], help=text.replace("%", "%%"))
        return
    default = parameter.default
    required = default is inspect.Parameter.empty
    more: dict[str, Any] = {"required": required, "default": None if required else default, "dest": name}
    hint = _without_none(hint)
    origin = typing.get_origin(hint)
    if hint is bool:
        more = {"action": "store_true", "dest": name}
    elif origin is typing.Literal:
        more |= {"choices": typing.get_args(hint)}
    elif origin is dict:
        more |= {"nargs": "+" if required else "*", "type": _pair(typing.get_args(hint)[1]), "metavar": "NAME=VALUE"}
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        # An option that is given again adds to its values. `parse` sets the default, or they would be added to that.
        more |= {"nargs": "+" if required else "*", "type": typing.get_args(hint)[0], "action": "extend"}
        more |= {"default": None}
    else:
        more |= {"type": hint} | ({} if required or default is not None else {"nargs": "?"})
    if hint is not bool and not required and default not in (None, (), []):
        text += f" (default: {default})"
    parser.add_argument(f"--{name.replace('_', '-')}", help=text.replace("%", "%%"), **more)


def _pair(kind: Callable[[str], Any]) -> Callable[[str], tuple[str, Any]]:
    def pair(word: str) -> tuple[str, Any]:
        name, equals, value = word.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE")
        return name, kind(value)

    return pair


def _documented(function: Callable[..., None]) -> tuple[str, dict[str, str]]:
    """A function's docstring without its Args, and what it says under Args of each parameter."""
    text = inspect.getdoc(function) or ""
    before, _, rest = text.partition("\nArgs:\n")
    block = re.match(r"(?:    .*\n?|\n)*", rest)[0]
    entries = re.findall(r"^    (\w+): ((?:.*\n?)(?:^     +.*\n?)*)", block, flags=re.M)
    helps = {name: " ".join(words.split()) for name, words in entries}
    return (before + "\n" + rest[len(block) :]).strip(), helps
