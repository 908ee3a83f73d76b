# Words and phones with their times, and how far they can be trusted.


rule align:
    input:
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        truth=truth,
        audio=lambda wildcards: audio([wildcards.shard]),
    output:
        alignment="results/alignment/{shard}.parquet",
        rejected="results/alignment/rejected.{shard}.jsonl",
    log:
        "results/logs/align/{shard}.log",
    benchmark:
        "results/costs/align/{shard}.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["alignment"],
        options=as_options(S.alignment, exclude=["sample_utterances"]),
        truth=lambda wildcards, input: f"--truth {input.truth}" if input.truth else "",
    shell:
        'python "$SCRIPTS"/align.py --cuts {input.cuts} {params.truth} --out {output.alignment}'
        " --rejected {output.rejected} {params.options} 2>&1 | tee {log}"


rule alignment_quality:
    input:
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
        truth=expand("results/corpus/truth.{shard}.parquet", shard=SHARDS if WORLD else []),
        alignment=expand("results/alignment/{shard}.parquet", shard=SHARDS),
        audio=audio(SHARDS),
        rejected=expand("results/alignment/rejected.{shard}.jsonl", shard=SHARDS),
    output:
        "results/alignment/quality.json",
    log:
        "results/logs/alignment_quality.log",
    benchmark:
        "results/costs/alignment_quality/all.tsv"
    conda:
        ENV
    params:
        version=VERSIONS["alignment_quality"],
        options=as_options(S.alignment),
        truth=lambda wildcards, input: f"--truth {input.truth}" if input.truth else "",
    shell:
        'python "$SCRIPTS"/alignment_quality.py --cuts {input.cuts} {params.truth} --alignment {input.alignment}'
        " --rejected {input.rejected} --out {output} {params.options} 2>&1 | tee {log}"
