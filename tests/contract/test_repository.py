"""What the repository promises about itself: generated files, layers, light imports, pins, presets."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from speechladder.settings import load

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "speechladder"
HEAVY = ("torch", "transformers", "faiss", "sentencepiece", "matplotlib", "pandas", "lhotse")
SCRIPTS = sorted(p.name for p in (ROOT / "scripts").glob("*.py"))


def test_generated_files_are_what_the_settings_say():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import make_config_docs
    finally:
        sys.path.pop(0)
    for name, text in make_config_docs.contents().items():
        assert (ROOT / name).read_text() == text, f"{name} has drifted: run `make configuration`"


# Scripts whose help loads heavy packages, because the module of their function needs them when it is imported.
LOADS = {
    "check_s3prl.py": {"torch"},  # the encoder itself: torch types in its class and functions
    "extract_units.py": {"torch"},  # units.stream, which quantises on the device
    "sample_features.py": {"torch"},  # units.segments, which uses units.stream
    "sweep_quality.py": {"torch"},  # units.stream
    "train_vocoder.py": {"torch"},  # the vocoder is a torch module
    "continue_rung.py": {"torch", "transformers"},  # lm.model, whose architectures are classes of transformers
    "score_external.py": {"torch", "transformers"},
    "score_rung.py": {"torch", "transformers"},  # lm.likelihood and lm.model
    "make_causes.py": {"matplotlib"},
    "make_figures.py": {"matplotlib"},  # matplotlib's types in the functions that draw
    "make_questions.py": {"matplotlib"},
    "make_scaling.py": {"matplotlib"},
    "make_units_sweep.py": {"matplotlib"},
    "make_variability.py": {"matplotlib"},
}


@pytest.mark.parametrize("loaded", [(), ("matplotlib",), ("torch",), ("torch", "transformers")], ids="-".join)
def test_every_script_has_help(loaded):
    """And loads no other heavy package for it."""
    scripts = [name for name in SCRIPTS if LOADS.get(name, set()) == set(loaded)]
    assert scripts and LOADS.keys() <= set(SCRIPTS)
    # one process for all: an interpreter each would be most of the time
    code = (
        "import runpy, sys, io, contextlib\n"
        f"for name in {scripts!r}:\n"
        f"    sys.argv = [name, '--help']\n"
        "    out = io.StringIO()\n"
        "    try:\n"
        "        with contextlib.redirect_stdout(out):\n"
        f"            runpy.run_path({str(ROOT / 'scripts')!r} + '/' + name, run_name='__main__')\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code, (name, stop.code)\n"
        "    assert 'usage: ' + name in out.getvalue(), name\n"
        f"    heavy = {{m for m in {HEAVY!r} if m in sys.modules}} - {set(loaded)!r}\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_workflow_starts_without_heavy_imports():
    modules = [f"speechladder.workflow.{path.stem}" for path in (PACKAGE / "workflow").glob("[a-z]*.py")]
    code = f"import sys, {', '.join(modules)}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("preset", sorted(p.name for p in (ROOT / "presets").glob("*.yaml")))
def test_presets_are_valid(preset):
    config = yaml.safe_load((ROOT / "presets" / preset).read_text())
    if preset == "local.yaml":
        config["corpus"]["path"] = "."
    load(config, preset)


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and line[0] not in "#-")


def test_the_lock_pins_all_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base, extra = _pins("requirements.lock"), _pins("requirements-test.lock")
    for requirement in project["dependencies"]:
        name, _, version = re.match(r"([\w-]+)(==([\w.]+))?", requirement).groups()
        assert name in base, name
        assert version in (None, base[name]), requirement
    for requirement in project["optional-dependencies"]["test"] + project["optional-dependencies"]["whisper"]:
        assert re.match(r"[\w-]+", requirement).group() in base | extra, requirement


def test_the_environment_of_the_site_is_pinned_and_apart():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = _pins("requirements-docs.lock")
    assert (
        dict(requirement.split("==") for requirement in project["optional-dependencies"]["docs"]).items()
        <= pins.items()
    )
    assert "mkdocs" not in _pins("requirements.lock") | _pins("requirements-test.lock")


def test_what_breaks_or_bloats_the_default_environment_stays_out():
    base, extra = _pins("requirements.lock"), _pins("requirements-test.lock")
    # torchaudio has no CPU build, and beside CPU torch it breaks transformers' HubertModel and Llama (measured)
    for name in ("torchaudio", "s3prl"):
        assert name not in base | extra
    # openai-whisper brings triton and numba, a gigabyte
    assert "openai-whisper" in extra
    assert not {"openai-whisper", "triton", "numba"} & set(base)


def test_the_cluster_environment_is_the_lock():
    environment = yaml.safe_load((ROOT / "envs" / "base.yaml").read_text())
    assert environment["dependencies"][-1] == {"pip": ["-r ../requirements.lock"]}


def test_the_environment_of_s3prl_is_its_lock_and_shares_the_versions():
    environment = yaml.safe_load((ROOT / "envs" / "s3prl.yaml").read_text())
    assert environment["dependencies"][-1] == {"pip": ["-r ../requirements-s3prl.lock"]}
    pins, base = _pins("requirements-s3prl.lock"), _pins("requirements.lock")
    assert {"s3prl", "torchaudio"} <= set(pins)
    # the same weights give the same features in both
    differ = {name: (pins[name], base[name]) for name in pins.keys() & base if pins[name] != base[name]}
    assert not differ, "lock again in .venv-s3prl: scripts/lock_requirements.py --s3prl"
    assert {"torch", "transformers", "pyarrow", "pydantic", "soundfile", "soxr"} <= pins.keys() & base


def test_what_opens_the_encoder_imports_in_the_environment_of_s3prl():
    """All packages outside of its lock are hidden from the imports, also from those inside of functions."""
    scripts = ("check_s3prl", "sample_features", "extract_units", "features_abx", "speaker_statistics", "sweep_quality")
    named = [re.search(r'"(speechladder[\w.]+):', (ROOT / "scripts" / f"{name}.py").read_text())[1] for name in scripts]
    code = (
        "import importlib.machinery, importlib.metadata as metadata, importlib.util, re, sys\n"
        f"allowed = {set(_pins('requirements-s3prl.lock'))!r}\n"
        "normal = lambda name: re.sub('[-_.]+', '-', name).lower()\n"
        "found = metadata.packages_distributions()\n"
        "hidden = {top for top, names in found.items() if not allowed & set(map(normal, names))} - {'speechladder'}\n"
        "assert {'pocketsphinx', 'faiss', 'matplotlib', 'sentencepiece', 'num2words', 'snakemake'} <= hidden\n"
        "class Finder(importlib.machinery.PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name.partition('.')[0] in hidden else super().find_spec(name, path, target)\n"
        "sys.meta_path = [Finder if f is importlib.machinery.PathFinder else f for f in sys.meta_path]\n"
        "assert importlib.util.find_spec('torch') and not importlib.util.find_spec('faiss')\n"
        f"for name in {['speechladder.command', *named]!r}: importlib.import_module(name)\n"
        "import speechladder.units.encoders.transformers, speechladder.units.encoders.s3prl_shims\n"
        "import safetensors.torch, rich.progress, transformers\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_rules_that_open_the_encoder_run_where_it_is():
    opens = re.compile(r"(?<!def )\bopen_encoder\(units\b")
    modules = {p.stem for p in (PACKAGE / "units").rglob("*.py") if opens.search(p.read_text())}
    assert {"extract", "sample", "speakers", "sweep", "abx_run"} <= modules
    opening = {
        name
        for name in SCRIPTS
        if re.search(rf"units\.(\w+\.)*({'|'.join(modules)}):", (ROOT / "scripts" / name).read_text())
    }
    rules = 0
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for rule in re.split(r"(?m)^rule ", path.read_text())[1:]:
            ran = set(re.findall(r'"\$SCRIPTS"/(\w+\.py)', rule))
            there = ("UNITS_ENV" in rule, '"$UNITS_PYTHON" "$SCRIPTS"' in rule)
            assert there == (bool(ran & opening),) * 2, (path, rule.split(":")[0])
            rules += bool(ran & opening)
    assert rules >= 7


def test_no_pickle_anywhere():
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        text = path.read_text()
        assert not re.search(r"\bimport pickle|\bpickle\.|joblib|allow_pickle=True", text), path
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, path
