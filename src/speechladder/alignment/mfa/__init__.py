"""The Montreal Forced Aligner: it is run by its command `mfa`, in an environment of its own (envs/mfa.yaml)."""
