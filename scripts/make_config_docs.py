#!/usr/bin/env python
"""Write config/config.yaml, docs/configuration.md and workflow/config.schema.json from the settings models."""

import argparse
import json
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Settings
from speechladder.settings.documents import as_markdown, as_yaml

ROOT = Path(__file__).resolve().parent.parent


def contents() -> dict[str, str]:
    """Generated file -> what must be in it."""
    return {
        "config/config.yaml": as_yaml(Settings),
        "docs/configuration.md": as_markdown(Settings),
        "workflow/config.schema.json": json.dumps(Settings.model_json_schema(), indent=2) + "\n",
    }


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to write into")
    root = parser.parse_args().root
    for name, text in contents().items():
        (root / name).write_text(text)


if __name__ == "__main__":
    main()
