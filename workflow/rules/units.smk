# Acoustic units: a k-means sample, a codebook, and the units of corpus and items. Features are never stored.


rule sample_features:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        encoder=encoder_files,
    output:
        "results/units/sample.safetensors",
    log:
        "results/logs/sample_features.log",
    benchmark:
        "results/costs/sample_features/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["units"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
        options=as_options(S.units, exclude=["clusters", "iterations", "max_points_per_centroid"]),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/sample_features.py --cuts {params.cuts} --alignment {params.alignment} --out {output}'
        " --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule train_kmeans:
    input:
        "results/units/sample.safetensors",
    output:
        "results/units/centroids.safetensors",
    log:
        "results/logs/train_kmeans.log",
    benchmark:
        "results/costs/train_kmeans/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["units"],
        options=as_options(S.units, exclude=["sample_frames", "batch_seconds"]),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/train_kmeans.py --sample {input} --out {output} --seed {params.seed} {params.options}'
        " 2>&1 | tee {log}"


rule extract_units:
    input:
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        alignment="results/alignment/{shard}.parquet",
        audio=lambda wildcards: audio([wildcards.shard]),
        centroids="results/units/centroids.safetensors",
    output:
        units="results/units/{shard}.parquet",
        rejected="results/units/rejected.{shard}.jsonl",
    log:
        "results/logs/extract_units/{shard}.log",
    benchmark:
        "results/costs/extract_units/{shard}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["units"],
        options=as_options(S.units, exclude=["sample_frames", "iterations", "max_points_per_centroid"]),
    shell:
        'python "$SCRIPTS"/extract_units.py --cuts {input.cuts} --alignment {input.alignment}'
        " --centroids {input.centroids} --out {output.units} --rejected {output.rejected}"
        " {params.options} 2>&1 | tee {log}"


# One job for all tasks: loading the encoder takes longer than the words do.
rule extract_item_units:
    input:
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        centroids="results/units/centroids.safetensors",
    output:
        expand("results/benchmarks/{task}/units.parquet", task=TASKS),
    log:
        "results/logs/extract_item_units.log",
    benchmark:
        "results/costs/extract_item_units/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["units"],
        options=as_options(S.units, exclude=["sample_frames", "iterations", "max_points_per_centroid"]),
    shell:
        'python "$SCRIPTS"/extract_units.py --items {input.stimuli} --centroids {input.centroids} --out {output}'
        " {params.options} 2>&1 | tee {log}"


rule units_quality:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        units=expand("results/units/{shard}.parquet", shard=SHARDS),
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        item_units=expand("results/benchmarks/{task}/units.parquet", task=TASKS),
        centroids="results/units/centroids.safetensors",
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
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
        units=over_shards("results/units/{}.parquet"),
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/units_quality.py --cuts {params.cuts} --alignment {params.alignment} --units {params.units}'
        " --items {input.stimuli} --item-units {input.item_units} --centroids {input.centroids} --out {output}"
        " --seed {params.seed} 2>&1 | tee {log}"
