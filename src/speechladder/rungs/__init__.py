"""Representations of the same utterances, one tokenised corpus each. No heavy imports here."""
