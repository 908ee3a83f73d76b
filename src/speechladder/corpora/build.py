"""The cuts of one shard, whatever the corpus: generated and spoken (world), or read in place."""

from collections.abc import Sequence
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.settings import Corpus


def build_shard(
    corpus: Corpus,
    shard: int,
    cuts: Path,
    rejected: Path,
    audio: Path | None = None,
    truth: Path | None = None,
    seed: int = 0,
    manifest: Path | None = None,
    roots: Sequence[Path] = (),
    tars: Sequence[Path] = (),
    indexes: Sequence[Path] = (),
) -> None:
    """Make the utterances of a shard: generated and spoken (world), or read in place from folders, tars and manifests.

    Raises UserError if an input that the corpus needs is not given, or for the reasons of the corpus's own function.

    Args:
        shard: which shard, from 0
        cuts: corpus/cuts.{shard}.jsonl.gz to write
        rejected: corpus/rejected.{shard}.jsonl to write
        audio: corpus/audio/{shard}, a folder to write (world)
        truth: corpus/truth.{shard}.parquet to write (world)
        seed: seed of the world
        manifest: corpus/manifest, a folder (libriheavy)
        roots: folders with the audio (librispeech, libriheavy)
        tars: tars with the audio, read in place (libriheavy)
        indexes: tables of the tars' members, in the same order (libriheavy)
    """
    if corpus.name == "world":
        if not audio or not truth:
            raise UserError("--audio, --truth: the world needs a folder for its audio and a file for its truth")
        from speechladder.corpora.world_speech import build_world_shard

        build_world_shard(corpus, seed, shard, cuts, audio, truth, rejected)
    elif corpus.name == "libriheavy":
        if not manifest or len(tars) != len(indexes):
            raise UserError("--manifest, --indexes: libriheavy needs its manifest, and an index for each of --tars")
        from speechladder.corpora.libriheavy import Recordings, build_libriheavy_shard

        recordings = Recordings(roots, dict(zip(map(str, tars), indexes)))
        build_libriheavy_shard(corpus, shard, manifest, recordings, cuts, rejected)
    else:
        from speechladder.corpora.local import build_local_shard

        build_local_shard(corpus, shard, cuts, rejected, roots or None)
