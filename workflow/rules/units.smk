# Acoustic units: a k-means sample, a codebook, and the units of corpus and items. Features are never stored.
#
# {point} is the prefix of a point of the units sweep or of an arm of the questions (speechladder.settings.points), empty for the
# run's own units.


rule speaker_statistics:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        audio=AUDIO,
    output:
        "results/{point}units/speakers.safetensors",
    log:
        "results/{point}logs/speaker_statistics.log",
    benchmark:
        "results/{point}costs/speaker_statistics/all.tsv"
    wildcard_constraints:
        point=LAYERS,
    conda:
        UNITS_ENV
    params:
        version=version("speaker_statistics"),
        encoder=inputs.encoder_digest,
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        options=inputs.options("speaker_statistics"),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/speaker_statistics.py --cuts {params.cuts} --alignment {params.alignment} --out {output}'
        " {params.options} 2>&1 | tee {log}"


rule voice_statistics:
    input:
        stimuli=ITEMS,
        prompts=PROMPTS if S.continuation.enabled else [],
        speakers="results/{point}units/speakers.safetensors",
    output:
        "results/{point}units/voices.safetensors",
    log:
        "results/{point}logs/voice_statistics.log",
    benchmark:
        "results/{point}costs/voice_statistics/all.tsv"
    wildcard_constraints:
        point=LAYERS,
    conda:
        UNITS_ENV
    params:
        version=version("voice_statistics"),
        options=inputs.options("voice_statistics"),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/speaker_statistics.py --items {input.stimuli} {input.prompts} --speakers {input.speakers}'
        " --out {output} {params.options} 2>&1 | tee {log}"


rule sample_features:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        audio=AUDIO,
        speakers=inputs.speakers,
    output:
        "results/{point}units/sample.safetensors",
    log:
        "results/{point}logs/sample_features.log",
    benchmark:
        "results/{point}costs/sample_features/all.tsv"
    wildcard_constraints:
        point=SAMPLES,
    conda:
        UNITS_ENV
    params:
        version=version("sample_features"),
        encoder=inputs.encoder_digest,
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        speakers=flags("speakers"),
        options=inputs.options("sample_features"),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/sample_features.py --cuts {params.cuts} --alignment {params.alignment} {params.speakers}'
        " --out {output} {params.options} 2>&1 | tee {log}"


rule train_kmeans:
    input:
        inputs.sample,
    output:
        centroids="results/{point}units/centroids.safetensors",
        objective="results/{point}units/kmeans.jsonl",
    log:
        "results/{point}logs/train_kmeans.log",
    benchmark:
        "results/{point}costs/train_kmeans/all.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        ENV
    params:
        version=version("train_kmeans"),
        options=inputs.options("train_kmeans"),
    shell:
        'python "$SCRIPTS"/train_kmeans.py --sample {input} --out {output.centroids} --log {output.objective}'
        " {params.options} 2>&1 | tee {log}"


rule extract_units:
    input:
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        alignment="results/alignment/{shard}.parquet",
        audio=SHARD_AUDIO,
        centroids="results/{point}units/centroids.safetensors",
        speakers=inputs.speakers,
    output:
        units="results/{point}units/{shard}.parquet",
        rejected="results/{point}units/rejected.{shard}.jsonl",
    log:
        "results/{point}logs/extract_units/{shard}.log",
    benchmark:
        "results/{point}costs/extract_units/{shard}.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        UNITS_ENV
    params:
        version=version("extract_units"),
        speakers=flags("speakers"),
        options=inputs.options("extract_units"),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --cuts {input.cuts} --alignment {input.alignment}'
        " --centroids {input.centroids} {params.speakers} --out {output.units} --rejected {output.rejected}"
        " {params.options} 2>&1 | tee {log}"


# One job for all tasks, because loading the encoder takes longer than encoding the words.
rule extract_item_units:
    input:
        stimuli=ITEMS,
        centroids="results/{point}units/centroids.safetensors",
        speakers=inputs.item_speakers,
    output:
        expand("results/{{point}}benchmarks/{task}/units.parquet", task=TASKS),
    log:
        "results/{point}logs/extract_item_units.log",
    benchmark:
        "results/{point}costs/extract_item_units/all.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        UNITS_ENV
    params:
        version=version("extract_item_units"),
        speakers=flags("speakers"),
        options=inputs.options("extract_item_units"),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --items {input.stimuli} --centroids {input.centroids} {params.speakers}'
        " --out {output} {params.options} 2>&1 | tee {log}"


rule extract_prompt_units:
    input:
        prompts=PROMPTS,
        centroids="results/units/centroids.safetensors",
        speakers=inputs.item_speakers,
    output:
        "results/continuation/units.parquet",
    log:
        "results/logs/extract_prompt_units.log",
    benchmark:
        "results/costs/extract_prompt_units/all.tsv"
    conda:
        UNITS_ENV
    params:
        version=version("extract_prompt_units"),
        speakers=flags("speakers"),
        options=inputs.options("extract_prompt_units"),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --items {input.prompts} --centroids {input.centroids}'
        " {params.speakers} --out {output} {params.options} 2>&1 | tee {log}"
