# Units that the user's own tokenizer made (units.source: external), instead of units.smk: there is no encoder, no sample and no
# codebook.
from speechladder.units.external.files import files_of, with_companions

UNIT_FILES = list(map(str, with_companions(files_of(S.units.path))))
ITEM_UNIT_FILES = list(map(str, with_companions(files_of(S.units.items_path or S.units.path))))
# Where items stand in the files of the corpus, their names are known, so that only rows that belong to neither are reported.
KNOWN_ITEMS = [*ITEMS, *([PROMPTS] if S.continuation.enabled else [])] if {*UNIT_FILES} & {*ITEM_UNIT_FILES} else []


rule partition_units:
    input:
        units=UNIT_FILES,
        cuts=CUTS,
        stimuli=KNOWN_ITEMS,
    output:
        directory("results/units/external"),
    log:
        "results/logs/partition_units.log",
    benchmark:
        "results/costs/partition_units/all.tsv"
    conda:
        ENV
    params:
        version=version("partition_units"),
        cuts=CUTS_WORD,
        path=S.units.path,
        codebooks=S.units.num_codebooks,
    shell:
        'python "$SCRIPTS"/partition_units.py --path {params.path:q} --cuts {params.cuts} --items {input.stimuli}'
        " --codebooks {params.codebooks} --out {output} 2>&1 | tee {log}"


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
        version=version("extract_units"),
        options=inputs.options("extract_units"),
    shell:
        'python "$SCRIPTS"/load_units.py --partition {input.partition} --shard {wildcards.shard} --cuts {input.cuts}'
        " --alignment {input.alignment} --out {output.units} --rejected {output.rejected} {params.options} 2>&1 | tee {log}"


rule extract_item_units:
    input:
        units=ITEM_UNIT_FILES,
        stimuli=ITEMS,
    output:
        expand("results/benchmarks/{task}/units.parquet", task=TASKS),
    log:
        "results/logs/extract_item_units.log",
    benchmark:
        "results/costs/extract_item_units/all.tsv"
    conda:
        ENV
    params:
        version=version("extract_item_units"),
        options=inputs.options("extract_item_units"),
    shell:
        'python "$SCRIPTS"/load_units.py --items {input.stimuli} --out {output} {params.options} 2>&1 | tee {log}'


rule extract_prompt_units:
    input:
        units=ITEM_UNIT_FILES,
        prompts=PROMPTS,
    output:
        "results/continuation/units.parquet",
    log:
        "results/logs/extract_prompt_units.log",
    benchmark:
        "results/costs/extract_prompt_units/all.tsv"
    conda:
        ENV
    params:
        version=version("extract_prompt_units"),
        options=inputs.options("extract_prompt_units"),
    shell:
        'python "$SCRIPTS"/load_units.py --items {input.prompts} --out {output} {params.options} 2>&1 | tee {log}'
