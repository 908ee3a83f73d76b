# How far size and data carry each rung: models of several sizes on shares of the training data. Not part of the default
# target. The models and scores of a point are made by train_lm and score_rung.


rule take_fraction:
    input:
        "results/tokens/{rung}",
    output:
        directory("results/scaling/{fraction}/tokens/{rung}"),
    log:
        "results/scaling/{fraction}/logs/take_fraction/{rung}.log",
    benchmark:
        "results/scaling/{fraction}/costs/take_fraction/{rung}.tsv"
    wildcard_constraints:
        fraction=FRACTION,
    conda:
        ENV
    params:
        version=version("take_fraction"),
    shell:
        'python "$SCRIPTS"/take_fraction.py --tokens {input} --fraction {wildcards.fraction} --out {output} 2>&1 | tee {log}'


rule scaling:
    input:
        tokens=scaled.tokens,
        models=scaled.models,
        scores=scaled.scores,
    output:
        table=report(
            "results/scaling.csv", caption="../report/scaling.rst", category="Results", labels={"what": "scaling"}
        ),
        fits=report(
            "results/scaling_fits.csv",
            caption="../report/scaling_fits.rst",
            category="Results",
            labels={"what": "scaling fits"},
        ),
        svg=report(
            "results/figures/scaling.svg",
            caption="../report/scaling.rst",
            category="Figures",
            labels={"what": "scaling"},
        ),
        png="results/figures/scaling.png",
    log:
        "results/logs/scaling.log",
    benchmark:
        "results/costs/scaling/all.tsv"
    conda:
        ENV
    params:
        version=version("scaling"),
        models=inputs.model_folders,
        rungs=S.scaling.rungs,
        sizes=scaled.sizes,
        fractions=S.scaling.fractions,
        seeds=S.scaling.seeds,
        split=SPLIT,
        options=inputs.options("scaling"),
    shell:
        'python "$SCRIPTS"/make_scaling.py --rungs {params.rungs} --sizes {params.sizes} --fractions {params.fractions}'
        " --seeds {params.seeds} --tokens {input.tokens} --models {params.models} --scores {input.scores} {params.split}"
        " --out {output.table} --fits {output.fits} --figures results/figures {params.options} 2>&1 | tee {log}"
