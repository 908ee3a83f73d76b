"""Representations of the same utterances, one tokenised corpus each. No heavy imports here."""

from speechladder.rungs import functions  # noqa: F401 - registers the rungs
