# One more figure than the paper's: factor C at each variability level of the world. Not part of the default target.
LEVELS = [0, 1, 2, 3]


rule variability_run:
    output:
        # it is brought up to date, not made anew: a new setting of another target makes nothing there again
        update("results/variability/{level}/results/table.csv"),
    log:
        "results/logs/variability_run/{level}.log",
    benchmark:
        "results/costs/variability_run/{level}.tsv"
    conda:
        ENV
    threads: 16
    params:
        version=str(versions() | {"build_corpus": inputs.language_version("build_corpus")}),
        encoder=inputs.encoder_digest,
        config=lambda wildcards: prints_alone(variability_config)(S, int(wildcards.level)),
        folder=subpath(output[0], ancestor=2),
        targets="results/table.csv",
    shell:
        'snakemake --snakefile "$SCRIPTS"/../Snakefile --directory {params.folder} --cores {threads}'
        " --rerun-incomplete --nolock --config {params.config} -- {params.targets} 2>&1 | tee {log}"


rule variability:
    input:
        expand("results/variability/{level}/results/table.csv", level=LEVELS),
    output:
        table="results/variability.csv",
        change="results/variability_change.csv",
        svg=report(
            "results/figures/variability.svg",
            caption="../report/variability.rst",
            category="Figures",
            labels={"what": "variability"},
        ),
        png="results/figures/variability.png",
    log:
        "results/logs/variability.log",
    benchmark:
        "results/costs/variability/all.tsv"
    conda:
        ENV
    params:
        version=version("variability"),
        options=inputs.options("variability"),
        level=LEVELS,
        runs=expand("results/variability/{level}/results", level=LEVELS),
        split=SPLIT,
    shell:
        'python "$SCRIPTS"/make_variability.py --runs {params.runs} --levels {params.level} --out {output.table}'
        " --change {output.change} --figures results/figures {params.split} {params.options} 2>&1 | tee {log}"
