# One language model per rung and seed, for the ladder and for its points (speechladder.settings.points). Checkpoints lie beside
# the declared output, in lm/{rung}/seed{seed}.checkpoints/, since Snakemake deletes declared outputs before a job runs, and a
# training that was killed must find them again. If lm.processes is above 1, the script starts them by torchrun.
#
# The output is a folder, but Snakemake knows it by its train.json: into a folder that is declared as a directory it would write a
# time stamp of its own, which would be uploaded with the model. The job replaces the whole folder at once.


rule train_lm:
    input:
        tokens=inputs.tokens,
        init=inputs.init_files,
    output:
        "results/{point}lm/{rung}/seed{seed}/train.json",
    log:
        "results/{point}logs/train_lm/{rung}.seed{seed}.log",
    benchmark:
        "results/{point}costs/train_lm/{rung}.seed{seed}.tsv"
    wildcard_constraints:
        point=MODELS,
    conda:
        ENV
    threads: S.lm.threads * S.lm.processes
    params:
        version=version("train_lm"),
        out=subpath(output[0], parent=True),
        options=inputs.options("train_lm"),
        # for the model card
        corpus=S.corpus.name if S.corpus.speech == "recorded" else f"{S.corpus.name}-synthesized",
    shell:
        'python "$SCRIPTS"/train_lm.py --tokens {input.tokens} --out {params.out} --seed {wildcards.seed} {params.options}'
        " --corpus {params.corpus} 2>&1 | tee {log}"
