# The items of the tasks: generated, from pairs files, or official. Each rung's likelihood of them.


rule transcribe_stories:
    input:
        stories=inputs.stories,
        asr=inputs.asr_model,
    output:
        "results/benchmarks/topic/transcripts.jsonl",
    log:
        "results/logs/transcribe_stories.log",
    benchmark:
        "results/costs/transcribe_stories/all.tsv"
    conda:
        ENV
    params:
        version=inputs.asr_version("transcribe_stories"),
        options=inputs.options("transcribe_stories"),
    shell:
        'python "$SCRIPTS"/transcribe_stories.py --storycloze {input.stories:q} --asr-folder {input.asr:q} --out {output}'
        " {params.options} 2>&1 | tee {log}"


rule make_items:
    input:
        pairs=inputs.pairs_files,
        recordings=inputs.pairs_audio,
        cuts=inputs.vocabulary,
        official=inputs.official,
        texts=inputs.official_texts,
        transcripts=inputs.official_transcripts,
        durations=inputs.phone_durations,
        models=ALIGNER_MODELS,
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
    threads: inputs.item_threads
    params:
        version=inputs.language_version("make_items"),
        cuts=inputs.vocabulary_option,
        official=inputs.official_option,
        texts=inputs.official_texts_option,
        sources=flags("transcripts", "durations", "models"),
        options=inputs.options("make_items"),
    shell:
        'python "$SCRIPTS"/make_items.py --task {wildcards.task} --pairs {input.pairs:q} {params.cuts} --out {output.stimuli}'
        " --rejected {output.rejected} --about {output.about} --jobs {threads} {params.official} {params.texts} {params.sources}"
        " {params.options} 2>&1 | tee {log}"


rule score_rung:
    input:
        models=inputs.models,
        stimuli=ITEMS,
        tokens=inputs.item_tokens,
    output:
        scores=expand("results/{{point}}scores/{{rung}}/{task}.parquet", task=TASKS),
        learning="results/{point}scores/{rung}/learning.parquet",
    log:
        "results/{point}logs/score_rung/{rung}.log",
    benchmark:
        "results/{point}costs/score_rung/{rung}.tsv"
    wildcard_constraints:
        point=MODELS,
    conda:
        ENV
    params:
        version=version("score_rung"),
        models=inputs.model_folders,
        split=SPLIT,
        options=inputs.options("score_rung"),
    shell:
        'python "$SCRIPTS"/score_rung.py --models {params.models} --items {input.stimuli} --tokens {input.tokens}'
        " --out {output.scores} --curve {output.learning} {params.split} {params.options} 2>&1 | tee {log}"


rule export_slm21:
    input:
        official=inputs.submitted,
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
        version=version("export_slm21"),
        splits=S.benchmarks.slm21_splits,
    shell:
        'python "$SCRIPTS"/export_slm21.py --slm21 {input.official:q} --swuggy {input.swuggy} --sblimp {input.sblimp}'
        " --splits {params.splits} --seed {wildcards.seed} --out {output} 2>&1 | tee {log}"
