#!/usr/bin/env python3
"""Open an s3prl upstream and say what it is, or list them all; runs in s3prl's own environment (make s3prl)."""

import argparse
import json

from speechladder.command import script


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", help="as units.encoder: NAME or NAME:CHECKPOINT; without it the names are listed")
    parser.add_argument("--layer", type=int, default=0, help="as units.layer: which hidden state; default 0")
    args = parser.parse_args()
    if not args.encoder:
        from speechladder.units.s3prl_environment import upstreams
        from speechladder.units.s3prl_shims import open_hub

        print("\n".join(upstreams(open_hub())))
        return
    from speechladder.units.s3prl_encoder import check

    print(json.dumps(check(args.encoder, args.layer)))


if __name__ == "__main__":
    main()
