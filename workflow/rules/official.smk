# What the rules of benchmarks.smk ask the settings: where official benchmarks are, and what their items are made of.
from speechladder.workflow.sources import place, readable


def official(wildcards):
    """Where a task's official benchmark is read, if the run has one."""
    field = "storycloze" if getattr(wildcards, "task", "") == "topic" else "slm21"
    given = getattr(S.benchmarks, field)
    return readable(S, given, f"benchmarks.{field}") if given else []


def official_option(wildcards, input):
    """The same for the script, in place of the configuration's word for it."""
    name = "storycloze" if wildcards.task == "topic" else "slm21"
    return f"--{name} {shlex.quote(str(input.official))}" if input.official else ""


def story_texts(wildcards):
    """The texts of Topic-StoryCloze where they are a table."""
    given = S.benchmarks.storycloze_text if wildcards.task == "topic" else None
    return place(S, given, "benchmarks.storycloze_text") if given else []


def story_transcripts(wildcards):
    """What the ASR heard in it where they are not."""
    heard = wildcards.task == "topic" and S.benchmarks.storycloze and not S.benchmarks.storycloze_text
    return "results/benchmarks/topic/transcripts.jsonl" if heard else []


def phone_durations(wildcards):
    """Mean durations of the training phones, for official recordings that cannot be aligned."""
    return "results/alignment/durations.json" if official(wildcards) else []


def word_cuts(wildcards):
    """The corpus whose words sWUGGY's are, where they are generated."""
    return [] if official(wildcards) else vocabulary(wildcards)


def stimuli_options(wildcards):
    """The options under `benchmarks` that a task's items depend on."""
    if not official(wildcards):
        return item_options(S, wildcards.task)
    used = {"max_pairs"} | ({"slm21_splits"} if wildcards.task != "topic" else set())
    return as_options(S.benchmarks, exclude=[name for name in type(S.benchmarks).model_fields if name not in used])


def needs_slm21():
    """The mistake of whoever asks for a submission in a run without sLM21."""
    raise WorkflowError("results/submission: benchmarks.slm21 is not set; a submission is of sLM21's recordings")


def stimuli_threads(wildcards):
    """Processes of the aligner: an official benchmark is a hundred hours of speech."""
    return 8 if official(wildcards) or S.alignment.aligner == "mfa" else 1
