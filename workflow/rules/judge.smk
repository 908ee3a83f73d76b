# The text LM that judges the continuations, and its perplexities of them.


rule make_judge_text:
    input:
        texts=S.continuation.judge_text,
        prompts=PROMPTS,
        cuts=[] if WORLD or S.continuation.judge_text else CUTS,
    output:
        directory("results/continuation/judge_text"),
    log:
        "results/logs/make_judge_text.log",
    benchmark:
        "results/costs/make_judge_text/all.tsv"
    conda:
        ENV
    params:
        version=inputs.language_version("make_judge_text"),
        cuts="" if WORLD or S.continuation.judge_text else CUTS_WORD,
        options=inputs.options("make_judge_text"),
    shell:
        'python "$SCRIPTS"/make_judge_text.py --files {input.texts:q} --prompts-file {input.prompts} --cuts {params.cuts}'
        " --out {output} {params.options} 2>&1 | tee {log}"


rule train_judge:
    input:
        "results/continuation/judge_text",
    output:
        directory("results/continuation/judge"),
    log:
        "results/logs/train_judge.log",
    benchmark:
        "results/costs/train_judge/all.tsv"
    conda:
        ENV
    threads: S.lm.threads
    params:
        version=version("train_judge"),
        options=inputs.options("train_judge"),
    shell:
        'python "$SCRIPTS"/train_judge.py --text {input} --out {output} {params.options} 2>&1 | tee {log}'


rule judge_continuations:
    input:
        transcripts=expand("results/continuation/{rung}/transcripts.parquet", rung=SPOKEN),
        prompts=PROMPTS,
        reference="results/continuation/reference.parquet",
        judge=inputs.judge_model,
        second=inputs.second_transcripts,
    output:
        judged="results/continuation/judged.parquet",
        quality="results/continuation/quality.json",
    log:
        "results/logs/judge_continuations.log",
    benchmark:
        "results/costs/judge_continuations/all.tsv"
    conda:
        ENV
    params:
        version=version("judge_continuations"),
        rungs=SPOKEN,
        second=flags("second"),
        options=inputs.options("judge_continuations"),
    shell:
        'python "$SCRIPTS"/judge_continuations.py --transcripts {input.transcripts} --rungs {params.rungs} --prompts-file {input.prompts}'
        " --reference {input.reference} --judge-folder {input.judge:q} --out {output.judged} --quality {output.quality}"
        " {params.second} {params.options} 2>&1 | tee {log}"
