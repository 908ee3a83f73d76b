#!/usr/bin/env python
"""Write requirements.lock and those of tests and clusters beside it: what pyproject.toml asks for and all it needs, as
installed in this environment. Run it in the environment whose versions were tested together. With --s3prl, in that of
s3prl, requirements-s3prl.lock; with --docs, in that of the site, requirements-docs.lock."""

import argparse
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
# What torch's CUDA build brings along differs from machine to machine; torch's own pin decides it.
FLOATING = re.compile(r"^(nvidia-|cuda-|triton$)")

# s3prl's environment: what it needs, and what the stages import that open an encoder. torchaudio ends at 2.11, whatever
# torch is, and asks for none.
S3PRL = ["s3prl==0.4.18", "torchaudio==2.11.0"]
SHARED = {"torch", "transformers", "tokenizers", "safetensors", "pyarrow", "numpy", "soundfile", "soxr"}
SHARED |= {"pydantic", "rich"}


def closure(requirements: list[str]) -> dict[str, str]:
    """Installed name -> version of `requirements` and all that they need here."""
    out: dict[str, str] = {}
    todo = [Requirement(r) for r in requirements]
    while todo:
        requirement = todo.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if FLOATING.match(name):
            continue
        extras = requirement.extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": e}) for e in extras):
            continue
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            raise SystemExit(f"{requirement.name} is not installed here; install it, test, and lock again") from None
        new = name not in out
        out[name] = found.version.split("+")[0]  # torch's local '+cpu' is this machine's business
        for text in found.requires or []:
            need = Requirement(text)
            wanted = need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras)
            if wanted and (new or requirement.extras):
                need.marker = None
                todo.append(need)
    return out


def lines(versions: dict[str, str]) -> str:
    """A pin a line, torch's first."""
    return "".join(f"{name}=={versions[name]}\n" for name in sorted(versions, key=lambda n: (n != "torch", n)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3prl", action="store_true", help="write requirements-s3prl.lock alone")
    parser.add_argument("--docs", action="store_true", help="write requirements-docs.lock alone")
    args = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    head = "# Written by scripts/lock_requirements.py; known to work together.\n"
    if args.s3prl:
        found = closure([r for r in project["dependencies"] if Requirement(r).name in SHARED] + S3PRL)
        (ROOT / "requirements-s3prl.lock").write_text(head + lines(found))
        return
    if args.docs:
        (ROOT / "requirements-docs.lock").write_text(head + lines(closure(project["optional-dependencies"]["docs"])))
        return
    base = closure(project["dependencies"])
    extra = closure(
        project["dependencies"] + project["optional-dependencies"]["test"] + project["optional-dependencies"]["whisper"]
    )
    cluster = closure(project["dependencies"] + project["optional-dependencies"]["cluster"])
    (ROOT / "requirements.lock").write_text(head + lines(base))
    rest = sorted(set(extra) - set(base))
    (ROOT / "requirements-test.lock").write_text(
        head + "-r requirements.lock\n" + "".join(f"{n}=={extra[n]}\n" for n in rest)
    )
    rest = sorted(set(cluster) - set(base))
    (ROOT / "requirements-cluster.lock").write_text(
        head + "# beside requirements.lock: pip install --no-deps -r\n" + "".join(f"{n}=={cluster[n]}\n" for n in rest)
    )


if __name__ == "__main__":
    main()
