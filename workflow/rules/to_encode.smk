# What the user's own tokenizer has to encode before its units can be used (units.source: given). Targets of their own.


rule list_to_encode:
    input:
        cuts=CUTS,
        audio=AUDIO,
        stimuli=ITEMS,
        prompts=PROMPTS if S.continuation.enabled else [],
    output:
        directory("results/units/{list}"),
    log:
        "results/logs/list_to_encode/{list}.log",
    benchmark:
        "results/costs/list_to_encode/{list}.tsv"
    wildcard_constraints:
        list="to_encode|to_encode_with_cuts",
    conda:
        ENV
    params:
        version=version("list_to_encode"),
        cuts=CUTS_WORD,
        copies=lambda wildcards: "--copy-cuts" if wildcards.list.endswith("cuts") else "",
    shell:
        'python "$SCRIPTS"/list_to_encode.py --items {input.stimuli} {input.prompts} --cuts {params.cuts} {params.copies}'
        " --out {output} 2>&1 | tee {log}"
