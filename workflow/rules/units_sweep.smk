# How much of factor C is the units' own: results/units_sweep.csv, over the points of `sweep`. Not part of the default target.
#
# A point shares the run's corpus, alignment, items and list of utterances. It costs what is its own: a codebook; the figures,
# on a part of the speech that is encoded once per layer; and, where it is trained, units, tokens, a model and scores, none of
# which another point's coming or going makes anew. The run's own units are a point that has them already.


wildcard_constraints:
    layer=r"\d+",
    codebook="|".join(CODEBOOKS),
    unit_rung="speech-hubert|speech-hubert-dedup",


rule sweep_speakers:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        encoder=encoder_files,
    output:
        f"{LAYER}/speakers.safetensors",
    log:
        "results/logs/sweep_speakers/{layer}.log",
    benchmark:
        "results/costs/sweep_speakers/layer{layer}.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        cuts=all_cuts,
        alignment=all_alignments,
        options=of_layer(SAMPLING, KMEANS, ABX),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/speaker_statistics.py --cuts {params.cuts} --alignment {params.alignment} --out {output}'
        " --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule sweep_voices:
    input:
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        prompts="results/continuation/prompts.parquet" if S.continuation.enabled else [],
        speakers=f"{LAYER}/speakers.safetensors",
    output:
        f"{LAYER}/voices.safetensors",
    log:
        "results/logs/sweep_voices/{layer}.log",
    benchmark:
        "results/costs/sweep_voices/layer{layer}.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        options=of_layer(SAMPLING, KMEANS, ABX),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/speaker_statistics.py --items {input.stimuli} {input.prompts} --speakers {input.speakers} --out {output}'
        " --seed {params.seed} {params.options} 2>&1 | tee {log}"


# The same frames under every normalisation, encoded once.
rule sweep_samples:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        encoder=encoder_files,
        speakers=sweep_speakers,
    output:
        first=f"{LAYER}/sample.{NORMALISATIONS[0]}.safetensors",
        also=[f"{LAYER}/sample.{name}.safetensors" for name in NORMALISATIONS[1:]],
    log:
        "results/logs/sweep_samples/{layer}.log",
    benchmark:
        "results/costs/sweep_samples/layer{layer}.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        cuts=all_cuts,
        alignment=all_alignments,
        speakers=with_speakers,
        first=NORMALISATIONS[0],
        also=[f"{name}={LAYER}/sample.{name}.safetensors" for name in NORMALISATIONS[1:]],
        options=lambda wildcards: unit_options(KMEANS, SPEAKERS, ABX, ["normalisation"], layer=int(wildcards.layer)),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/sample_features.py --cuts {params.cuts} --alignment {params.alignment} {params.speakers}'
        " --out {output.first} --normalisation {params.first} --also {params.also} --seed {params.seed}"
        " {params.options} 2>&1 | tee {log}"


rule sweep_kmeans:
    input:
        sample_of,
    output:
        codebook=f"{SWEEP}/codebooks/{{codebook}}.safetensors",
        objective=f"{SWEEP}/codebooks/{{codebook}}.jsonl",
    log:
        "results/logs/sweep_kmeans/{codebook}.log",
    benchmark:
        "results/costs/sweep_kmeans/{codebook}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["units"],
        options=lambda wildcards: kmeans_options(clusters=point_of(wildcards).clusters),
        seed=lambda wildcards: point_of(wildcards).seed,
    shell:
        'python "$SCRIPTS"/train_kmeans.py --sample {input} --out {output.codebook} --log {output.objective}'
        " --seed {params.seed} {params.options} 2>&1 | tee {log}"


rule sweep_quality:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        codebooks=measured,
        speakers=sweep_speakers,
    output:
        f"{LAYER}/quality.json",
    log:
        "results/logs/sweep_quality/{layer}.log",
    benchmark:
        "results/costs/sweep_quality/layer{layer}.tsv"
    conda:
        UNITS_ENV
    params:
        version=(VERSIONS["units"], VERSIONS["units_quality"]),
        cuts=all_cuts,
        alignment=all_alignments,
        speakers=with_speakers,
        minutes=S.sweep.minutes,
        options=of_layer(SAMPLING, KMEANS, SPEAKERS),
        seed=S.seed,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/sweep_quality.py --cuts {params.cuts} --alignment {params.alignment} {params.speakers}'
        " --codebooks {input.codebooks} --out {output} --minutes {params.minutes} --seed {params.seed}"
        " {params.options} 2>&1 | tee {log}"


rule sweep_units:
    input:
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        alignment="results/alignment/{shard}.parquet",
        audio=lambda wildcards: audio([wildcards.shard]),
        codebook=f"{SWEEP}/codebooks/{{codebook}}.safetensors",
        speakers=point_speakers,
    output:
        units=f"{POINT}/units/{{shard}}.parquet",
        rejected=f"{POINT}/units/rejected.{{shard}}.jsonl",
    log:
        "results/logs/sweep_units/{codebook}.{shard}.log",
    benchmark:
        "results/costs/sweep_units/{codebook}.{shard}.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        speakers=with_speakers,
        options=of_point(SAMPLING, KMEANS, SPEAKERS, ABX),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --cuts {input.cuts} --alignment {input.alignment}'
        " --centroids {input.codebook} {params.speakers} --out {output.units} --rejected {output.rejected}"
        " {params.options} 2>&1 | tee {log}"


