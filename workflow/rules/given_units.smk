# Units that the user's own tokenizer made (units.source: given), instead of units.smk: there is no encoder, no sample and no codebook.
from speechladder.units.external.read import files_of
from speechladder.workflow.config import silent_rungs

UNIT_FILES = list(map(str, files_of(S.units.path)))
ITEM_UNIT_FILES = list(map(str, files_of(S.units.items_path or S.units.path)))


if silent_rungs(S):
    logger.warning(
        f"{', '.join(silent_rungs(S))}: no continuation, since vocoders speak one unit for each 50 Hz frame and the units in "
        "units.path are others. Their cells in the table stay empty (docs/your-tokenizer.md)"
    )


rule deal_units:
    input:
        units=UNIT_FILES,
        cuts=CUTS,
    output:
        directory("results/units/given"),
    log:
        "results/logs/deal_units.log",
    benchmark:
        "results/costs/deal_units/all.tsv"
    conda:
        ENV
    params:
        version=version("deal_units"),
        cuts=CUTS_WORD,
        options=inputs.options("deal_units"),
    shell:
        'python "$SCRIPTS"/take_units.py --deal --cuts {params.cuts} --out {output} {params.options}'
        " 2>&1 | tee {log}"


rule extract_units:
    input:
        given="results/units/given",
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
        'python "$SCRIPTS"/take_units.py --dealt {input.given} --shard {wildcards.shard} --cuts {input.cuts}'
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
        'python "$SCRIPTS"/take_units.py --items {input.stimuli} --out {output} {params.options} 2>&1 | tee {log}'


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
        'python "$SCRIPTS"/take_units.py --items {input.prompts} --out {output} {params.options} 2>&1 | tee {log}'
