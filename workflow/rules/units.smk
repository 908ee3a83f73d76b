# Acoustic units: a k-means sample, a codebook, and the units of corpus and items. Features are never stored.


rule speaker_statistics:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        encoder=encoder_files,
    output:
        "results/units/speakers.safetensors",
    log:
        "results/logs/speaker_statistics.log",
    benchmark:
        "results/costs/speaker_statistics/all.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        cuts=all_cuts,
        alignment=all_alignments,
        options=unit_options(SAMPLING, KMEANS, ABX, ["normalisation"]),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/speaker_statistics.py --cuts {params.cuts} --alignment {params.alignment} --out {output}'
        " --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule voice_statistics:
    input:
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        prompts="results/continuation/prompts.parquet" if S.continuation.enabled else [],
        speakers="results/units/speakers.safetensors",
    output:
        "results/units/voices.safetensors",
    log:
        "results/logs/voice_statistics.log",
    benchmark:
        "results/costs/voice_statistics/all.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        options=unit_options(SAMPLING, KMEANS, ABX, ["normalisation"]),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/speaker_statistics.py --items {input.stimuli} {input.prompts} --speakers {input.speakers}'
        " --out {output} --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule sample_features:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        encoder=encoder_files,
        speakers=speakers_of(S.units.normalisation),
    output:
        "results/units/sample.safetensors",
    log:
        "results/logs/sample_features.log",
    benchmark:
        "results/costs/sample_features/all.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        cuts=all_cuts,
        alignment=all_alignments,
        speakers=with_speakers,
        options=unit_options(KMEANS, SPEAKERS, ABX),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/sample_features.py --cuts {params.cuts} --alignment {params.alignment} {params.speakers}'
        " --out {output} --seed {params.seed} {params.options} 2>&1 | tee {log}"


# A diagnostic of its own: other minutes make neither a sample nor what follows from it anew.
rule features_abx:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        encoder=encoder_files,
        speakers=speakers_of(S.units.normalisation),
    output:
        "results/units/abx.json",
    log:
        "results/logs/features_abx.log",
    benchmark:
        "results/costs/features_abx/all.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units_quality"],
        cuts=all_cuts,
        alignment=all_alignments,
        speakers=with_speakers,
        options=unit_options(SAMPLING, KMEANS, SPEAKERS),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/features_abx.py --cuts {params.cuts} --alignment {params.alignment} {params.speakers}'
        " --out {output} --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule train_kmeans:
    input:
        "results/units/sample.safetensors",
    output:
        centroids="results/units/centroids.safetensors",
        objective="results/units/kmeans.jsonl",
    log:
        "results/logs/train_kmeans.log",
    benchmark:
        "results/costs/train_kmeans/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["units"],
        options=kmeans_options(),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/train_kmeans.py --sample {input} --out {output.centroids} --log {output.objective}'
        " --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule extract_units:
    input:
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        alignment="results/alignment/{shard}.parquet",
        audio=lambda wildcards: audio([wildcards.shard]),
        centroids="results/units/centroids.safetensors",
        speakers=speakers_of(S.units.normalisation),
    output:
        units="results/units/{shard}.parquet",
        rejected="results/units/rejected.{shard}.jsonl",
    log:
        "results/logs/extract_units/{shard}.log",
    benchmark:
        "results/costs/extract_units/{shard}.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        speakers=with_speakers,
        options=unit_options(SAMPLING, KMEANS, SPEAKERS, ABX, ["normalisation"]),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --cuts {input.cuts} --alignment {input.alignment}'
        " --centroids {input.centroids} {params.speakers} --out {output.units} --rejected {output.rejected}"
        " {params.options} 2>&1 | tee {log}"


# One job for all tasks: loading the encoder takes longer than the words do.
rule extract_item_units:
    input:
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        centroids="results/units/centroids.safetensors",
        speakers=item_speakers,
    output:
        expand("results/benchmarks/{task}/units.parquet", task=TASKS),
    log:
        "results/logs/extract_item_units.log",
    benchmark:
        "results/costs/extract_item_units/all.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        speakers=with_speakers,
        options=unit_options(SAMPLING, KMEANS, SPEAKERS, ABX, ["normalisation"]),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --items {input.stimuli} --centroids {input.centroids} {params.speakers}'
        " --out {output} {params.options} 2>&1 | tee {log}"


rule units_quality:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        units=expand("results/units/{shard}.parquet", shard=SHARDS),
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        item_units=expand("results/benchmarks/{task}/units.parquet", task=TASKS),
        centroids="results/units/centroids.safetensors",
        abx="results/units/abx.json" if S.units.abx_minutes else [],
    output:
        "results/units/quality.json",
    log:
        "results/logs/units_quality.log",
    benchmark:
        "results/costs/units_quality/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["units_quality"],
        cuts=all_cuts,
        alignment=all_alignments,
        units=all_units,
        abx=lambda wildcards, input: f"--features-abx {input.abx}" if input.abx else "",
        minutes=S.units.abx_minutes,
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/units_quality.py --cuts {params.cuts} --alignment {params.alignment} --units {params.units}'
        " --items {input.stimuli} --item-units {input.item_units} --centroids {input.centroids}"
        " {params.abx} --abx-minutes {params.minutes} --out {output} --seed {params.seed} 2>&1 | tee {log}"
