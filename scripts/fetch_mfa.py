#!/usr/bin/env python
"""The Montreal Forced Aligner's models: files copied, pretrained ones downloaded -> alignment/mfa_models."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="acoustic model: a .zip or a pretrained one's name; none: it will be trained")
    parser.add_argument("--dictionary", required=True, help="pronunciations in ARPAbet: a .dict or a name")
    parser.add_argument("--g2p", help="model for words that the dictionary lacks: a .zip or a name")
    parser.add_argument("--out", type=Path, required=True, help="folder alignment/mfa_models")
    args = parser.parse_args()

    from speechladder.alignment.mfa.prepare import fetch

    fetch(args.out, args.model, args.dictionary, args.g2p)


if __name__ == "__main__":
    main()
