# Utterances: generated and spoken (world), or speech that is read in place or spoken again, and a list of what is left out.
from speechladder.workflow.sources import INDEX, place, tars

LIBRIHEAVY = S.corpus.name == "libriheavy"
# Where the cuts of recordings are: beside the others, if the synthesizer speaks them again.
RECORDED = "results/corpus/recorded" if S.corpus.speech == "synthesized" else "results/corpus"


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
            version=inputs.language_version("build_corpus"),
            options=inputs.options("build_corpus"),
        shell:
            'python "$SCRIPTS"/build_corpus.py --shard {wildcards.shard} --cuts {output.cuts} --audio {output.audio}'
            " --truth {output.truth} --rejected {output.rejected} {params.options} 2>&1 | tee {log}"

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
            version=version("split_manifest"),
            options=inputs.options("split_manifest"),
        shell:
            'python "$SCRIPTS"/split_manifest.py --files {input:q} --out {output} {params.options} 2>&1 | tee {log}'

    rule build_corpus:
        input:
            manifest="results/corpus/manifest",
            audio=audio_inputs(S),
            indexes=expand(f"{INDEX}/{{name}}.parquet", name=tars(S)),
        output:
            cuts=f"{RECORDED}/cuts.{{shard}}.jsonl.gz",
            rejected=f"{RECORDED}/rejected.{{shard}}.jsonl",
        log:
            "results/logs/build_corpus/{shard}.log",
        benchmark:
            "results/costs/build_corpus/{shard}.tsv"
        conda:
            ENV
        params:
            version=version("build_corpus"),
            roots=inputs.corpus_roots,
            tars=list(tars(S).values()),
            options=inputs.options("build_corpus"),
        shell:
            'python "$SCRIPTS"/build_corpus.py --shard {wildcards.shard} --manifest {input.manifest} --roots {params.roots:q}'
            " --tars {params.tars:q} --indexes {input.indexes:q} --cuts {output.cuts} --rejected {output.rejected}"
            " {params.options} 2>&1 | tee {log}"

else:

    rule build_corpus:
        input:
            inputs.corpus_speech,
        output:
            cuts=f"{RECORDED}/cuts.{{shard}}.jsonl.gz",
            rejected=f"{RECORDED}/rejected.{{shard}}.jsonl",
        log:
            "results/logs/build_corpus/{shard}.log",
        benchmark:
            "results/costs/build_corpus/{shard}.tsv"
        conda:
            ENV
        params:
            version=version("build_corpus"),
            roots=inputs.corpus_roots,
            options=inputs.options("build_corpus"),
            speech=inputs.speech_digest,
        shell:
            'python "$SCRIPTS"/build_corpus.py --shard {wildcards.shard} --cuts {output.cuts} --roots {params.roots:q}'
            " --rejected {output.rejected} {params.options} 2>&1 | tee {log}"


if S.corpus.speech == "synthesized":

    rule speak_corpus:
        input:
            recorded=f"{RECORDED}/cuts.{{shard}}.jsonl.gz",
            rejected=f"{RECORDED}/rejected.{{shard}}.jsonl",
        output:
            cuts="results/corpus/cuts.{shard}.jsonl.gz",
            audio=directory("results/corpus/audio/{shard}"),
            truth="results/corpus/truth.{shard}.parquet",
            rejected="results/corpus/rejected.{shard}.jsonl",
        log:
            "results/logs/speak_corpus/{shard}.log",
        benchmark:
            "results/costs/speak_corpus/{shard}.tsv"
        conda:
            ENV
        params:
            version=version("speak_corpus"),
            options=inputs.options("speak_corpus"),
        shell:
            'python "$SCRIPTS"/speak_corpus.py --recorded {input.recorded} --recorded-rejected {input.rejected}'
            " --cuts {output.cuts} --audio {output.audio} --truth {output.truth} --rejected {output.rejected}"
            " {params.options} 2>&1 | tee {log}"


# Before anything is aligned: which parts of the corpus the disk lacks. Fails if their share is above corpus.max_rejected.
if not WORLD:

    rule audit_corpus:
        input:
            cuts=CUTS,
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
            version=version("audit_corpus"),
            cuts=CUTS_WORD,
            rejected=inputs.over_shards("results/corpus/rejected.{shard}.jsonl"),
            manifest=flags("manifest"),
        shell:
            'python "$SCRIPTS"/audit_corpus.py --cuts {params.cuts} --rejected {params.rejected} {params.manifest}'
            " --out {output.figures} --list {output.listing} 2>&1 | tee {log}"
