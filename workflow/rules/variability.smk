# One more figure than the paper's: the speech rung against the world's dial for factor C. Not part of the default target.
DIAL = [0, 1, 2, 3]


rule variability_run:
    input:
        encoder=encoder_files,
    output:
        "results/variability/{dial}/results/table.csv",
    log:
        "results/logs/variability_run/{dial}.log",
    benchmark:
        "results/costs/variability_run/{dial}.tsv"
    conda:
        ENV
    threads: 16
    params:
        version=str(VERSIONS),
        config=dial_words,
    shell:
        'snakemake --snakefile "$SCRIPTS"/../Snakefile --directory results/variability/{wildcards.dial} --cores {threads}'
        " --rerun-incomplete --nolock --config {params.config} -- results/table.csv 2>&1 | tee {log}"


rule variability:
    input:
        expand("results/variability/{dial}/results/table.csv", dial=DIAL),
    output:
        table="results/variability.csv",
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
        version=VERSIONS["analysis"],
        dial=DIAL,
    shell:
        'python "$SCRIPTS"/make_variability.py --tables {input} --levels {params.dial} --out {output.table}'
        " --figures results/figures 2>&1 | tee {log}"
