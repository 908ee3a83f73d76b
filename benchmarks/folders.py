"""CPU seconds that a shard of a local corpus takes, by the number of files in one folder: a JSON line.

A folder is made with `--files` recordings of one speaker (LJSpeech has 13,100) and one transcript, and another with
`--times` as many. Each is read in a process of its own, as every shard of a run reads it. `ratio` is the time of the
larger by that of the smaller: near `--times` if the time grows with the number of files, near its square if it grows
with the square.

    nice -n 5 python benchmarks/folders.py [--source OTHER_CHECKOUT/src]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SHARD = """
import sys, time
from pathlib import Path
from speechladder.corpora.local import build_local_shard
from speechladder.settings import Corpus
out = Path(sys.argv[2])
corpus = Corpus(name="local", path=sys.argv[1], shards=16)
begin = time.process_time()
build_local_shard(corpus, 0, out / "cuts.jsonl.gz", out / "rejected.jsonl")
print(time.process_time() - begin)
"""


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=13_100)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the library that is measured")
    args = parser.parse_args()
    sizes = (args.files, args.files * args.times)
    with tempfile.TemporaryDirectory() as folder:
        seconds = [measured(Path(folder), size, args.source.resolve()) for size in sizes]
    rows = {f"{size:,} files": round(found, 2) for size, found in zip(sizes, seconds)}
    print(json.dumps({"cpu_seconds": rows, "ratio": round(seconds[1] / seconds[0], 2), "times": args.times}))


def measured(scratch: Path, files: int, source: Path) -> float:
    """CPU seconds of the first of 16 shards of a folder with this many recordings."""
    sys.path.insert(0, str(ROOT / "src"))
    from speechladder.io.audio import encode_flac

    corpus = scratch / str(files) / "speaker" / "chapter"
    corpus.mkdir(parents=True)
    first = scratch / f"{files}.flac"
    first.write_bytes(encode_flac((0.3 * np.sin(np.arange(8000) / 12)).astype(np.float32)))
    for number in range(files):
        os.link(first, corpus / f"LJ{number:06d}.flac")
    words = "the quick brown fox jumps over the lazy dog " * 2
    (corpus / "t.trans.txt").write_text("".join(f"LJ{number:06d} {words}\n" for number in range(files)))
    command = [sys.executable, "-c", SHARD, str(corpus.parent.parent), str(scratch)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(source)}, check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


if __name__ == "__main__":
    main()
