# Language models that others trained, on the items of this run: results/external.csv. Not part of the default target.


rule score_external:
    input:
        stimuli=ITEMS,
        item_units=outside.units,
        files=outside.files,
    output:
        "results/external/{model}.parquet",
    log:
        "results/logs/score_external/{model}.log",
    benchmark:
        "results/costs/score_external/{model}.tsv"
    wildcard_constraints:
        model="|".join(outside.names) or "(?!)",
    conda:
        ENV
    params:
        version=version("score_external"),
        units=flags("item_units"),
        model=outside.model_words,
        options=inputs.options("score_external"),
    shell:
        'python "$SCRIPTS"/score_external.py --items {input.stimuli} {params.units} --out {output} {params.model}'
        " {params.options} 2>&1 | tee {log}"


rule external:
    input:
        outside.scores,
    output:
        report("results/external.csv", category="Results", labels={"what": "external"}),
    log:
        "results/logs/external.log",
    benchmark:
        "results/costs/external/all.tsv"
    conda:
        ENV
    params:
        version=version("external"),
        rungs=outside.rungs,
        split=SPLIT,
        options=inputs.options("external"),
    shell:
        'python "$SCRIPTS"/make_external.py --scores {input} --out {output} --rungs {params.rungs} {params.split}'
        " {params.options} 2>&1 | tee {log}"
