# What factor C is made of: results/causes.csv, over rungs of the run's own speech, and over runs on the same texts with single
# causes of variability. Not part of the default target.


use rule variability_run as causes_run with:
    output:
        update(expand("results/causes/{{corpus}}/results/{file}", file=MADE)),
    log:
        "results/logs/causes_run/{corpus}.log",
    benchmark:
        "results/costs/causes_run/{corpus}.tsv"
    wildcard_constraints:
        corpus="|".join(CORPORA),
    params:
        config=caused.config,
        folder=subpath(output[0], ancestor=3),
        targets=caused.targets,


rule causes:
    input:
        quality="results/units/quality.json",
        stimuli=ITEMS,
        scores=caused.scores,
        models=caused.models,
        runs=caused.runs,
    output:
        table=report(
            "results/causes.csv", caption="../report/causes.rst", category="Results", labels={"what": "causes"}
        ),
        share="results/causes_share.csv",
        budget=report(
            "results/bit_budget.csv",
            caption="../report/bit_budget.rst",
            category="Results",
            labels={"what": "bit budget"},
        ),
        svg=report(
            "results/figures/causes.svg",
            caption="../report/causes.rst",
            category="Figures",
            labels={"what": "causes"},
        ),
        png="results/figures/causes.png",
    log:
        "results/logs/causes.log",
    benchmark:
        "results/costs/causes/all.tsv"
    conda:
        ENV
    params:
        version=version("causes"),
        rungs=caused.rungs,
        corpora=caused.words,
        links=caused.links,
        seeds=S.lm.seeds,
        split=SPLIT,
        options=inputs.options("causes"),
    shell:
        'python "$SCRIPTS"/make_causes.py --results results --rungs {params.rungs} --corpora {params.corpora}'
        " --links {params.links} --out {output.table} --share {output.share} --budget {output.budget}"
        " --seeds {params.seeds} --figures results/figures {params.split} {params.options} 2>&1 | tee {log}"
