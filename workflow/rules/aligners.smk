# What the rules of alignment.smk ask the settings: which environment, models and files an aligner needs.
from speechladder.alignment.check import aligner_options
from speechladder.workflow.sources import place, readable

MFA = S.alignment.aligner == "mfa"
# MFA lives in an environment of its own, in which every stage that aligns runs.
ALIGNER_ENV = HOME / "envs" / "mfa.yaml" if MFA else ENV


def mfa_file(field):
    """A model of MFA where the configuration names a file of it (`checked` made that absolute) or a download."""
    given = getattr(S.alignment, field)
    if given in S.downloads.files:
        return place(S, given, f"alignment.{field}")
    return on_disk(given) if given else []


def mfa_words(wildcards, input):
    """The models for the script: the files, else their names."""
    words = []
    for option, field in (("model", "mfa_model"), ("dictionary", "mfa_dictionary"), ("g2p", "mfa_g2p")):
        given = str(getattr(input, option)) or getattr(S.alignment, field)
        words += [f"--{option}", shlex.quote(given)] if given else []
    return " ".join(words)


def aligner_models(wildcards):
    """What MFA is run with."""
    return "results/alignment/mfa" if MFA else []


def textgrids(wildcards):
    """Alignments that exist already."""
    given = S.alignment.textgrids if S.alignment.aligner == "textgrids" else None
    return readable(S, given, "alignment.textgrids") if given else []


def alignment_inputs(wildcards, input):
    """The script's options for what this aligner alone reads."""
    given = {"truth": input.truth, "models": input.models, "textgrids": input.textgrids}
    return " ".join(f"--{option} {shlex.quote(str(path))}" for option, path in given.items() if path)
