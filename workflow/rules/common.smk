# What every rule file uses: the validated settings, the scripts' folder, the options of a section.
import os

from speechladder.io.errors import UserError
from speechladder.settings import SAMPLE_RATE, TASKS, VERSIONS, as_options, load


def find_folder(given):
    """The absolute path of a folder named in the configuration: from where the command was typed, then
    from the working directory, then from the workflow's folder."""
    tried = [Path(base) / Path(given).expanduser() for base in (os.environ.get("PWD", "."), Path.cwd(), HOME)]
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        raise UserError(f"{given}: no such file or folder; looked at " + ", ".join(dict.fromkeys(map(str, tried))))
    return str(found.resolve())


def validated(config):
    """The settings of this run, with paths made absolute; a mistake ends here, before any job."""
    try:
        settings = load(config, "the configuration (config.yaml, --configfile, --config)")
        config = settings.model_dump()
        for section, field in (("corpus", "path"), ("units", "encoder")):
            value = config[section][field]
            if value and (field == "path" or "/" in value and Path(value).parts[0] in ("/", ".", "..", "~")):
                try:
                    config[section][field] = find_folder(value)
                except UserError as error:
                    raise UserError(f"{section}.{field}: {error}") from None
        for task in TASKS:
            try:
                config["benchmarks"][task] = [find_folder(path) for path in config["benchmarks"][task]]
            except UserError as error:
                raise UserError(f"benchmarks.{task}: {error}") from None
        return load(config)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def options(section, *left_out):
    """The command-line options that give a script this section of the settings."""
    return as_options(section, exclude=left_out)


S = validated(config)
SCRIPTS = HOME / "scripts"
ENV = HOME / "envs" / "base.yaml"
SHARDS = [str(n) for n in range(S.corpus.shards)]
WORLD = S.corpus.name == "world"


# The environment's own interpreter also when snakemake was started by its path; a conda environment, which is activated
# after this, still comes first. Threads that spin instead of sleeping cost a shared machine a factor of sixteen.
shell.executable("bash")
shell.prefix(
    f"set -euo pipefail; export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={HOME / 'src'} "
    "OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1; "
)


wildcard_constraints:
    shard=r"\d+",
    seed=r"\d+",
    task="|".join(TASKS),
    rung="|".join(S.rungs),
