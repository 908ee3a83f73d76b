# What a tokenizer keeps and where it loses, without a language model: results/diagnosis.html. Not part of the default target.
from speechladder.workflow.rungs import units_are_frames

PROBE = "results/probe/items.parquet"


rule make_probe:
    output:
        stimuli=PROBE,
        about="results/probe/about.json",
    log:
        "results/logs/make_probe.log",
    benchmark:
        "results/costs/make_probe/all.tsv"
    conda:
        ENV
    params:
        version=inputs.world_version("make_probe"),
        options=inputs.options("make_probe"),
    shell:
        'python "$SCRIPTS"/make_probe.py --out {output.stimuli} --about {output.about} {params.options} 2>&1 | tee {log}'


if EXTERNAL:

    rule extract_probe_units:
        input:
            units=ITEM_UNIT_FILES,
            stimuli=PROBE,
        output:
            "results/probe/units.parquet",
        log:
            "results/logs/extract_probe_units.log",
        benchmark:
            "results/costs/extract_probe_units/all.tsv"
        conda:
            ENV
        params:
            version=version("extract_probe_units"),
            options=inputs.options("extract_probe_units"),
        shell:
            'python "$SCRIPTS"/load_units.py --items {input.stimuli} --out {output} {params.options} 2>&1 | tee {log}'

else:

    rule probe_statistics:
        input:
            stimuli=PROBE,
            speakers="results/units/speakers.safetensors",
        output:
            "results/probe/voices.safetensors",
        log:
            "results/logs/probe_statistics.log",
        benchmark:
            "results/costs/probe_statistics/all.tsv"
        conda:
            UNITS_ENV
        params:
            version=version("probe_statistics"),
            options=inputs.options("probe_statistics"),
        shell:
            '"$UNITS_PYTHON" "$SCRIPTS"/speaker_statistics.py --items {input.stimuli} --speakers {input.speakers}'
            " --out {output} {params.options} 2>&1 | tee {log}"

    rule extract_probe_units:
        input:
            stimuli=PROBE,
            centroids="results/units/centroids.safetensors",
            speakers=inputs.probe_speakers,
        output:
            "results/probe/units.parquet",
        log:
            "results/logs/extract_probe_units.log",
        benchmark:
            "results/costs/extract_probe_units/all.tsv"
        conda:
            UNITS_ENV
        params:
            version=version("extract_probe_units"),
            speakers=flags("speakers"),
            options=inputs.options("extract_probe_units"),
        shell:
            '"$UNITS_PYTHON" "$SCRIPTS"/extract_units.py --items {input.stimuli} --centroids {input.centroids}'
            " {params.speakers} --out {output} {params.options} 2>&1 | tee {log}"


# As units_quality, without items: the probe says more of what voices change.
rule diagnosis_quality:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        units=inputs.units,
        centroids="results/units/centroids.safetensors" if FRAMES else [],
        features_abx="results/units/abx.json" if S.units.abx_minutes and FRAMES else [],
    output:
        "results/diagnosis/quality.json",
    log:
        "results/logs/diagnosis_quality.log",
    benchmark:
        "results/costs/diagnosis_quality/all.tsv"
    conda:
        ENV
    params:
        version=version("diagnosis_quality"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        units=inputs.over_shards("results/units/{shard}.parquet"),
        codebook=flags("centroids", "features_abx"),
        options=inputs.options("diagnosis_quality"),
    shell:
        'python "$SCRIPTS"/units_quality.py --cuts {params.cuts} --alignment {params.alignment} --units {params.units}'
        " {params.codebook} --out {output} {params.options} 2>&1 | tee {log}"


rule diagnose_units:
    input:
        quality="results/diagnosis/quality.json",
        stimuli=PROBE,
        about="results/probe/about.json",
        probe_units="results/probe/units.parquet",
        units=inputs.units,
        alignment=ALIGNMENT,
        resynthesis="results/units/resynthesis.json" if not EXTERNAL or units_are_frames(S) else [],
        published=HOME / "data" / "published",
    output:
        facts="results/diagnosis.json",
        page="results/diagnosis.html",
    log:
        "results/logs/diagnose_units.log",
    benchmark:
        "results/costs/diagnose_units/all.tsv"
    conda:
        ENV
    params:
        version=version("diagnose_units"),
        alignment=ALIGNMENT_WORD,
        units=inputs.over_shards("results/units/{shard}.parquet"),
        resynthesis=flags("resynthesis"),
        entries=HOME / "leaderboard" / "entries",
        tokenizer=inputs.tokenizer,
        corpus=inputs.spoken,
        options=inputs.options("diagnose_units"),
    shell:
        'python "$SCRIPTS"/diagnose_units.py --quality {input.quality} --items {input.stimuli} --about {input.about}'
        " --probe-units {input.probe_units} --units {params.units} --alignment {params.alignment} {params.resynthesis}"
        " --published {input.published:q} --entries {params.entries:q} --tokenizer {params.tokenizer:q}"
        " --corpus {params.corpus:q} --out {output.facts} --page {output.page} {params.options} 2>&1 | tee {log}"


# What the user's own tokenizer has to encode for a diagnosis: the corpus and the probe, in one list.
rule export_diagnosis:
    input:
        cuts=CUTS,
        audio=AUDIO,
        stimuli=PROBE,
    output:
        directory("results/diagnosis/export"),
    log:
        "results/logs/export_diagnosis.log",
    benchmark:
        "results/costs/export_diagnosis/all.tsv"
    conda:
        ENV
    params:
        version=version("export_diagnosis"),
        cuts=CUTS_WORD,
    shell:
        'python "$SCRIPTS"/export_audio.py --items {input.stimuli} --cuts {params.cuts} --copy-cuts --one-list'
        " --out {output} 2>&1 | tee {log}"
