# What the user's own tokenizer has to encode before its units can be used (units.source: external). Targets of their own.


rule export_audio:
    input:
        cuts=CUTS,
        audio=AUDIO,
        stimuli=ITEMS,
        prompts=PROMPTS if S.continuation.enabled else [],
    output:
        directory("results/units/{export}"),
    log:
        "results/logs/export_audio/{export}.log",
    benchmark:
        "results/costs/export_audio/{export}.tsv"
    wildcard_constraints:
        export="export|export_with_cuts",
    conda:
        ENV
    params:
        version=version("export_audio"),
        cuts=CUTS_WORD,
        copies=lambda wildcards: "--copy-cuts" if wildcards.export.endswith("cuts") else "",
    shell:
        'python "$SCRIPTS"/export_audio.py --items {input.stimuli} {input.prompts} --cuts {params.cuts} {params.copies}'
        " --out {output} 2>&1 | tee {log}"
