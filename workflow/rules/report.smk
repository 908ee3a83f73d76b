# The table, the figures, the costs, and the page.

FIGURES = ["ladder", "factors", "layers", "learning", "lengths", "continuation"]
SLM21 = ["results/slm21.csv"] if S.benchmarks.slm21 else []


rule make_table:
    input:
        tokens=expand("results/tokens/{rung}", rung=S.rungs),
        models=expand("results/lm/{rung}/seed{seed}/train.json", rung=S.rungs, seed=S.lm.seeds),
        scores=expand("results/scores/{rung}/{task}.parquet", rung=S.rungs, task=TASKS),
        learning=expand("results/scores/{rung}/learning.parquet", rung=S.rungs),
        utterances="results/tokens/utterances.parquet",
        alignment="results/alignment/quality.json",
        units="results/units/quality.json",
        judged=expand("results/continuation/{file}", file=["judged.parquet", "quality.json"] if SPOKEN else []),
        baselines="results/baselines.csv",
        rejected=expand("results/{stage}/rejected.{shard}.jsonl", stage=["corpus", "alignment", "units"], shard=SHARDS),
        lengths=["results/benchmarks/swuggy/items.parquet"] if SLM21 else [],
    output:
        table=report("results/table.csv", caption="../report/table.rst", category="Results", labels={"what": "table"}),
        slm21=[
            report(path, caption="../report/slm21.rst", category="Results", labels={"what": "sLM21"}) for path in SLM21
        ],
        factors="results/factors.csv",
        types=report("results/types.csv", caption="../report/types.rst", category="Results", labels={"what": "types"}),
        continuation=report(
            "results/continuation.csv",
            caption="../report/continuation_table.rst",
            category="Results",
            labels={"what": "continuation"},
        ),
        layers="results/layers.csv",
        learning="results/learning.csv",
        costs=report("results/costs.csv", caption="../report/costs.rst", category="Run", labels={"what": "costs"}),
        rejected=report(
            "results/rejected.csv", caption="../report/rejected.rst", category="Run", labels={"what": "rejected"}
        ),
        svg=[
            report(
                f"results/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"what": name},
            )
            for name in FIGURES
        ],
        png=expand("results/figures/{name}.png", name=FIGURES),
    log:
        "results/logs/make_table.log",
    benchmark:
        "results/costs/make_table/all.tsv"
    conda:
        ENV
    params:
        version=version("make_table"),
        options=inputs.options("make_table"),
        rungs=S.rungs,
        spoken=SPOKEN,
        splits="--splits " + " ".join(S.benchmarks.slm21_splits) if SLM21 else "",
        shards=S.corpus.shards,
        seeds=S.lm.seeds,
    shell:
        '( python "$SCRIPTS"/make_table.py --results results --rungs {params.rungs} --shards {params.shards}'
        " --spoken {params.spoken} --seeds {params.seeds} {params.splits} {params.options}"
        ' && python "$SCRIPTS"/make_figures.py --results results ) 2>&1 | tee {log}'


rule make_report:
    input:
        tables=expand(
            "results/{table}.csv",
            table=[
                "table",
                "factors",
                "types",
                "continuation",
                "layers",
                "learning",
                "costs",
                "rejected",
                "baselines",
            ],
        ),
        tokens=expand("results/tokens/{rung}", rung=S.rungs),
        alignment="results/alignment/quality.json",
        units="results/units/quality.json",
        # what one hears
        stimuli=ITEMS,
        scores=expand("results/scores/{rung}/{task}.parquet", rung=S.rungs, task=TASKS),
        continuations=expand(
            "results/continuation/{rung}/{file}", rung=SPOKEN, file=["transcripts.parquet", "examples"]
        ),
        prompts=expand("results/continuation/{file}.parquet", file=["prompts", "reference", "judged"] if SPOKEN else []),
        utterances="results/tokens/utterances.parquet",
        cuts=CUTS,
        audio=AUDIO,
        spans=ALIGNMENT,
        unit_tables=expand("results/units/{shard}.parquet", shard=SHARDS),
    output:
        report("results/report.html", caption="../report/page.rst", category="Results", labels={"what": "page"}),
    log:
        "results/logs/make_report.log",
    benchmark:
        "results/costs/make_report/all.tsv"
    conda:
        ENV
    params:
        version=version("make_report"),
    shell:
        'python "$SCRIPTS"/make_report.py --results results --out {output} 2>&1 | tee {log}'


rule make_baselines:
    input:
        tokens=expand("results/tokens/{rung}", rung=S.rungs),
        stimuli=ITEMS,
        item_tokens=expand("results/benchmarks/{task}/{rung}.parquet", task=TASKS, rung=S.rungs),
    output:
        report(
            "results/baselines.csv",
            caption="../report/baselines.rst",
            category="Results",
            labels={"what": "baselines"},
        ),
    log:
        "results/logs/make_baselines.log",
    benchmark:
        "results/costs/make_baselines/all.tsv"
    conda:
        ENV
    params:
        version=version("make_baselines"),
        options=inputs.options("make_baselines"),
        rungs=S.rungs,
        splits="--splits " + " ".join(S.benchmarks.slm21_splits) if SLM21 else "",
    shell:
        'python "$SCRIPTS"/make_baselines.py --results results --rungs {params.rungs} {params.splits} {params.options}'
        " 2>&1 | tee {log}"
