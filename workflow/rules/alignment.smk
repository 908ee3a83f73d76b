# Words and phones with their times, and their quality.


# Pretrained models are downloaded, and the nodes of a cluster seldom have a network.
localrules:
    fetch_mfa,


rule fetch_mfa:
    input:
        model=inputs.mfa_file("mfa_model"),
        dictionary=inputs.mfa_file("mfa_dictionary"),
        g2p=inputs.mfa_file("mfa_g2p"),
    output:
        directory("results/alignment/mfa_models"),
    log:
        "results/logs/fetch_mfa.log",
    benchmark:
        "results/costs/fetch_mfa/all.tsv"
    conda:
        MFA_ENV
    params:
        version=version("fetch_mfa"),
        models=inputs.mfa_names,
    shell:
        'python "$SCRIPTS"/fetch_mfa.py {params.models} --out {output} 2>&1 | tee {log}'


# Every word of the corpus gets a pronunciation, once for all shards. A model of the run is trained with these pronunciations.
rule prepare_mfa:
    input:
        models="results/alignment/mfa_models",
        lexicon=inputs.mfa_file("lexicon"),
        cuts=CUTS,
    output:
        directory("results/alignment/mfa" if S.alignment.mfa_model else "results/alignment/mfa_dictionary"),
    log:
        "results/logs/prepare_mfa.log",
    benchmark:
        "results/costs/prepare_mfa/all.tsv"
    conda:
        MFA_ENV
    threads: 4
    params:
        version=version("prepare_mfa"),
        cuts=CUTS_WORD,
        lexicon=flags("lexicon"),
    shell:
        'python "$SCRIPTS"/prepare_mfa.py --cuts {params.cuts} --models {input.models} {params.lexicon} --jobs {threads}'
        " --out {output} 2>&1 | tee {log}"


if not S.alignment.mfa_model:

    rule train_mfa:
        input:
            models="results/alignment/mfa_dictionary",
            cuts=CUTS,
            audit=AUDIT,
            audio=AUDIO,
        output:
            directory("results/alignment/mfa"),
        log:
            "results/logs/train_mfa.log",
        benchmark:
            "results/costs/train_mfa/all.tsv"
        conda:
            MFA_ENV
        threads: 16
        params:
            version=version("train_mfa"),
            cuts=CUTS_WORD,
            hours=S.alignment.mfa_train_hours,
        shell:
            'python "$SCRIPTS"/train_mfa.py --cuts {params.cuts} --models {input.models} --hours {params.hours}'
            " --jobs {threads} --out {output} 2>&1 | tee {log}"


rule align:
    input:
        cuts="results/corpus/cuts.{shard}.jsonl.gz",
        audit=AUDIT,
        audio=SHARD_AUDIO,
        truth="results/corpus/truth.{shard}.parquet" if S.alignment.aligner == "truth" else [],
        models=ALIGNER_MODELS,
        textgrids=inputs.textgrids,
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
        version=version("align"),
        inputs=flags("truth", "models", "textgrids"),
        options=inputs.options("align"),
    shell:
        'python "$SCRIPTS"/align.py --cuts {input.cuts} {params.inputs} --out {output.alignment}'
        " --rejected {output.rejected} --jobs {threads} {params.options} 2>&1 | tee {log}"


rule alignment_quality:
    input:
        cuts=CUTS,
        truth=expand("results/corpus/truth.{shard}.parquet", shard=SHARDS if S.corpus.is_synthesized else []),
        alignment=ALIGNMENT,
        audio=AUDIO,
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
        version=version("alignment_quality"),
        cuts=CUTS_WORD,
        truth=inputs.over_shards("--truth results/corpus/truth.{shard}.parquet") if S.corpus.is_synthesized else "",
        alignment=ALIGNMENT_WORD,
        rejected=inputs.over_shards("results/alignment/rejected.{shard}.jsonl"),
        options=inputs.options("alignment_quality"),
    shell:
        'python "$SCRIPTS"/alignment_quality.py --cuts {params.cuts} {params.truth} --alignment {params.alignment}'
        " --rejected {params.rejected} --out {output} {params.options} 2>&1 | tee {log}"


rule phone_durations:
    input:
        cuts=CUTS,
        alignment=ALIGNMENT,
    output:
        "results/alignment/durations.json",
    log:
        "results/logs/phone_durations.log",
    benchmark:
        "results/costs/phone_durations/all.tsv"
    conda:
        ENV
    params:
        version=version("phone_durations"),
        cuts=CUTS_WORD,
        alignment=ALIGNMENT_WORD,
    shell:
        'python "$SCRIPTS"/phone_durations.py --cuts {params.cuts} --alignments {params.alignment} --out {output}'
        " 2>&1 | tee {log}"
