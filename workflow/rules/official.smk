# What the rules of benchmarks.smk ask the settings: where official benchmarks are, and what their items are made of.
from speechladder.workflow.sources import place, readable


def official(wildcards):
    """Where a task's official benchmark is read, if the run has one."""
    task = TASKS[wildcards.task]
    given = task.archive(S.benchmarks)
    return readable(S, given, f"benchmarks.{task.official.field}") if given else []


def official_option(wildcards, input):
    """The same for the script, in place of the configuration's word for it."""
    return f"--{TASKS[wildcards.task].official.field} {shlex.quote(str(input.official))}" if input.official else ""


def story_texts(wildcards):
    """The texts of Topic-StoryCloze where they are a table."""
    field = TASKS[wildcards.task].texts_field(S.benchmarks)
    given = getattr(S.benchmarks, field) if field else None
    return place(S, given, f"benchmarks.{field}") if given else []


def story_transcripts(wildcards):
    """What the ASR heard in it where they are not."""
    field = TASKS[wildcards.task].texts_field(S.benchmarks)
    return f"results/benchmarks/{wildcards.task}/transcripts.jsonl" if field and not getattr(S.benchmarks, field) else []


def phone_durations(wildcards):
    """Mean durations of the training phones, for official recordings that cannot be aligned."""
    return "results/alignment/durations.json" if official(wildcards) else []


def word_cuts(wildcards):
    """The corpus whose words sWUGGY's are, where they are generated."""
    return [] if official(wildcards) else vocabulary(wildcards)


def stimuli_options(wildcards):
    """The options under `benchmarks` that a task's items depend on."""
    return item_options(S, wildcards.task)


def slm21():
    """Where sLM21 is read, if the run has it."""
    return readable(S, S.benchmarks.slm21, "benchmarks.slm21") if S.benchmarks.slm21 else []


def needs_slm21():
    """The mistake of whoever asks for a submission in a run without sLM21."""
    raise WorkflowError("results/submission: benchmarks.slm21 is not set; a submission is of sLM21's recordings")


def stimuli_threads(wildcards):
    """Processes of the aligner: an official benchmark is a hundred hours of speech."""
    return 8 if official(wildcards) or S.alignment.aligner == "mfa" else 1
