# Every rung goes on speaking: the same prompts, what each model says to them, heard by an ASR and judged by a text LM.

SPOKEN = spoken_rungs(S)


rule make_prompts:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=[] if WORLD else SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=[] if WORLD else SHARDS),
        models=lambda wildcards: aligner_models(wildcards) if WORLD else [],
    output:
        "results/continuation/prompts.parquet",
    log:
        "results/logs/make_prompts.log",
    benchmark:
        "results/costs/make_prompts/all.tsv"
    conda:
        ALIGNER_ENV if WORLD else ENV
    params:
        version=(VERSIONS["prompts"], VERSIONS["corpus"]),
        cuts="" if WORLD else over_shards("results/corpus/cuts.{}.jsonl.gz"),
        aligned="" if WORLD else over_shards("results/alignment/{}.parquet"),
        options=continuation_options(S, "prompts", "prompt_seconds", "prompt_sentences", "seconds"),
        models=lambda wildcards, input: f"--models {input.models}" if input.models else "",
        alignment=aligner_options(S.alignment),
        variability=S.corpus.variability,
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/make_prompts.py --cuts {params.cuts} --alignments {params.aligned} --out {output}'
        " --variability {params.variability} --seed {params.seed} {params.models} {params.options} {params.alignment}"
        " 2>&1 | tee {log}"


# units.source: external has its own (external_units.smk).
if S.units.source != "external":

    rule extract_prompt_units:
        input:
            prompts="results/continuation/prompts.parquet",
            centroids="results/units/centroids.safetensors",
            speakers=item_speakers,
        output:
            "results/continuation/units.parquet",
        log:
            "results/logs/extract_prompt_units.log",
        benchmark:
            "results/costs/extract_prompt_units/all.tsv"
        conda:
            UNITS_ENV
        params:
            version=VERSIONS["units"],
            speakers=with_speakers,
            options=unit_options(SAMPLING, KMEANS, SPEAKERS, ABX, ["normalisation"]),
        shell:
            '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --items {input.prompts} --centroids {input.centroids}'
            " {params.speakers} --out {output} {params.options} 2>&1 | tee {log}"


rule continue_rung:
    input:
        models=expand("results/lm/{{rung}}/seed{seed}", seed=S.lm.seeds),
        tokens="results/tokens/{rung}",
        prompts="results/continuation/prompts.parquet",
        units=prompt_units,
    output:
        "results/continuation/{rung}/tokens.parquet",
    log:
        "results/logs/continue_rung/{rung}.log",
    benchmark:
        "results/costs/continue_rung/{rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["generation"],
        options=continuation_options(S, "seconds", "samples", "temperature", "top_p"),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/continue_rung.py --models {input.models} --tokens {input.tokens}'
        " --prompts-file {input.prompts} --units {input.units} --out {output} --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule build_asr:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
    output:
        directory("results/continuation/asr"),
    log:
        "results/logs/build_asr.log",
    benchmark:
        "results/costs/build_asr/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["asr"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
        corpus="world" if WORLD else "local",
    shell:
        'python "$SCRIPTS"/build_asr.py --cuts {params.cuts} --alignments {params.alignment} --corpus {params.corpus}'
        " --out {output} 2>&1 | tee {log}"


rule train_vocoder:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        units=expand("results/units/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
    output:
        directory("results/continuation/vocoder"),
    log:
        "results/logs/train_vocoder.log",
    benchmark:
        "results/costs/train_vocoder/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["vocoder"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        units=over_shards("results/units/{}.parquet"),
        options=continuation_options(S, "vocoder_steps", "vocoder_minutes"),
        clusters=S.units.clusters,
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/train_vocoder.py --cuts {params.cuts} --units {params.units} --clusters {params.clusters}'
        " --out {output} --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule hear_rung:
    input:
        tokens="results/continuation/{rung}/tokens.parquet",
        prompts="results/continuation/prompts.parquet",
        asr=asr_model,
        vocoder=vocoder_model,
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
    output:
        heard="results/continuation/{rung}/heard.parquet",
        examples=report(
            directory("results/continuation/{rung}/examples"),
            patterns=["{name}.flac"],
            caption="../report/continuation_audio.rst",
            category="Continuations",
            subcategory="{rung}",
            labels={"prompt": "{name}"},
        ),
    log:
        "results/logs/hear_rung/{rung}.log",
    benchmark:
        "results/costs/hear_rung/{rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["hearing"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
        options=lambda wildcards: hearing_options(S, wildcards.rung),
        examples=S.continuation.examples,
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/hear_rung.py --rung {wildcards.rung} --tokens {input.tokens} --prompts-file {input.prompts}'
        " --asr-folder {input.asr:q} --vocoder-folder {input.vocoder:q} --cuts {params.cuts} --alignments {params.alignment}"
        " --out {output.heard} --examples-out {output.examples} --examples {params.examples} --seed {params.seed}"
        " {params.options} 2>&1 | tee {log}"


rule hear_reference:
    input:
        prompts="results/continuation/prompts.parquet",
        units=prompt_units,
        asr=asr_model,
        vocoder=vocoder_model,
    output:
        "results/continuation/reference.parquet",
    log:
        "results/logs/hear_reference.log",
    benchmark:
        "results/costs/hear_reference/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["hearing"],
        options=hearing_options(S),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/hear_reference.py --prompts-file {input.prompts} --units {input.units} --asr-folder {input.asr:q}'
        " --vocoder-folder {input.vocoder:q} --out {output} --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule make_judge_text:
    input:
        texts=S.continuation.judge_text,
        prompts="results/continuation/prompts.parquet",
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=[] if WORLD or S.continuation.judge_text else SHARDS),
    output:
        directory("results/continuation/judge_text"),
    log:
        "results/logs/make_judge_text.log",
    benchmark:
        "results/costs/make_judge_text/all.tsv"
    conda:
        ENV
    params:
        version=(VERSIONS["judge"], VERSIONS["corpus"]),
        cuts="" if WORLD or S.continuation.judge_text else over_shards("results/corpus/cuts.{}.jsonl.gz"),
        options=continuation_options(S, "judge_words"),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/make_judge_text.py --files {input.texts:q} --prompts-file {input.prompts} --cuts {params.cuts}'
        " --out {output} --seed {params.seed} {params.options} 2>&1 | tee {log}"


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
        version=VERSIONS["judge"],
        options=asr_options(S, "judge_steps"),
        lm=as_options(S.lm, exclude=["seeds", "max_steps", "max_tokens", "max_hours", "learning_points"]),
        tokens=as_options(S.tokens, exclude=["phone_vocab", "stress", "silence", "word_boundary"]),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/train_judge.py --text {input} --out {output} --seed {params.seed} {params.options} {params.lm}'
        " {params.tokens} 2>&1 | tee {log}"


rule judge_continuations:
    input:
        heard=expand("results/continuation/{rung}/heard.parquet", rung=SPOKEN),
        prompts="results/continuation/prompts.parquet",
        reference="results/continuation/reference.parquet",
        judge=judge_model,
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
        version=VERSIONS["perplexity"],
        rungs=SPOKEN,
        options=judge_options(S),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/judge_continuations.py --heard {input.heard} --rungs {params.rungs} --prompts-file {input.prompts}'
        " --reference {input.reference} --judge-folder {input.judge:q} --out {output.judged} --quality {output.quality} --seed {params.seed} {params.options} 2>&1 | tee {log}"
