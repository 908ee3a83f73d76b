# Every rung continues the same prompts; an ASR transcribes what each model says.


rule make_prompts:
    input:
        cuts=[] if WORLD else CUTS,
        alignment=[] if WORLD else ALIGNMENT,
        models=ALIGNER_MODELS if WORLD else [],
    output:
        "results/continuation/prompts.parquet",
    log:
        "results/logs/make_prompts.log",
    benchmark:
        "results/costs/make_prompts/all.tsv"
    conda:
        ALIGNER_ENV if WORLD else ENV
    params:
        version=inputs.language_version("make_prompts"),
        cuts="" if WORLD else CUTS_WORD,
        aligned="" if WORLD else ALIGNMENT_WORD,
        options=inputs.options("make_prompts"),
        models=flags("models"),
    shell:
        'python "$SCRIPTS"/make_prompts.py --cuts {params.cuts} --alignments {params.aligned} --out {output}'
        " {params.models} {params.options} 2>&1 | tee {log}"


rule continue_rung:
    input:
        models=inputs.models,
        tokens=inputs.tokens,
        prompts=PROMPTS,
        units=inputs.prompt_units,
    output:
        "results/continuation/{rung}/tokens.parquet",
    log:
        "results/logs/continue_rung/{rung}.log",
    benchmark:
        "results/costs/continue_rung/{rung}.tsv"
    conda:
        ENV
    params:
        version=version("continue_rung"),
        models=inputs.model_folders,
        options=inputs.options("continue_rung"),
    shell:
        'python "$SCRIPTS"/continue_rung.py --models {params.models} --tokens {input.tokens}'
        " --prompts-file {input.prompts} --units {input.units} --out {output} {params.options} 2>&1 | tee {log}"


rule build_asr:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        audio=AUDIO,
    output:
        directory("results/continuation/asr"),
    log:
        "results/logs/build_asr.log",
    benchmark:
        "results/costs/build_asr/all.tsv"
    conda:
        ENV
    params:
        version=version("build_asr"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        corpus="world" if WORLD else "local",
    shell:
        'python "$SCRIPTS"/build_asr.py --cuts {params.cuts} --alignments {params.alignment} --corpus {params.corpus}'
        " --out {output} 2>&1 | tee {log}"


rule train_vocoder:
    input:
        cuts=CUTS,
        units=inputs.units,
        audio=AUDIO,
    output:
        directory("results/{point}continuation/vocoder"),
    log:
        "results/{point}logs/train_vocoder.log",
    benchmark:
        "results/{point}costs/train_vocoder/all.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        ENV
    params:
        version=version("train_vocoder"),
        cuts=CUTS_WORD,
        units=inputs.over_shards("results/{point}units/{shard}.parquet"),
        options=inputs.options("train_vocoder"),
    shell:
        'python "$SCRIPTS"/train_vocoder.py --cuts {params.cuts} --units {params.units} --out {output}'
        " {params.options} 2>&1 | tee {log}"


rule transcribe_rung:
    input:
        tokens="results/continuation/{rung}/tokens.parquet",
        prompts=PROMPTS,
        asr=inputs.asr_model,
        vocoder=inputs.vocoder_model,
        cuts=CUTS,
        alignment=ALIGNMENT,
    output:
        transcripts="results/continuation/{rung}/transcripts.parquet",
        examples=report(
            directory("results/continuation/{rung}/examples"),
            patterns=["{name}.flac"],
            caption="../report/continuation_audio.rst",
            category="Continuations",
            subcategory="{rung}",
            labels={"prompt": "{name}"},
        ),
    log:
        "results/logs/transcribe_rung/{rung}.log",
    benchmark:
        "results/costs/transcribe_rung/{rung}.tsv"
    conda:
        ENV
    params:
        version=inputs.asr_version("transcribe_rung"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        options=inputs.options("transcribe_rung"),
    shell:
        'python "$SCRIPTS"/transcribe_rung.py --rung {wildcards.rung} --tokens {input.tokens} --prompts-file {input.prompts}'
        " --asr-folder {input.asr:q} --vocoder-folder {input.vocoder:q} --cuts {params.cuts} --alignments {params.alignment}"
        " --out {output.transcripts} --examples-out {output.examples} {params.options}"
        " 2>&1 | tee {log}"


rule transcribe_reference:
    input:
        prompts=PROMPTS,
        units=inputs.prompt_units,
        asr=inputs.asr_model,
        vocoder=inputs.vocoder_model,
    output:
        "results/continuation/reference.parquet",
    log:
        "results/logs/transcribe_reference.log",
    benchmark:
        "results/costs/transcribe_reference/all.tsv"
    conda:
        ENV
    params:
        version=inputs.asr_version("transcribe_reference"),
        options=inputs.options("transcribe_reference"),
    shell:
        'python "$SCRIPTS"/transcribe_reference.py --prompts-file {input.prompts} --units {input.units} --asr-folder {input.asr:q}'
        " --vocoder-folder {input.vocoder:q} --out {output} {params.options} 2>&1 | tee {log}"


rule transcribe_second:
    input:
        prompts=PROMPTS,
        units=inputs.prompt_units,
        asr=inputs.second_asr_model,
        vocoder=inputs.vocoder_model,
        examples=expand("results/continuation/{rung}/examples", rung=SPOKEN),
    output:
        "results/continuation/second_asr.json",
    log:
        "results/logs/transcribe_second.log",
    benchmark:
        "results/costs/transcribe_second/all.tsv"
    conda:
        ENV
    params:
        version=inputs.asr_version("transcribe_second"),
        rungs=SPOKEN,
        options=inputs.options("transcribe_second"),
    shell:
        'python "$SCRIPTS"/transcribe_second.py --prompts-file {input.prompts} --units {input.units} --vocoder-folder {input.vocoder:q}'
        " --rungs {params.rungs} --example-folders {input.examples} --out {output} {params.options} 2>&1 | tee {log}"
