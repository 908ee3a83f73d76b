"""Take a share of a rung's training utterances, the same of every rung: tokens/{rung} -> a folder as tokens/{rung}."""

import argparse

from speechladder.command import script


@script
def main() -> None:
    """Parse, take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", required=True, help="folder tokens/{rung}")
    parser.add_argument(
        "--fraction", type=float, required=True, help="share of the training speech, above 0, at most 1"
    )
    parser.add_argument("--out", required=True, help="folder to write")
    args = parser.parse_args()
    from speechladder.rungs.fraction import take

    take(args.tokens, args.fraction, args.out)


if __name__ == "__main__":
    main()
