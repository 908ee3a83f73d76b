# Utterances: generated and spoken (world), or speech that is read in place, and what is left out of it.
from speechladder.workflow.sources import INDEX, place, roots, tars

LIBRIHEAVY = S.corpus.name == "libriheavy"


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

elif LIBRIHEAVY:

    rule split_manifest:
        input:
            [place(S, name, "corpus.manifests") for name in S.corpus.manifests],
        output:
            directory("results/corpus/manifest"),
        log:
            "results/logs/split_manifest.log",
        benchmark:
            "results/costs/split_manifest/all.tsv"
        conda:
            ENV
        params:
            version=VERSIONS["corpus"],
            options=as_options(
                S.corpus, exclude=["text", "english_only", "unpack", "variability", "min_seconds", "max_seconds"]
            ),
        shell:
            'python "$SCRIPTS"/split_manifest.py --files {input:q} --out {output} {params.options} 2>&1 | tee {log}'

    rule build_corpus:
        input:
            manifest="results/corpus/manifest",
            audio=audio_inputs(S),
            indexes=expand(f"{INDEX}/{{name}}.parquet", name=tars(S)),
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
            roots=roots(S),
            tars=list(tars(S).values()),
            options=as_options(S.corpus, exclude=["hours", "valid_fraction", "test_fraction", "variability", "unpack"]),
        shell:
            'python "$SCRIPTS"/build_corpus.py --shard {wildcards.shard} --manifest {input.manifest} --roots {params.roots:q}'
            " --tars {params.tars:q} --indexes {input.indexes:q} --cuts {output.cuts} --rejected {output.rejected}"
            " {params.options} 2>&1 | tee {log}"

else:

    rule build_corpus:
        input:
            corpus_speech,
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
            roots=roots(S),
            options=as_options(S.corpus),
            audio=lambda wildcards: corpus_audio() if S.corpus.name == "local" else "",
        shell:
            'python "$SCRIPTS"/build_corpus.py --shard {wildcards.shard} --cuts {output.cuts} --roots {params.roots:q}'
            " --rejected {output.rejected} {params.options} 2>&1 | tee {log}"


# Before anything is aligned: what the disk lacks of the corpus. Fails above corpus.max_rejected.
if not WORLD:

    rule audit_corpus:
        input:
            cuts=expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS),
            rejected=expand("results/corpus/rejected.{shard}.jsonl", shard=SHARDS),
            manifest="results/corpus/manifest" if LIBRIHEAVY else [],
        output:
            figures="results/corpus/audit.json",
            listing="results/corpus/audit.tsv",
        log:
            "results/logs/audit_corpus.log",
        benchmark:
            "results/costs/audit_corpus/all.tsv"
        conda:
            ENV
        params:
            version=VERSIONS["corpus"],
            cuts=over_shards("results/corpus/cuts.{}.jsonl.gz"),
            rejected=over_shards("results/corpus/rejected.{}.jsonl"),
            manifest="--manifest results/corpus/manifest" if LIBRIHEAVY else "",
        shell:
            'python "$SCRIPTS"/audit_corpus.py --cuts {params.cuts} --rejected {params.rejected} {params.manifest}'
            " --out {output.figures} --list {output.listing} 2>&1 | tee {log}"
