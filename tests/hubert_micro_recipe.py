"""The modules of recipes/hubert-micro, imported by path because the recipe is not part of the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes" / "hubert-micro"))

import data
import model as network
import pretrain
import probe

__all__ = ["data", "network", "pretrain", "probe"]
