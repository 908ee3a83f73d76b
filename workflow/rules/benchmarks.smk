# Items of the three tasks, generated, from pairs files or official, and each rung's likelihood of them.


include: "official.smk"


rule phone_durations:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
    output:
        "results/alignment/durations.json",
    log:
        "results/logs/phone_durations.log",
    benchmark:
        "results/costs/phone_durations/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["durations"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
    shell:
        'python "$SCRIPTS"/phone_durations.py --cuts {params.cuts} --alignments {params.alignment} --out {output}'
        " 2>&1 | tee {log}"


rule transcribe_stories:
    input:
        stories=lambda wildcards: readable(S, S.benchmarks.storycloze, "benchmarks.storycloze"),
        asr=asr_model,
    output:
        "results/benchmarks/topic/transcripts.jsonl",
    log:
        "results/logs/transcribe_stories.log",
    benchmark:
        "results/costs/transcribe_stories/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["transcripts"],
        options=asr_options(S),
    shell:
        'python "$SCRIPTS"/transcribe_stories.py --storycloze {input.stories:q} --asr-folder {input.asr:q} --out {output}'
        " {params.options} 2>&1 | tee {log}"


rule make_items:
    input:
        pairs=pairs_files,
        recordings=pairs_audio,
        cuts=word_cuts,
        official=official,
        texts=story_texts,
        transcripts=story_transcripts,
        durations=phone_durations,
        models=aligner_models,
    output:
        stimuli="results/benchmarks/{task}/items.parquet",
        rejected="results/benchmarks/{task}/rejected.jsonl",
        about="results/benchmarks/{task}/about.json",
    log:
        "results/logs/make_items/{task}.log",
    benchmark:
        "results/costs/make_items/{task}.tsv"
    conda:
        ALIGNER_ENV
    threads: stimuli_threads
    params:
        version=VERSIONS["items"],
        cuts=lambda wildcards, input: over_shards("results/corpus/cuts.{}.jsonl.gz")(wildcards) if input.cuts else "",
        official=official_option,
        texts=lambda wildcards, input: f"--storycloze-text {shlex.quote(str(input.texts))}" if input.texts else "",
        transcripts=lambda wildcards, input: f"--transcripts {input.transcripts}" if input.transcripts else "",
        durations=lambda wildcards, input: f"--durations {input.durations}" if input.durations else "",
        models=lambda wildcards, input: f"--models {input.models}" if input.models else "",
        options=stimuli_options,
        alignment=aligner_options(S.alignment, *([] if MFA else ["beam"])),
        variability=S.corpus.variability,
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/make_items.py --task {wildcards.task} --pairs {input.pairs:q} --cuts {params.cuts} --out {output.stimuli}'
        " --rejected {output.rejected} --about {output.about} --variability {params.variability} --seed {params.seed}"
        " --jobs {threads} {params.official} {params.texts} {params.transcripts} {params.durations} {params.models}"
        " {params.options} {params.alignment} 2>&1 | tee {log}"


rule score_rung:
    input:
        models=expand("results/lm/{{rung}}/seed{seed}", seed=S.lm.seeds),
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        tokens=expand("results/benchmarks/{task}/{{rung}}.parquet", task=TASKS),
    output:
        scores=expand("results/scores/{{rung}}/{task}.parquet", task=TASKS),
        learning="results/scores/{rung}/learning.parquet",
    log:
        "results/logs/score_rung/{rung}.log",
    benchmark:
        "results/costs/score_rung/{rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["scores"],
        split=f"--split {S.benchmarks.slm21_splits[0]}" if S.benchmarks.slm21 else "",
        options=as_options(S.scores),
    shell:
        'python "$SCRIPTS"/score_rung.py --models {input.models} --items {input.stimuli} --tokens {input.tokens}'
        " --out {output.scores} --curve {output.learning} {params.split} {params.options} 2>&1 | tee {log}"


rule export_slm21:
    input:
        official=lambda wildcards: slm21() or needs_slm21(),
        swuggy="results/scores/{rung}/swuggy.parquet",
        sblimp="results/scores/{rung}/sblimp.parquet",
    output:
        directory("results/submission/{rung}/seed{seed}"),
    log:
        "results/logs/export_slm21/{rung}.seed{seed}.log",
    benchmark:
        "results/costs/export_slm21/{rung}.seed{seed}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["submission"],
        splits=S.benchmarks.slm21_splits,
    shell:
        'python "$SCRIPTS"/export_slm21.py --slm21 {input.official:q} --swuggy {input.swuggy} --sblimp {input.sblimp}'
        " --splits {params.splits} --seed {wildcards.seed} --out {output} 2>&1 | tee {log}"
