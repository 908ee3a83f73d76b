# The ladder: the same utterances as six kinds of tokens.


rule select_utterances:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        units=expand("results/units/{shard}.parquet", shard=SHARDS),
    output:
        utterances="results/tokens/utterances.parquet",
        rejected="results/tokens/rejected.jsonl",
    log:
        "results/logs/select_utterances.log",
    benchmark:
        "results/costs/select_utterances/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["utterances"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
        units=over_shards("results/units/{}.parquet"),
    shell:
        'python "$SCRIPTS"/select_utterances.py --cuts {params.cuts} --alignment {params.alignment}'
        " --units {params.units} --out {output.utterances} --rejected {output.rejected}"
        " 2>&1 | tee {log}"


rule tokenize_rung:
    input:
        utterances="results/tokens/utterances.parquet",
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        units=expand("results/units/{shard}.parquet", shard=SHARDS),
    output:
        directory("results/tokens/{rung}"),
    log:
        "results/logs/tokenize_rung/{rung}.log",
    benchmark:
        "results/costs/tokenize_rung/{rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["tokens"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
        units=over_shards("results/units/{}.parquet"),
        options=lambda wildcards: token_options(S, wildcards.rung),
        clusters=S.units.clusters,
    shell:
        'python "$SCRIPTS"/tokenize_rung.py --rung {wildcards.rung} --utterances {input.utterances} --cuts {params.cuts}'
        " --alignment {params.alignment} --units {params.units} --clusters {params.clusters} --out {output}"
        " {params.options} 2>&1 | tee {log}"


rule tokenize_items:
    input:
        tokens="results/tokens/{rung}",
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        units=expand("results/benchmarks/{task}/units.parquet", task=TASKS),
    output:
        expand("results/benchmarks/{task}/{{rung}}.parquet", task=TASKS),
    log:
        "results/logs/tokenize_items/{rung}.log",
    benchmark:
        "results/costs/tokenize_items/{rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["item_tokens"],
    shell:
        'python "$SCRIPTS"/tokenize_items.py --tokens {input.tokens} --items {input.stimuli}'
        " --units {input.units} --out {output} 2>&1 | tee {log}"
