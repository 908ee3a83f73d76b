# Utterances: generated and spoken (world), or a folder read in place (local).


def transcripts(wildcards):
    """The transcripts of a local corpus: a changed one makes the cuts anew."""
    return sorted(map(str, Path(S.corpus.path).rglob("*.trans.txt")))


if WORLD:

    rule build_corpus:
        output:
            cuts="results/corpus/cuts.{shard}.jsonl.gz",
            audio=directory("results/corpus/audio/{shard}"),
            truth="results/corpus/truth.{shard}.parquet",
            rejected="results/corpus/rejected.{shard}.jsonl",
        params:
            version=VERSIONS["corpus"],
            options=options(S.corpus),
            seed=S.seed,
        log:
            "results/logs/build_corpus/{shard}.log",
        benchmark:
            "results/costs/build_corpus/{shard}.tsv"
        conda:
            ENV
        shell:
            "python {SCRIPTS}/build_corpus.py --shard {wildcards.shard} --cuts {output.cuts} --audio {output.audio}"
            " --truth {output.truth} --rejected {output.rejected} --seed {params.seed} {params.options} 2>&1 | tee {log}"

else:

    rule build_corpus:
        input:
            transcripts,
        output:
            cuts="results/corpus/cuts.{shard}.jsonl.gz",
            rejected="results/corpus/rejected.{shard}.jsonl",
        params:
            version=VERSIONS["corpus"],
            options=options(S.corpus),
        log:
            "results/logs/build_corpus/{shard}.log",
        benchmark:
            "results/costs/build_corpus/{shard}.tsv"
        conda:
            ENV
        shell:
            "python {SCRIPTS}/build_corpus.py --shard {wildcards.shard} --cuts {output.cuts}"
            " --rejected {output.rejected} {params.options} 2>&1 | tee {log}"
