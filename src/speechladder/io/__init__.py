"""Files, tables, tensors, audio, GPUs and progress: what every stage needs to read and write artefacts.

An artefact is written whole or not at all, and errors name the file. Nothing heavy is imported at module level.
"""
