"""A run's configuration outside Snakemake: presets by name, and files and words merged as Snakemake merges them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from speechladder.io.errors import UserError, suggestion

HOME = Path(__file__).resolve().parents[3]
PRESETS = HOME / "presets"


def preset_file(name: str) -> Path:
    """Return the file of a preset, given its path or its name.

    Raise UserError with the names of the presets and the nearest of them if there is none.
    """
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    for path in (Path(name).expanduser(), PRESETS / f"{name}.yaml"):
        if path.is_file():
            return path
    hint = suggestion(Path(name).stem, known)
    raise UserError(f"--preset: no preset and no file {name!r}; {hint}presets: {', '.join(known)}")


def configuration(files: Sequence[Path], words: Sequence[str]) -> dict[str, Any]:
    """Merge config.yaml, `files` and the KEY=VALUE `words` of --config, each over those before it, as Snakemake does.

    Raise UserError naming the file or the word that is not YAML.
    """
    from snakemake.utils import update_config

    out: dict[str, Any] = {}
    for path in (HOME / "config" / "config.yaml", *files):
        content = _yaml(path.read_text(), str(path))
        if not isinstance(content, dict):
            raise UserError(f"{path}: no settings in it; a preset is a mapping of sections, see presets/")
        update_config(out, content)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--config: {word!r} is not KEY=VALUE")
        update_config(out, {key: _yaml(value, f"--config {key}")})
    return out


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not YAML ({' '.join(str(error).split())})") from None
