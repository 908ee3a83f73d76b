# Items of the three tasks, and each rung's likelihood of them.


rule make_items:
    input:
        pairs=pairs_files,
        recordings=pairs_audio,
        cuts=vocabulary,
    output:
        stimuli="results/benchmarks/{task}/items.parquet",
        rejected="results/benchmarks/{task}/rejected.jsonl",
    log:
        "results/logs/make_items/{task}.log",
    benchmark:
        "results/costs/make_items/{task}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["items"],
        options=lambda wildcards: item_options(S, wildcards.task),
        alignment=as_options(S.alignment, exclude=["sample_utterances"]),
        variability=S.corpus.variability,
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/make_items.py --task {wildcards.task} --pairs {input.pairs:q} --cuts {input.cuts} --out {output.stimuli}'
        " --rejected {output.rejected} --variability {params.variability} --seed {params.seed}"
        " {params.options} {params.alignment} 2>&1 | tee {log}"


rule score_rung:
    input:
        models=expand("results/lm/{{rung}}/seed{seed}", seed=S.lm.seeds),
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        tokens=expand("results/benchmarks/{task}/{{rung}}.parquet", task=TASKS),
    output:
        scores=expand("results/scores/{{rung}}/{task}.parquet", task=TASKS),
        learning="results/scores/{rung}/learning.parquet",
    log:
        "results/logs/score_rung/{rung}.log",
    benchmark:
        "results/costs/score_rung/{rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["scores"],
        options=as_options(S.scores),
    shell:
        'python "$SCRIPTS"/score_rung.py --models {input.models} --items {input.stimuli} --tokens {input.tokens}'
        " --out {output.scores} --curve {output.learning} {params.options} 2>&1 | tee {log}"
