# Archives and manifests: downloaded, unpacked or indexed. The files themselves stay in downloads.folder, which no rule
# declares, because Snakemake removes a job's outputs before it runs, and a changed comment must not remove 3 TB. The outputs
# are links to them, so that neither `protected` nor `update` (which copies) is needed.
from speechladder.workflow.sources import pattern, tars, unpacked


# Downloads run where snakemake runs: a cluster's nodes seldom have a network.
localrules:
    download,


# `downloads` may be limited (--resources downloads=2, or in a profile). Without a limit, as many run at once as there are cores.
rule download:
    output:
        "results/downloads/{file}",
    log:
        "results/logs/download/{file}.log",
    benchmark:
        "results/costs/download/{file}.tsv"
    wildcard_constraints:
        file=pattern(S.downloads.files),
    priority: 10
    conda:
        ENV
    resources:
        downloads=1,
    params:
        # What tells one file from another of the same name: other addresses do not make it another file.
        content=inputs.download_content,
    shell:
        'python "$SCRIPTS"/download.py --name {wildcards.file:q} --out {output:q} 2>&1 | tee {log:q}'


rule unpack_archive:
    input:
        inputs.packed_archive,
    output:
        folder=directory("results/unpacked/{archive}"),
        rejected="results/unpacked/rejected.{archive}.jsonl",
    log:
        "results/logs/unpack_archive/{archive}.log",
    benchmark:
        "results/costs/unpack_archive/{archive}.tsv"
    wildcard_constraints:
        archive=pattern(unpacked(S)),
    conda:
        ENV
    params:
        version=version("unpack_archive"),
    shell:
        'python "$SCRIPTS"/unpack_archive.py --archive {input:q} --out {output.folder:q} --rejected {output.rejected:q}'
        " 2>&1 | tee {log:q}"


rule index_archive:
    input:
        inputs.tar,
    output:
        index="results/corpus/index/{archive}.parquet",
        rejected="results/corpus/index/rejected.{archive}.jsonl",
    log:
        "results/logs/index_archive/{archive}.log",
    benchmark:
        "results/costs/index_archive/{archive}.tsv"
    wildcard_constraints:
        archive=pattern(tars(S)),
    conda:
        ENV
    params:
        version=version("index_archive"),
    shell:
        'python "$SCRIPTS"/index_archive.py --archive {input:q} --out {output.index:q} --rejected {output.rejected:q}'
        " 2>&1 | tee {log:q}"
