# What the rules on units share: which settings each reads, and the files that they have in common.
# Settings under `units` that one stage alone reads: another stage's does not make it anew.
SAMPLING = ["sample_frames", "sample_by_speaker", "sample_silence"]
KMEANS = [
    *("clusters", "iterations", "max_points_per_centroid"),
    *("kmeans", "kmeans_init", "kmeans_restarts", "kmeans_precision"),
]
SPEAKERS = ["speaker_seconds"]
ABX = ["abx_minutes"]


def unit_options(*without, **values):
    """The options under `units`, but for these groups; `values` stand in for the settings' own."""
    return as_options(S.units.model_copy(update=values), exclude=[name for group in without for name in group])


def kmeans_options(**values):
    """What k-means reads: the encoder is the sample's."""
    return as_options(
        S.units.model_copy(update=values), exclude=[name for name in Units.model_fields if name not in KMEANS]
    )


all_cuts = over_shards("results/corpus/cuts.{}.jsonl.gz")
all_alignments = over_shards("results/alignment/{}.parquet")
all_units = over_shards("results/units/{}.parquet")


def speakers_of(*normalisations):
    """The speakers' statistics, where some normalisation needs them."""
    return "results/units/speakers.safetensors" if "speaker" in normalisations else []


def item_speakers(wildcards):
    """The statistics of those who speak items: speakers of the corpus, and other voices."""
    corpus = speakers_of(S.units.normalisation)
    return [corpus, "results/units/voices.safetensors"] if corpus else []


def with_speakers(wildcards, input):
    """The option that names the statistics, if there are any."""
    return f"--speakers {input.speakers}" if input.speakers else ""