rule sweep_item_units:
    input:
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        codebook=f"{SWEEP}/codebooks/{{codebook}}.safetensors",
        speakers=point_voices,
    output:
        expand(f"{SWEEP}/{{{{codebook}}}}/items/{{task}}.parquet", task=TASKS),
    log:
        "results/logs/sweep_item_units/{codebook}.log",
    benchmark:
        "results/costs/sweep_item_units/{codebook}.tsv"
    conda:
        UNITS_ENV
    params:
        version=VERSIONS["units"],
        speakers=with_speakers,
        options=of_point(SAMPLING, KMEANS, SPEAKERS, ABX),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --items {input.stimuli} --centroids {input.codebook} {params.speakers}'
        " --out {output} {params.options} 2>&1 | tee {log}"


rule sweep_tokens:
    input:
        utterances="results/tokens/utterances.parquet",
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        units=point_units,
    output:
        directory(f"{POINT}/tokens/{{unit_rung}}"),
    log:
        "results/logs/sweep_tokens/{codebook}.{unit_rung}.log",
    benchmark:
        "results/costs/sweep_tokens/{codebook}.{unit_rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["tokens"],
        cuts=all_cuts,
        alignment=all_alignments,
        units=point_shards,
        options=lambda wildcards: token_options(S, wildcards.unit_rung),
        clusters=lambda wildcards: point_of(wildcards).clusters,
    shell:
        'python "$SCRIPTS"/tokenize_rung.py --rung {wildcards.unit_rung} --utterances {input.utterances}'
        " --cuts {params.cuts} --alignment {params.alignment} --units {params.units} --clusters {params.clusters}"
        " --out {output} {params.options} 2>&1 | tee {log}"


use rule train_lm as sweep_lm with:
    input:
        tokens=f"{POINT}/tokens/{{unit_rung}}",
        init=init_files,
    output:
        directory(f"{POINT}/lm/{{unit_rung}}/seed{{seed}}"),
    log:
        "results/logs/sweep_lm/{codebook}.{unit_rung}.seed{seed}.log",
    benchmark:
        "results/costs/sweep_lm/{codebook}.{unit_rung}.seed{seed}.tsv"


rule sweep_item_tokens:
    input:
        tokens=f"{POINT}/tokens/{{unit_rung}}",
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        units=point_items,
    output:
        expand(f"{SWEEP}/{{{{codebook}}}}/benchmarks/{{task}}/{{{{unit_rung}}}}.parquet", task=TASKS),
    log:
        "results/logs/sweep_item_tokens/{codebook}.{unit_rung}.log",
    benchmark:
        "results/costs/sweep_item_tokens/{codebook}.{unit_rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["item_tokens"],
    shell:
        'python "$SCRIPTS"/tokenize_items.py --tokens {input.tokens} --items {input.stimuli}'
        " --units {input.units} --out {output} 2>&1 | tee {log}"


rule sweep_scores:
    input:
        models=expand(f"{SWEEP}/{{{{codebook}}}}/lm/{{{{unit_rung}}}}/seed{{seed}}", seed=S.lm.seeds),
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        tokens=expand(f"{SWEEP}/{{{{codebook}}}}/benchmarks/{{task}}/{{{{unit_rung}}}}.parquet", task=TASKS),
    output:
        scores=expand(f"{SWEEP}/{{{{codebook}}}}/scores/{{{{unit_rung}}}}/{{task}}.parquet", task=TASKS),
        learning=f"{POINT}/scores/{{unit_rung}}/learning.parquet",
    log:
        "results/logs/sweep_scores/{codebook}.{unit_rung}.log",
    benchmark:
        "results/costs/sweep_scores/{codebook}.{unit_rung}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["scores"],
        options=as_options(S.scores.model_copy(update={"layers": False, "learning": False})),
    shell:
        'python "$SCRIPTS"/score_rung.py --models {input.models} --items {input.stimuli} --tokens {input.tokens}'
        " --out {output.scores} --curve {output.learning} {params.options} 2>&1 | tee {log}"


rule units_sweep:
    input:
        quality=expand(f"{SWEEP}/layer{{layer}}/quality.json", layer=S.sweep.layers),
        scores=scored,
    output:
        table="results/units_sweep.csv",
        svg=report(
            "results/figures/units_sweep.svg",
            caption="../report/units_sweep.rst",
            category="Figures",
            labels={"what": "units_sweep"},
        ),
        png="results/figures/units_sweep.png",
    log:
        "results/logs/units_sweep.log",
    benchmark:
        "results/costs/units_sweep/table.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["analysis"],
        options=as_options(S.analysis),
        split=f"--split {S.benchmarks.slm21_splits[0]}" if S.benchmarks.slm21 else "",
        points=[point.name for point in POINTS],
        trained=[f"{point.name}={home_of(point)}" for point in TO_TRAIN],
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/make_units_sweep.py --results results --points {params.points} --quality {input.quality}'
        " --trained {params.trained} --out {output.table} --figures results/figures --seed {params.seed}"
        " {params.split} {params.options} 2>&1 | tee {log}"
