# One language model per rung and seed. Checkpoints lie beside the declared output, in lm/{rung}/seed{seed}.checkpoints/, since
# Snakemake deletes declared outputs before a job runs, and a killed training must find them again. With lm.processes
# above 1 the script starts them by torchrun (lm/launch.py).


rule train_lm:
    input:
        tokens="results/tokens/{rung}",
        init=init_files,
    output:
        directory("results/lm/{rung}/seed{seed}"),
    log:
        "results/logs/train_lm/{rung}.seed{seed}.log",
    benchmark:
        "results/costs/train_lm/{rung}.seed{seed}.tsv"
    conda:
        ENV
    threads: S.lm.threads * S.lm.processes
    params:
        version=VERSIONS["lm"],
        options=as_options(S.lm, exclude=["seeds"]) + f" --corpus {S.corpus.name}",
    shell:
        'python "$SCRIPTS"/train_lm.py --tokens {input.tokens} --out {output} --seed {wildcards.seed} {params.options}'
        " 2>&1 | tee {log}"
