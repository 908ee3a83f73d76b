# The points of the sweep, and where what each needs lies.
OWN = Point(S.units.layer, S.units.clusters, S.units.normalisation, S.seed)
POINTS = S.sweep.points()
TO_TRAIN = S.sweep.trained(OWN)
CODEBOOKS = list(dict.fromkeys(point.codebook for point in POINTS))
SWEEP = "results/units_sweep"
NORMALISATIONS = [kind for kind in ("none", "utterance", "speaker") if kind in S.sweep.normalisations]
LAYER = f"{SWEEP}/layer{{layer}}"
POINT = f"{SWEEP}/{{codebook}}"


def point_of(wildcards):
    """The choices that a codebook's name says."""
    return Point.parse(wildcards.codebook)


def home_of(point):
    """Where a point's tokens, models and scores lie: the run's own are not made twice."""
    own = point.codebook == OWN.codebook and point.rung in S.rungs
    return "results" if own else f"{SWEEP}/{point.codebook}"


def books_of(points):
    """Their codebooks' files, each once."""
    names = dict.fromkeys(point.codebook for point in points)
    return [f"{SWEEP}/codebooks/{name}.safetensors" for name in names]


def measured(wildcards):
    """The codebooks of a layer."""
    return books_of([point for point in POINTS if point.layer == int(wildcards.layer)])


def sweep_speakers(wildcards):
    """The statistics of a layer's speakers, where some point is normalised by them."""
    return f"{SWEEP}/layer{wildcards.layer}/speakers.safetensors" if "speaker" in S.sweep.normalisations else []


def point_speakers(wildcards):
    """The same, of a point that is."""
    point = point_of(wildcards)
    return f"{SWEEP}/layer{point.layer}/speakers.safetensors" if point.normalisation == "speaker" else []


def point_voices(wildcards):
    """The same, and those of other voices that speak items."""
    corpus = point_speakers(wildcards)
    return [corpus, f"{SWEEP}/layer{point_of(wildcards).layer}/voices.safetensors"] if corpus else []


def of_layer(*without):
    """A params function: the options under `units` with the layer of the wildcards, but for these groups."""

    def options(wildcards):
        return unit_options(*without, layer=int(wildcards.layer), normalisation="none")

    return options


def of_point(*without):
    """The same with the layer of the codebook in the wildcards."""

    def options(wildcards):
        return unit_options(*without, layer=point_of(wildcards).layer, normalisation="none")

    return options


def units_pattern(wildcards):
    """A codebook's units of a shard; the run's own are there already."""
    own = wildcards.codebook == OWN.codebook
    return "results/units/{}.parquet" if own else f"{SWEEP}/{wildcards.codebook}/units/{{}}.parquet"


def point_shards(wildcards):
    """A codebook's units of every shard, as bash writes them."""
    return over_shards(units_pattern(wildcards))(wildcards)


def sample_of(wildcards):
    """What a codebook is trained on."""
    point = point_of(wildcards)
    return f"{SWEEP}/layer{point.layer}/sample.{point.normalisation}.safetensors"


def point_units(wildcards):
    """A codebook's units of every shard."""
    return [units_pattern(wildcards).format(shard) for shard in SHARDS]


def point_items(wildcards):
    """A codebook's units of every task's items; the run's own are there already."""
    own = wildcards.codebook == OWN.codebook
    return expand(
        "results/benchmarks/{task}/units.parquet" if own else f"{SWEEP}/{wildcards.codebook}/items/{{task}}.parquet",
        task=TASKS,
    )


def scored(wildcards):
    """The scores of the trained points, and of phone-repeat, from which factor C is the step."""
    if TO_TRAIN and "phone-repeat" not in S.rungs:
        raise WorkflowError("results/units_sweep.csv: factor C is the step from phone-repeat; add it to rungs")
    try:
        check_sweep(S, HOME)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    before = expand("results/scores/phone-repeat/{task}.parquet", task=TASKS if TO_TRAIN else [])
    return before + [f"{home_of(p)}/scores/{p.rung}/{task}.parquet" for p in TO_TRAIN for task in TASKS]
