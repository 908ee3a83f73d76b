# Whether speech can be made again from units: results/{point}units/resynthesis.json. Not part of the default target.
#
# {point} is the prefix of a point (speechladder.settings.points), empty for the run's own units. Every point has a vocoder of its own,
# trained as the run's (rule train_vocoder), whatever continuation.vocoder is: only so do points differ in their units alone.


rule transcribe_held_out:
    input:
        cuts=CUTS,
        audio=AUDIO,
        asr=inputs.asr_model,
    output:
        "results/continuation/held_out.parquet",
    log:
        "results/logs/transcribe_held_out.log",
    benchmark:
        "results/costs/transcribe_held_out/all.tsv"
    conda:
        ENV
    params:
        version=inputs.asr_version("transcribe_held_out"),
        cuts=CUTS_WORD,
        options=inputs.options("transcribe_held_out"),
    shell:
        'python "$SCRIPTS"/transcribe_held_out.py --cuts {params.cuts} --asr-folder {input.asr:q} --out {output}'
        " {params.options} 2>&1 | tee {log}"


rule transcribe_resynthesis:
    input:
        held_out="results/continuation/held_out.parquet",
        units=inputs.units,
        vocoder="results/{point}continuation/vocoder",
        asr=inputs.asr_model,
    output:
        "results/{point}continuation/resynthesis.parquet",
    log:
        "results/{point}logs/transcribe_resynthesis.log",
    benchmark:
        "results/{point}costs/transcribe_resynthesis/all.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        ENV
    params:
        version=inputs.asr_version("transcribe_resynthesis"),
        units=inputs.over_shards("results/{point}units/{shard}.parquet"),
        options=inputs.options("transcribe_resynthesis"),
    shell:
        'python "$SCRIPTS"/transcribe_resynthesis.py --held-out {input.held_out} --units {params.units}'
        " --vocoder-folder {input.vocoder:q} --asr-folder {input.asr:q} --out {output} {params.options} 2>&1 | tee {log}"


rule resynthesis:
    input:
        held_out="results/continuation/held_out.parquet",
        heard="results/{point}continuation/resynthesis.parquet",
        own=inputs.own_resynthesis,
    output:
        "results/{point}units/resynthesis.json",
    log:
        "results/{point}logs/resynthesis.log",
    benchmark:
        "results/{point}costs/resynthesis/all.tsv"
    wildcard_constraints:
        point=CODEBOOKS,
    conda:
        ENV
    params:
        version=version("resynthesis"),
        own=flags("own"),
        options=inputs.options("resynthesis"),
    shell:
        'python "$SCRIPTS"/make_resynthesis.py --held-out {input.held_out} --heard {input.heard} {params.own}'
        " --out {output} {params.options} 2>&1 | tee {log}"
