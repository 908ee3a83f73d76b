# How well units keep phones apart: of the run's own units, and of the codebooks of the units sweep.


# A diagnostic of its own: another number of minutes makes neither the sample nor what follows from it again.
rule features_abx:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        audio=AUDIO,
        speakers=inputs.speakers,
    output:
        "results/units/abx.json",
    log:
        "results/logs/features_abx.log",
    benchmark:
        "results/costs/features_abx/all.tsv"
    conda:
        UNITS_ENV
    params:
        version=version("features_abx"),
        encoder=inputs.encoder_digest,
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        speakers=flags("speakers"),
        options=inputs.options("features_abx"),
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/features_abx.py --cuts {params.cuts} --alignment {params.alignment} {params.speakers}'
        " --out {output} {params.options} 2>&1 | tee {log}"


rule units_quality:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        units=inputs.units,
        stimuli=ITEMS,
        item_units=inputs.item_units,
        centroids="results/units/centroids.safetensors" if FRAMES else [],
        features_abx="results/units/abx.json" if S.units.abx_minutes and FRAMES else [],
    output:
        "results/units/quality.json",
    log:
        "results/logs/units_quality.log",
    benchmark:
        "results/costs/units_quality/all.tsv"
    conda:
        ENV
    params:
        version=version("units_quality"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        units=inputs.over_shards("results/units/{shard}.parquet"),
        codebook=flags("centroids", "features_abx"),
        options=inputs.options("units_quality"),
    shell:
        'python "$SCRIPTS"/units_quality.py --cuts {params.cuts} --alignment {params.alignment} --units {params.units}'
        " --items {input.stimuli} --item-units {input.item_units} {params.codebook} --out {output} {params.options}"
        " 2>&1 | tee {log}"
