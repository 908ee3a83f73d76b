"""What one job costs, from the download to the tokens."""

from typing import NamedTuple

from speechladder.constants import FRAME_RATE
from speechladder.plan.context import Context
from speechladder.plan.downloads import File
from speechladder.plan.figures import Cost, Figure, worst
from speechladder.plan.jobs import Job
from speechladder.plan.models import plan_model

SAMPLE_SHARE = 0.5  # of an utterance's frames that the k-means sample takes (units.sample.SHARE, which imports torch)
MFA_PASSES = 40  # of MFA's training over its speech
ALIGN_RATES = {"mfa": "align_mfa", "pocketsphinx": "align_pocketsphinx"}  # other aligners read times that exist


class Work(NamedTuple):
    """A job's cost, the hours of speech that it reads, and how many cores share the job."""

    cost: Cost = Cost()
    speech: Figure = Figure()
    cores: int = 1


def download(context: Context, job: Job) -> Work:
    """The bytes of a file; its time depends on the line (stages.make)."""
    return Work(Cost(disk=Figure(_bytes(context.files, job.name), "published")))


def unpack_archive(context: Context, job: Job) -> Work:
    """Unpacking a compressed tar, whose content is about as large as the tar."""
    size, speed = Figure(_bytes(context.files, job.name), "published"), context.rates.get("unpack")
    return Work(Cost(cpu=size.times(1 / speed.value / 3600, speed.basis), disk=size.times(1.0, "assumed")))


def _bytes(files: tuple[File, ...], name: str) -> float:
    """Return the bytes of a download, 0 if they are not known."""
    return next((file.bytes or 0.0 for file in files if file.name == name), 0.0)


def build_corpus(context: Context, job: Job) -> Work:
    """The cuts of a shard: of the world, which is spoken, or of a natural corpus, whose audio is checked."""
    hours, shards = context.hours, context.settings.corpus.shards
    cost = context.disk(hours.total, "bytes_cuts", hours.basis)
    if context.settings.corpus.name == "world":
        cost += Cost(cpu=context.at_rate(hours.total, "speak", hours.basis))
        cost += context.disk(hours.total, "bytes_world", hours.basis)
    else:
        cost += _read_manifest(context)
    return Work(cost / shards + context.start("start_light"), _all_speech(context) / shards, 2)


def split_manifest(context: Context, job: Job) -> Work:
    """LibriHeavy's cuts written to a file for each shard."""
    cuts = context.hours.total * 3600 / context.hours.utterance
    return Work(_read_manifest(context) + context.disk(cuts, "bytes_manifest", context.hours.basis))


def audit_corpus(context: Context, job: Job) -> Work:
    """Counting every cut."""
    return Work(_read_manifest(context))


def _read_manifest(context: Context) -> Cost:
    cuts, speed = context.hours.total * 3600 / context.hours.utterance, context.rates.get("manifest")
    return Cost(cpu=Figure(cuts / speed.value / 3600, worst([speed.basis, "derived", context.hours.basis])))


def _all_speech(context: Context) -> Figure:
    return Figure(context.hours.total, context.hours.basis)


def align(context: Context, job: Job) -> Work:
    """Words and phones of a shard."""
    hours, rate = context.hours, ALIGN_RATES.get(context.settings.alignment.aligner)
    cost = context.disk(hours.total, "bytes_alignment", hours.basis)
    if rate:
        cost += Cost(cpu=context.at_rate(hours.total, rate, hours.basis))
    shards = context.settings.corpus.shards
    return Work(cost / shards + context.start("start_light"), _all_speech(context) / shards)


def train_mfa(context: Context, job: Job) -> Work:
    """MFA's acoustic model."""
    speech = min(context.settings.alignment.mfa_train_hours, context.hours.train)
    return Work(Cost(cpu=context.at_rate(MFA_PASSES * speech, "align_mfa", "assumed")), cores=16)


def sample_features(context: Context, job: Job) -> Work:
    """The k-means sample, which the sweep keeps once for each normalisation."""
    hours, frames = context.hours, context.settings.units.sample_frames
    speech = min(hours.train, frames / FRAME_RATE / 3600 / SAMPLE_SHARE)
    kept = len(set(context.settings.sweep.normalisations)) if job.point else 1
    disk = 4.0 * context.width * _sampled_frames(context) * kept
    return Work(context.encode(speech) + Cost(disk=Figure(disk, "derived")), Figure(speech, "derived"))


def _sampled_frames(context: Context) -> float:
    return min(context.settings.units.sample_frames, context.hours.train * 3600 * FRAME_RATE)


def train_kmeans(context: Context, job: Job) -> Work:
    """A codebook: every iteration compares every frame with every centroid."""
    units = context.settings.units
    frames = min(_sampled_frames(context), units.clusters * units.max_points_per_centroid)
    flops = 2.0 * frames * units.clusters * context.width * units.iterations * units.kmeans_restarts
    if units.kmeans in ("torch", "faiss-gpu"):
        return Work(context.flops(flops, "kmeans_flops", "fp32") + context.start())
    rate = context.rates.get("kmeans_flops")  # for auto too: whether faiss finds a GPU is not known here
    cpu = Figure(flops / rate.value / 3600, worst([rate.basis, "derived"]))
    return Work(Cost(cpu=cpu) + context.start("start_light"))


def extract_units(context: Context, job: Job) -> Work:
    """The units of a shard."""
    hours, shards = context.hours, context.settings.corpus.shards
    cost = context.encode(hours.total, hours.basis) + context.assign(hours.total, hours.basis)
    cost += context.disk(hours.total, "bytes_units", hours.basis)
    return Work(cost / shards + context.start(), _all_speech(context) / shards)


def sweep_quality(context: Context, job: Job) -> Work:
    """The quality of all codebooks of a layer, on speech that is encoded once."""
    sweep, speech = context.settings.sweep, min(context.settings.sweep.minutes / 60, context.hours.total)
    codebooks = len(sweep.normalisations) * len(sweep.seeds)
    cost = context.encode(speech) + context.start()
    for clusters in sweep.clusters:
        cost += context.assign(speech, clusters=clusters).times(codebooks)
    return Work(cost, Figure(speech, "derived"))


def select_utterances(context: Context, job: Job) -> Work:
    """The list of utterances that all rungs share."""
    return Work(Cost(cpu=context.at_rate(context.hours.total, "select", context.hours.basis)))


def tokenize_rung(context: Context, job: Job) -> Work:
    """A rung's tokens: two bytes of each, and id, offset, length and seconds of each utterance."""
    hours, model = context.hours, plan_model(context, job.rung)
    tokens = Figure(2.0 * model.pass_tokens * hours.total / hours.train, worst([model.rate.basis, hours.basis]))
    listed = Figure(30.0 * hours.total * 3600 / hours.utterance, "assumed")
    cpu = context.at_rate(hours.total, "tokenize", hours.basis)
    return Work(Cost(cpu=cpu, disk=tokens + listed), _all_speech(context))


def take_fraction(context: Context, job: Job) -> Work:
    """A copy of a share of a rung's training tokens."""
    model = plan_model(context, job.rung)
    return Work(Cost(disk=Figure(2.0 * model.pass_tokens, worst([model.rate.basis, context.hours.basis]))))


def train_lm(context: Context, job: Job) -> Work:
    """A language model of one seed."""
    return Work(plan_model(context, job.rung).cost + context.start())
