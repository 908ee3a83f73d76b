# The ladder: the same utterances as six kinds of tokens.


rule select_utterances:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        units=inputs.units,
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
        version=version("select_utterances"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        units=inputs.over_shards("results/units/{shard}.parquet"),
    shell:
        'python "$SCRIPTS"/select_utterances.py --cuts {params.cuts} --alignment {params.alignment}'
        " --units {params.units} --out {output.utterances} --rejected {output.rejected}"
        " 2>&1 | tee {log}"


rule tokenize_rung:
    input:
        utterances="results/tokens/utterances.parquet",
        cuts=CUTS,
        alignment=ALIGNMENT,
        units=inputs.units,
        confusions=inputs.confusions,
    output:
        directory("results/{point}tokens/{rung}"),
    log:
        "results/{point}logs/tokenize_rung/{rung}.log",
    benchmark:
        "results/{point}costs/tokenize_rung/{rung}.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        ENV
    params:
        version=version("tokenize_rung"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        units=inputs.over_shards("results/{point}units/{shard}.parquet"),
        options=inputs.token_options,
    shell:
        'python "$SCRIPTS"/tokenize_rung.py --rung {wildcards.rung} --utterances {input.utterances} --cuts {params.cuts}'
        " --alignment {params.alignment} --units {params.units} --out {output} {params.options} 2>&1 | tee {log}"


rule tokenize_items:
    input:
        tokens=inputs.tokens,
        stimuli=ITEMS,
        units=inputs.item_units,
    output:
        expand("results/{{point}}benchmarks/{task}/{{rung}}.parquet", task=TASKS),
    log:
        "results/{point}logs/tokenize_items/{rung}.log",
    benchmark:
        "results/{point}costs/tokenize_items/{rung}.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        ENV
    params:
        version=version("tokenize_items"),
    shell:
        'python "$SCRIPTS"/tokenize_items.py --tokens {input.tokens} --items {input.stimuli}'
        " --units {input.units} --out {output} 2>&1 | tee {log}"
