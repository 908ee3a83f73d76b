# The audio that the user's own tokenizer has to encode before units.source: external can load its units. Targets of their own.


rule export_audio:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        audio=audio(SHARDS),
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        prompts="results/continuation/prompts.parquet" if S.continuation.enabled else [],
    output:
        directory("results/units/{export}"),
    log:
        "results/logs/export_audio/{export}.log",
    benchmark:
        "results/costs/export_audio/{export}.tsv"
    wildcard_constraints:
        export="export|export_with_cuts",
    conda:
        ENV
    params:
        version=VERSIONS["export_audio"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        copies=lambda wildcards: "--copy-cuts" if wildcards.export.endswith("cuts") else "",
    shell:
        'python "$SCRIPTS"/export_audio.py --items {input.stimuli} {input.prompts} --cuts {params.cuts} {params.copies}'
        " --out {output} 2>&1 | tee {log}"
