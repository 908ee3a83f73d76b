# The paper's open questions: results/questions.csv, over arms (other units of the same speech), rungs of the run, and runs on the
# same texts spoken otherwise. Not part of the default target.
#
# Units, tokens, models and scores of an arm are made by the rules of the run's own, below results/questions/{arm}/. The
# run in one flat voice is that of results/causes.csv. results/variability_change.csv and results/units_sweep.csv are no
# inputs: the table quotes them if they are there.


use rule variability_run as synthesized_run with:
    output:
        update(expand("results/questions/synthesized/results/{file}", file=MADE)),
    log:
        "results/logs/synthesized_run.log",
    benchmark:
        "results/costs/synthesized_run/all.tsv"
    params:
        config=lambda wildcards: prints_alone(synthesized_config)(S),
        folder=subpath(output[0], ancestor=3),
        targets=expand("results/{file}", file=MADE) + expand("results/scores/phone-repeat/{task}.parquet", task=TASKS),


rule questions:
    input:
        scores=questions.scores,
        quality=questions.quality,
        runs=questions.runs,
    output:
        table=report(
            "results/questions.csv",
            caption="../report/questions.rst",
            category="Results",
            labels={"what": "questions"},
        ),
        svg=report(
            "results/figures/questions.svg",
            caption="../report/questions.rst",
            category="Figures",
            labels={"what": "questions"},
        ),
        png="results/figures/questions.png",
    log:
        "results/logs/questions.log",
    benchmark:
        "results/costs/questions/all.tsv"
    conda:
        ENV
    params:
        version=version("questions"),
        own=questions.own,
        arms=questions.arm_words,
        rungs=questions.own_rungs,
        corpora=questions.corpus_words,
        split=SPLIT,
        options=inputs.options("questions"),
    shell:
        'python "$SCRIPTS"/make_questions.py --results results --own {params.own} --arms {params.arms}'
        " --rungs {params.rungs} --corpora {params.corpora} --out {output.table} --figures results/figures {params.split}"
        " {params.options} 2>&1 | tee {log}"
