# Utterances: generated and spoken (world), or a folder read in place (local).


if WORLD:

    rule build_corpus:
        output:
            cuts="results/corpus/cuts.{shard}.jsonl.gz",
            audio=directory("results/corpus/audio/{shard}"),
            truth="results/corpus/truth.{shard}.parquet",
            rejected="results/corpus/rejected.{shard}.jsonl",
        log:
            "results/logs/build_corpus/{shard}.log",
        benchmark:
            "results/costs/build_corpus/{shard}.tsv"
        conda:
            ENV
        params:
            version=VERSIONS["corpus"],
            options=as_options(S.corpus),
            seed=S.seed,
        shell:
            'python "$SCRIPTS"/build_corpus.py --shard {wildcards.shard} --cuts {output.cuts} --audio {output.audio}'
            " --truth {output.truth} --rejected {output.rejected} --seed {params.seed} {params.options} 2>&1 | tee {log}"

else:

    rule build_corpus:
        input:
            corpus_transcripts,
        output:
            cuts="results/corpus/cuts.{shard}.jsonl.gz",
            rejected="results/corpus/rejected.{shard}.jsonl",
        log:
            "results/logs/build_corpus/{shard}.log",
        benchmark:
            "results/costs/build_corpus/{shard}.tsv"
        conda:
            ENV
        params:
            version=VERSIONS["corpus"],
            options=as_options(S.corpus),
            audio=lambda wildcards: corpus_audio(),
        shell:
            'python "$SCRIPTS"/build_corpus.py --shard {wildcards.shard} --cuts {output.cuts}'
            " --rejected {output.rejected} {params.options} 2>&1 | tee {log}"
