# Items of the three tasks, and each rung's likelihood of them.


def vocabulary(wildcards):
    """sWUGGY words of a natural corpus come from its own training text; the world has a lexicon."""
    own = not WORLD and wildcards.task == "swuggy" and not S.benchmarks.swuggy
    return expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS) if own else []


def pairs_files(wildcards):
    """The user's own pairs files for a task, if any."""
    return getattr(S.benchmarks, wildcards.task)


rule make_items:
    input:
        pairs=pairs_files,
        cuts=vocabulary,
    output:
        items="results/benchmarks/{task}/items.parquet",
        rejected="results/benchmarks/{task}/rejected.jsonl",
    params:
        version=VERSIONS["items"],
        options=options(S.benchmarks, *TASKS),
        alignment=options(S.alignment, "sample_utterances"),
        variability=S.corpus.variability,
        pairs=lambda wildcards, input: f"--pairs {input.pairs}" if input.pairs else "",
        cuts=lambda wildcards, input: f"--cuts {input.cuts}" if input.cuts else "",
        max_rejected=S.corpus.max_rejected,
        seed=S.seed,
    log:
        "results/logs/make_items/{task}.log",
    benchmark:
        "results/costs/make_items/{task}.tsv"
    conda:
        ENV
    shell:
        "python {SCRIPTS}/make_items.py --task {wildcards.task} {params.pairs} {params.cuts} --out {output.items}"
        " --rejected {output.rejected} --variability {params.variability} --seed {params.seed}"
        " --max-rejected {params.max_rejected} {params.options} {params.alignment} 2>&1 | tee {log}"


rule score_rung:
    input:
        models=expand("results/lm/{{rung}}/seed{seed}", seed=S.lm.seeds),
        items=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        tokens=expand("results/benchmarks/{task}/{{rung}}.parquet", task=TASKS),
    output:
        scores=expand("results/scores/{{rung}}/{task}.parquet", task=TASKS),
        learning="results/scores/{rung}/learning.parquet",
    params:
        version=VERSIONS["scores"],
        options=options(S.scores),
    log:
        "results/logs/score_rung/{rung}.log",
    benchmark:
        "results/costs/score_rung/{rung}.tsv"
    conda:
        ENV
    shell:
        "python {SCRIPTS}/score_rung.py --models {input.models} --items {input.items} --tokens {input.tokens}"
        " --out {output.scores} --learning {output.learning} {params.options} 2>&1 | tee {log}"
