"""Representations of the same utterances, one tokenised corpus each. No heavy imports here."""

from speechladder.rungs import causes, functions  # noqa: F401 - register the rungs, those of `functions` first
