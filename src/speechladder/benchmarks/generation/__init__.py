"""Pairs that are generated for each task."""
