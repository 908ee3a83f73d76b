# Units that the user's own tokenizer made (units.source: external). Replaces units.smk: there is no encoder, sample or codebook.
from speechladder.units.external.read import files_of
from speechladder.workflow.config import silent_rungs

# Settings under `units` that these stages read.
EXTERNAL = ["source", "path", "items_path", "rate", "repeat", "clusters"]
EXTERNAL_OPTIONS = as_options(S.units, exclude=[name for name in Units.model_fields if name not in EXTERNAL])
UNIT_FILES = list(map(str, files_of(S.units.path)))
ITEM_UNIT_FILES = list(map(str, files_of(S.units.items_path or S.units.path)))


if silent_rungs(S):
    logger.warning(
        f"{', '.join(silent_rungs(S))}: no continuation, since vocoders speak one unit for each 50 Hz frame and those in "
        "units.path are others; their cells in the table stay empty (docs/your-tokenizer.md)"
    )


rule partition_units:
    input:
        units=UNIT_FILES,
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
    output:
        directory("results/units/external"),
    log:
        "results/logs/partition_units.log",
    benchmark:
        "results/costs/partition_units/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["external_units"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        path=lambda wildcards: S.units.path,
    shell:
        'python "$SCRIPTS"/partition_units.py --path {params.path:q} --cuts {params.cuts} --out {output}'
        " 2>&1 | tee {log}"


rule extract_units:
    input:
        partition="results/units/external",
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        alignment="results/alignment/{shard}.parquet",
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
        version=VERSIONS["external_units"],
        options=EXTERNAL_OPTIONS,
    shell:
        'python "$SCRIPTS"/load_units.py --partition {input.partition} --shard {wildcards.shard} --cuts {input.cuts}'
        " --alignment {input.alignment} --out {output.units} --rejected {output.rejected} {params.options} 2>&1 | tee {log}"


rule extract_item_units:
    input:
        units=ITEM_UNIT_FILES,
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
    output:
        expand("results/benchmarks/{task}/units.parquet", task=TASKS),
    log:
        "results/logs/extract_item_units.log",
    benchmark:
        "results/costs/extract_item_units/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["external_units"],
        options=EXTERNAL_OPTIONS,
    shell:
        'python "$SCRIPTS"/load_units.py --items {input.stimuli} --out {output} {params.options} 2>&1 | tee {log}'


rule extract_prompt_units:
    input:
        units=ITEM_UNIT_FILES,
        prompts="results/continuation/prompts.parquet",
    output:
        "results/continuation/units.parquet",
    log:
        "results/logs/extract_prompt_units.log",
    benchmark:
        "results/costs/extract_prompt_units/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["external_units"],
        options=EXTERNAL_OPTIONS,
    shell:
        'python "$SCRIPTS"/load_units.py --items {input.prompts} --out {output} {params.options} 2>&1 | tee {log}'


rule units_quality:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        units=expand("results/units/{shard}.parquet", shard=SHARDS),
        stimuli=expand("results/benchmarks/{task}/items.parquet", task=TASKS),
        item_units=expand("results/benchmarks/{task}/units.parquet", task=TASKS),
    output:
        "results/units/quality.json",
    log:
        "results/logs/units_quality.log",
    benchmark:
        "results/costs/units_quality/all.tsv"
    conda:
        ENV
    params:
        version=(VERSIONS["external_units"], VERSIONS["units_quality"]),
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        alignment=over_shards("results/alignment/{}.parquet"),
        units=over_shards("results/units/{}.parquet"),
        clusters=S.units.clusters,
        minutes=S.units.abx_minutes,
        seed=S.seed,
    shell:
        'python "$SCRIPTS"/units_quality.py --cuts {params.cuts} --alignment {params.alignment} --units {params.units}'
        " --items {input.stimuli} --item-units {input.item_units} --clusters {params.clusters}"
        " --abx-minutes {params.minutes} --out {output} --seed {params.seed} 2>&1 | tee {log}"


rule units_sweep:
    input:
        no_sweep,
    output:
        "results/units_sweep.csv",
