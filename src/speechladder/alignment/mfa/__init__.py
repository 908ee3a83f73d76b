"""The Montreal Forced Aligner: it runs in an environment of its own (envs/mfa.yaml) and is used by its command."""

from speechladder.alignment.mfa.check import check_files, check_mfa

__all__ = ["check_files", "check_mfa"]
