# How far size and data carry each rung: models of several sizes on shares of the training data. Not part of the default
# target.


include: "points.smk"


wildcard_constraints:
    size=r"[A-Za-z0-9][A-Za-z0-9_.]*",
    fraction=r"[0-9][0-9.e-]*",


rule take_fraction:
    input:
        "results/tokens/{rung}",
    output:
        directory("results/scaling/{rung}/tokens/{fraction}"),
    log:
        "results/logs/take_fraction/{rung}.{fraction}.log",
    benchmark:
        "results/costs/take_fraction/{rung}.{fraction}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["fractions"],
    shell:
        'python "$SCRIPTS"/take_fraction.py --tokens {input} --fraction {wildcards.fraction} --out {output} 2>&1 | tee {log}'


use rule train_lm as train_scaled with:
    input:
        tokens=lambda wildcards: scaled_tokens(wildcards.rung, wildcards.fraction),
        init=scaled_init,
    output:
        directory("results/scaling/{rung}/{size}-{fraction}/seed{seed}"),
    log:
        "results/logs/train_scaled/{rung}.{size}-{fraction}.seed{seed}.log",
    benchmark:
        "results/costs/train_scaled/{rung}.{size}-{fraction}.seed{seed}.tsv"
    params:
        version=VERSIONS["lm"],
        options=lambda wildcards: as_options(
            S.scaled_lm(wildcards.size).model_copy(update={"learning_points": 0}), exclude=["seeds"]
        ),


use rule score_rung as score_scaled with:
    input:
        models=point_models,
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        tokens=expand("results/benchmarks/{task}/{{rung}}.parquet", task=TASKS),
    output:
        scores=expand("results/scaling/{{rung}}/{{size}}-{{fraction}}/scores/{task}.parquet", task=TASKS),
        learning=temp("results/scaling/{rung}/{size}-{fraction}/scores/learning.parquet"),
    log:
        "results/logs/score_scaled/{rung}.{size}-{fraction}.log",
    benchmark:
        "results/costs/score_scaled/{rung}.{size}-{fraction}.tsv"
    params:
        version=VERSIONS["scores"],
        split="",
        options=as_options(S.scores.model_copy(update={"layers": False, "learning": False})),


rule scaling:
    input:
        tokens=over_points(lambda rung, size, fraction: [scaled_tokens(rung, fraction)]),
        models=over_points(scaled_models),
        scores=over_points(point_scores),
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
        version=VERSIONS["scaling"],
        rungs=SCALING.rungs,
        sizes=[size["name"] for size in SCALING.sizes],
        fractions=SCALING.fractions,
        seeds=SCALING.seeds,
        seed=S.seed,
        split=f"--split {S.benchmarks.slm21_splits[0]}" if S.benchmarks.slm21 else "",
        options=as_options(S.analysis),
        models=lambda wildcards, input: input.models,
    shell:
        'python "$SCRIPTS"/make_scaling.py --rungs {params.rungs} --sizes {params.sizes} --fractions {params.fractions}'
        " --seeds {params.seeds} --tokens {input.tokens} --models {params.models} --scores {input.scores} --seed {params.seed}"
        " {params.split} --out {output.table} --fits {output.fits} --figures results/figures {params.options} 2>&1 | tee {log}"
