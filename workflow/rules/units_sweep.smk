# How much of factor C is the units' own: results/units_sweep.csv, over the points of `sweep`. Not part of the default target.
#
# A point shares the run's corpus, alignment, items and list of utterances. Of its own it has a codebook, its figures, which are
# measured on a part of the speech that is encoded once per layer, and, if it is trained, units, tokens, a model and scores.
# None of these is made again when another point comes or goes. The run's own units are a point that has them already.


rule sweep_quality:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
        audio=AUDIO,
        codebooks=sweep.codebook_files,
        speakers=sweep.speakers,
    output:
        "results/units_sweep/layer{layer}/quality.json",
    log:
        "results/units_sweep/layer{layer}/logs/sweep_quality.log",
    benchmark:
        "results/units_sweep/layer{layer}/costs/sweep_quality/all.tsv"
    wildcard_constraints:
        layer=r"\d+",
    conda:
        UNITS_ENV
    params:
        version=version("sweep_quality"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
        speakers=flags("speakers"),
        codebooks=sweep.codebook_words,
        options=sweep.options,
    shell:
        '"$UNITS_PYTHON" "$SCRIPTS"/sweep_quality.py --cuts {params.cuts} --alignment {params.alignment} {params.speakers}'
        " --codebooks {params.codebooks} --out {output} {params.options} 2>&1 | tee {log}"


rule units_sweep:
    input:
        quality=expand("results/units_sweep/layer{layer}/quality.json", layer=S.sweep.layers),
        scores=sweep.scores,
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
        version=version("units_sweep"),
        split=SPLIT,
        points=[point.name for point in sweep.points],
        trained=sweep.trained_words,
        options=inputs.options("units_sweep"),
    shell:
        'python "$SCRIPTS"/make_units_sweep.py --results results --points {params.points} --quality {input.quality}'
        " --trained {params.trained} --out {output.table} --figures results/figures {params.split} {params.options}"
        " 2>&1 | tee {log}"
