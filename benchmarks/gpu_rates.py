"""Put the figures of a file of gpu_check.py into benchmarks/rates.json, in place of what was assumed about that GPU.

    python benchmarks/gpu_rates.py benchmarks/measured/gpu_check-DATE-GPU.jsonl

The plan then counts with them (speechladder.plan.rates). Figures of the same GPU from an earlier file are replaced, and
its other entries stay.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gpu_check import read_lines

from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.plan import rates as formulas

BY = "benchmarks/gpu_check.py"


def read_check(path: Path) -> dict[str, Any]:
    """The entry of rates.json for the figures of a file. Raise UserError if it has none, or is of a rehearsal."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; make it with python benchmarks/gpu_check.py --out {path}")
    lines = read_lines(path)
    machine = next((line["value"] for line in lines if line.get("figure") == "machine"), None)
    if not machine:
        raise UserError(f"{path}: no line has the figure 'machine'; gpu_check.py writes it first, so run that again")
    if machine["rehearsal"] or machine["device"] != "cuda":
        raise UserError(f"{path}: this is a rehearsal; its figures are those of tiny models")
    found = {line["rate"]["name"]: line["rate"] for line in lines if "rate" in line}
    if not found:
        raise UserError(f"{path}: no line has a rate; run the steps training, extraction, kmeans or scoring")
    failed = {line["step"] for line in lines if line.get("holds") is False}
    if wrong := [line["rate"]["name"] for line in lines if "rate" in line and line["step"] in failed]:
        raise UserError(f"{path}: a check of the step that measured {', '.join(wrong)} does not hold; see the file")
    about = {key: machine[key] for key in ("device", "hardware", "date", "commit", "torch")}
    entries = {name: {k: v for k, v in entry.items() if k != "name"} for name, entry in found.items()}
    return about | {"by": BY, "rates": entries}


def merged(content: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The content of rates.json with the entry, which counts most because it is the last."""
    key = ("hardware", "by")
    kept = [old for old in content["measured"] if any(old.get(k) != entry[k] for k in key)]
    return content | {"measured": [*kept, entry]}


def main() -> None:
    """Parse, merge, write, and print the entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, default=formulas.FILE, help="default: %(default)s")
    args = parser.parse_args()
    try:
        entry = read_check(args.file)
    except UserError as error:
        sys.exit(f"gpu_rates.py: {error}")
    write_json(args.out, merged(read_json(args.out), entry))
    print(json.dumps(entry, indent=2))


if __name__ == "__main__":
    main()
