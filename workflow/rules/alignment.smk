# Words and phones with their times, and how far they can be trusted.


include: "aligners.smk"


# Pretrained models come from the network, which a cluster's nodes seldom have.
localrules:
    fetch_mfa,


rule fetch_mfa:
    input:
        model=mfa_file("mfa_model"),
        dictionary=mfa_file("mfa_dictionary"),
        g2p=mfa_file("mfa_g2p"),
    output:
        directory("results/alignment/mfa_models"),
    log:
        "results/logs/fetch_mfa.log",
    benchmark:
        "results/costs/fetch_mfa/all.tsv"
    conda:
        HOME / "envs" / "mfa.yaml"
    params:
        version=VERSIONS["mfa"],
        models=mfa_words,
    shell:
        'python "$SCRIPTS"/fetch_mfa.py {params.models} --out {output} 2>&1 | tee {log}'


# Every word of the corpus gets a pronunciation, once for all shards; a model of its own is trained with these.
rule prepare_mfa:
    input:
        models="results/alignment/mfa_models",
        lexicon=mfa_file("lexicon"),
        cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
    output:
        directory("results/alignment/mfa" if S.alignment.mfa_model else "results/alignment/mfa_dictionary"),
    log:
        "results/logs/prepare_mfa.log",
    benchmark:
        "results/costs/prepare_mfa/all.tsv"
    conda:
        HOME / "envs" / "mfa.yaml"
    threads: 4
    params:
        version=VERSIONS["mfa"],
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        lexicon=lambda wildcards, input: f"--lexicon {shlex.quote(str(input.lexicon))}" if input.lexicon else "",
    shell:
        'python "$SCRIPTS"/prepare_mfa.py --cuts {params.cuts} --models {input.models} {params.lexicon} --jobs {threads}'
        " --out {output} 2>&1 | tee {log}"


if not S.alignment.mfa_model:

    rule train_mfa:
        input:
            models="results/alignment/mfa_dictionary",
            cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
            audit=AUDIT,
            audio=audio(SHARDS),
        output:
            directory("results/alignment/mfa"),
        log:
            "results/logs/train_mfa.log",
        benchmark:
            "results/costs/train_mfa/all.tsv"
        conda:
            HOME / "envs" / "mfa.yaml"
        threads: 16
        params:
            version=VERSIONS["mfa"],
            cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
            hours=S.alignment.mfa_train_hours,
        shell:
            'python "$SCRIPTS"/train_mfa.py --cuts {params.cuts} --models {input.models} --hours {params.hours}'
            " --jobs {threads} --out {output} 2>&1 | tee {log}"


rule align:
    input:
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        audit=AUDIT,
        audio=lambda wildcards: audio([wildcards.shard]),
        truth=lambda wildcards: truth(wildcards) if S.alignment.aligner == "truth" else [],
        models=aligner_models,
        textgrids=textgrids,
    output:
        alignment="results/alignment/{shard}.parquet",
        rejected="results/alignment/rejected.{shard}.jsonl",
    log:
        "results/logs/align/{shard}.log",
    benchmark:
        "results/costs/align/{shard}.tsv"
    conda:
        ALIGNER_ENV
    threads: 4 if MFA else 1
    params:
        version=VERSIONS["alignment"],
        inputs=alignment_inputs,
        options=aligner_options(S.alignment),
    shell:
        'python "$SCRIPTS"/align.py --cuts {input.cuts} {params.inputs} --out {output.alignment}'
        " --rejected {output.rejected} --jobs {threads} {params.options} 2>&1 | tee {log}"


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
        cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
        truth=over_shards("--truth results/corpus/truth.{}.parquet") if WORLD else "",
        alignment=over_shards("results/alignment/{}.parquet"),
        rejected=over_shards("results/alignment/rejected.{}.jsonl"),
        options=aligner_options(S.alignment, "beam", "sample_utterances"),
    shell:
        'python "$SCRIPTS"/alignment_quality.py --cuts {params.cuts} {params.truth} --alignment {params.alignment}'
        " --rejected {params.rejected} --out {output} {params.options} 2>&1 | tee {log}"
