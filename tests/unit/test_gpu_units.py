"""Encoding, k-means, decoding and Whisper on a card that is not there: no mixed devices, and no wait that need not be.

The card is tests/pretend_card.py. What it computes is compared with the ordinary CPU path.
"""

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional

from speechladder.continuation import decoding
from speechladder.continuation.asr import whisper
from speechladder.continuation.decoding import generate
from speechladder.settings import Units
from speechladder.units.codebook import Codebook
from speechladder.units.decode import Job, Wave, waves
from speechladder.units.encoders.models import read_model
from speechladder.units.encoders.packed import GroupedConv, Lengths, Packed, _attend
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.kmeans import torch_backend
from speechladder.units.kmeans.fit import fit
from speechladder.units.kmeans.plan import Plan
from speechladder.units.nearest import Highest, Nearest
from speechladder.units.normalise import Normaliser, SpeakerSums
from speechladder.units.segments import SegmentQuantiser
from speechladder.units.stream import Quantiser, units_of
from tests import tiny_hubert
from tests.pretend_card import PretendCard
from tests.unit.test_asr import save_whisper
from tests.unit.test_generate import model, some_prompts

CARD, CPU = "cuda:0", torch.device("cpu")
WHICH = [("Hubert", "base"), ("Hubert", "large"), ("Wav2Vec2", "large"), ("WavLM", "base")]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folders = {which: tmp_path_factory.mktemp("-".join(which)) for which in WHICH}
    for (family, kind), folder in folders.items():
        tiny_hubert.save(folder, kind, family=family)
    return {which: str(folder) for which, folder in folders.items()}


@pytest.fixture(scope="module")
def speech():
    """Utterances of several lengths, in steps of 16 bits and finer, some of one length."""
    rng = np.random.default_rng(0)
    lengths = (400, 16_000, 719, 23_333, 9_000, 16_000)
    fine = [rng.normal(0.02 * i, 0.02 * (i + 1), n).astype(np.float32) for i, n in enumerate(lengths)]
    coarse = [np.round(x.clip(-0.9, 0.9) * 32768).astype(np.float32) / np.float32(32768) for x in fine]
    return coarse[:3] + fine[3:4] + coarse[4:]


def varlen(q, k, v, starts, same, longest, also):
    """What torch.nn.attention.varlen.varlen_attn computes, with what it demands."""
    assert q.dtype in (torch.bfloat16, torch.float16) and q.dtype == k.dtype == v.dtype
    assert starts.dtype == torch.int32 and starts is same and longest == also and q.dim() == 3
    assert torch.device(CARD) == q.device == starts.device
    out = []
    ends = torch.Tensor.tolist(starts)
    assert ends[0] == 0 and ends[-1] == len(q)
    for a, b in pairwise(ends):
        assert b - a <= longest
        part = [x[a:b].transpose(0, 1)[None] for x in (q, k, v)]
        out.append(functional.scaled_dot_product_attention(*part)[0].transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("which", WHICH, ids="-".join)
def test_the_encoder_waits_for_nothing_and_gives_the_same(checkpoints, speech, which):
    wanted = TransformersEncoder.load(checkpoints[which], 3, device="cpu", fast=True).encode(speech)
    compact = [Wave.of(samples).compact() for samples in speech]
    assert {wave.stored.dtype.name for wave in compact} == {"int16", "float32"}
    with PretendCard() as card:
        encoder = TransformersEncoder.load(checkpoints[which], 3, device=CARD, precision="fp32")
        assert (encoder.packed is None) is (which[0] == "WavLM")
        for chosen in (compact, compact[:3] + compact[4:], compact[:1]):  # mixed, all 16 bits, one
            card.waits.clear()
            batches = list(encoder.features(chosen))
            assert card.waits == []
            assert all(str(values.device) == CARD for batch in batches for _, values in batch)
        got = encoder.encode(speech)
    for a, b in zip(wanted, got, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.sqrt(np.mean(a**2)))


@pytest.mark.parametrize("which", WHICH[:3], ids="-".join)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_attends_by_utterance(checkpoints, speech, which, precision, monkeypatch):
    calls = []
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda *a: calls.append(len(a[0])) or varlen(*a))
    exact = TransformersEncoder.load(checkpoints[which], 3, device="cpu", fast=True).encode(speech)
    with PretendCard():
        encoder = TransformersEncoder.load(checkpoints[which], 3, device=CARD, precision=precision)
        together, alone = encoder.encode(speech), [encoder.encode([samples])[0] for samples in speech]
    frames = sum(map(len, exact))
    assert calls[:3] == [frames] * 3  # one call a layer, and no frame of padding
    for wanted, a, b in zip(exact, together, alone, strict=True):
        size = np.sqrt(np.mean(wanted**2))
        np.testing.assert_allclose(a, b, atol=0.02 * size)
        np.testing.assert_allclose(a, wanted, atol=0.1 * size)


def test_a_card_without_a_number_is_the_first(checkpoints):
    """torch refuses such a device as the current one; benchmarks name it so."""
    with PretendCard():
        with pytest.raises(ValueError, match="specified index"):
            torch.cuda.set_device("cuda")
        encoder = TransformersEncoder.load(checkpoints["Hubert", "base"], 3, device="cuda", precision="fp32")
    assert encoder.device == torch.device(CARD)


def test_no_utterance_changes_another(checkpoints, speech):
    """A loud neighbour, or one that is not a number, changes no bit, because nothing is added across utterances."""
    with PretendCard():
        encoder = TransformersEncoder.load(checkpoints["Hubert", "large"], 3, device=CARD, precision="fp32")
        quiet = encoder.encode(speech)
        loud = encoder.encode([*speech[:3], 100 * speech[3][::-1].copy(), *speech[4:]])
        broken = encoder.encode([*speech[:3], np.full_like(speech[3], np.nan), *speech[4:]])
    for others in (loud, broken):
        for at in (0, 1, 2, 4, 5):
            np.testing.assert_array_equal(quiet[at], others[at])
    assert np.isnan(broken[3]).all()


@pytest.mark.parametrize(("kernel", "groups", "channels"), [(128, 16, 64), (16, 4, 16), (7, 1, 6), (8, 2, 4)])
def test_the_grouped_convolution_is_a_product(kernel, groups, channels):
    torch.manual_seed(0)
    conv = torch.nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=groups).double()
    ours = GroupedConv(conv, torch.float64)
    single = GroupedConv(conv.float(), torch.float32)
    conv.double()
    for time in (1, 15, 16, 17, 100):
        x = torch.randn(3, channels, time, dtype=torch.float64)
        wanted = conv(x)
        torch.testing.assert_close(ours(x), wanted, rtol=0, atol=1e-6)  # the bias and weights went through float32
        torch.testing.assert_close(single(x.float()).double(), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(single(x.float())[1:2], single(x[1:2].float()), rtol=0, atol=1e-6)


def test_attention_within_utterances_is_masked_attention():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 12, 8) for _ in "qkv")
    frames = [5, 1, 6]
    own = torch.repeat_interleave(torch.arange(3), torch.tensor(frames))
    wanted = functional.scaled_dot_product_attention(q, k, v, attn_mask=own[:, None] == own)
    ends = torch.tensor([0, 5, 6, 12], dtype=torch.int32)
    got = _attend(None, q, k, v, None, lengths=Lengths(frames, 6, ends, False))[0]
    torch.testing.assert_close(got, wanted.transpose(1, 2))


def test_group_norms_of_a_batch_are_those_of_each(checkpoints, speech):
    front = TransformersEncoder.load(checkpoints["Hubert", "base"], 1, device="cpu", fast=True).front
    alone = [torch.from_numpy(samples) for samples in speech]
    padded = torch.nn.utils.rnn.pad_sequence(alone, batch_first=True, padding_value=7.0)  # padding may be anything
    found = front.folds(padded, torch.tensor([len(wave) for wave in alone]))
    for wave, (weight, bias) in zip(alone, found, strict=True):
        for got, wanted in zip((weight, bias), front.fold(wave), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


def test_a_batch_of_group_norms_takes_few_operations(checkpoints, speech):
    with PretendCard() as card:
        encoder = TransformersEncoder.load(checkpoints["Hubert", "base"], 1, device=CARD, precision="fp32")
        counts = []
        for repeats in (1, 4):
            card.calls.clear()
            encoder.front.folds(torch.zeros(repeats, 16_000, device=CARD), torch.full((repeats,), 16_000, device=CARD))
            counts.append(len(card.calls))
    assert counts[1] <= counts[0] + 8  # taking the batch apart; it was some twenty for each utterance


@pytest.mark.parametrize("kind", ["none", "utterance", "speaker"])
def test_units_wait_once_a_flight_at_most(checkpoints, speech, kind, tmp_path):
    """The statistics of speakers are sent once, whatever the number of utterances."""
    found = SpeakerSums()
    for name in ("anna", "bert"):
        found.add(name, np.random.default_rng(len(name)).normal(size=(50, 16)).astype(np.float32))
    found.write(tmp_path / "s.safetensors", {"encoder": "e", "sha256": "a", "layer": 3, "dim": 16, "normalise": False})
    normaliser = Normaliser.load(tmp_path / "s.safetensors") if kind == "speaker" else Normaliser(kind)
    book = Codebook(np.random.default_rng(1).normal(size=(9, 16)).astype(np.float32), {})
    pairs = [(Job(str(i), ("anna", "bert")[i % 2], "", 1.0), Wave.of(x).compact()) for i, x in enumerate(speech * 3)]

    class Meter:
        def advance(self, seconds: float) -> None:
            pass

    def units(device: str):
        encoder = TransformersEncoder.load(checkpoints["Hubert", "base"], 3, 2.0, device, precision="fp32", fast=True)
        quantiser = Quantiser.of(book, normaliser, encoder.device)
        return lambda: [(job.id, row.tolist()) for job, row in units_of(encoder, [quantiser], pairs, Meter())]

    wanted = units("cpu")()
    with PretendCard() as card:
        run = units(CARD)
        card.waits.clear()
        got = run()
        first = Counter(what for what, _ in card.waits)
        card.waits.clear()
        assert run() == got
        assert card.waits == []
    assert got == wanted
    assert sum(first.values()) == (kind == "speaker")  # its table


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_k_means_runs_on_the_card(precision):
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(6, 8))[rng.integers(0, 6, 1500)] * 9 + rng.normal(size=(1500, 8))).astype(np.float32)
    plan = Plan(10, 4, 0, backend="torch", precision=precision)
    wanted = fit(features, plan)
    with PretendCard() as card:
        chunks = torch_backend._Chunks(features, 300, torch.device(CARD))
        first = torch.from_numpy(features[:10]).to(CARD) - chunks.shift
        card.waits.clear()
        torch_backend._pass(chunks, first, precision)
        found = Counter(what for what, _ in card.waits)
        got = fit(features, Plan(10, 4, 0, backend="torch", precision=precision, device=CARD))
    assert found.pop("nonzero", 0) == (5 if precision == "bf16" else 0)  # the doubtful frames of each chunk
    assert found == {"__float__": 1}  # the objective
    assert got.objective == pytest.approx(wanted.objective, rel=1e-5)
    np.testing.assert_allclose(got.centroids, wanted.centroids, rtol=1e-3, atol=1e-3)


def test_the_lowest_by_passes_are_those_of_topk():
    rng = np.random.default_rng(2)
    for kind in (torch.float32, torch.bfloat16):
        rough = torch.from_numpy(rng.normal(size=(300, 64)).astype(np.float32)).to(kind)
        before = rough.clone()
        for count in (1, 2, 4):
            values, columns = torch_backend._lowest_by_passes(rough, count)
            wanted = before.topk(count, dim=1, largest=False)
            assert torch.equal(values, wanted.values)
            assert torch.equal(before.gather(1, columns), wanted.values)  # bfloat16 has equals
            assert all(len(set(row)) == count for row in columns.tolist())
            assert torch.equal(rough, before)


@pytest.mark.parametrize("clusters", [32, 64])
def test_passes_in_place_of_topk_give_the_same_centroids(clusters, monkeypatch):
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(64, 48)) * 3
    features = (centres[rng.integers(0, 64, 6000)] + rng.normal(size=(6000, 48))).astype(np.float32)
    plan = Plan(clusters, 5, 0, backend="torch", precision="bf16")
    wanted = fit(features, plan)
    monkeypatch.setattr(torch_backend, "_lowest", torch_backend._lowest_by_passes)
    assert fit(features, plan).centroids.tobytes() == wanted.centroids.tobytes()


def test_an_index_is_sorted_once_for_counts_and_sums():
    rng = np.random.default_rng(4)
    index = torch.from_numpy(rng.integers(0, 7, 500))
    values = torch.from_numpy(rng.normal(size=(500, 3)).astype(np.float32))
    plain = torch_backend._Clusters(index, 9)
    with PretendCard() as card:
        found = torch_backend._Clusters(index.to(CARD), 9)
        sums, ones = found.sums(values.to(CARD)), found.sums(values[:, :1].to(CARD))
        assert card.calls.count("sort") == 1 and "argsort" not in card.calls
        sums, ones, counts = sums.cpu(), ones.cpu(), found.counts.cpu()
    assert torch.equal(counts, plain.counts) and counts[7:].tolist() == [0, 0]
    torch.testing.assert_close(sums, plain.sums(values))
    assert torch.equal(ones, sums[:, :1])


def test_decoding_looks_at_the_rows_every_sixteen_tokens_and_draws_the_same():
    """On the CPU it looks after each token, as it always did."""
    prompts, rng = some_prompts(7), np.random.default_rng(6)
    for steps, window in ((40, 64), (40, 8), (5, 64)):
        numbers = rng.random((7, 2, steps))
        told: dict[str, list[float]] = {"cpu": [], "card": []}
        wanted = generate(model(window), prompts, numbers, 0.8, 0.9, 6, told["cpu"].append)
        with PretendCard() as card:
            lm = model(window).to(CARD)
            card.waits.clear()
            got = generate(lm, prompts, numbers, 0.8, 0.9, 6, told["card"].append)
            looks = sum(what == "tolist" for what, _ in card.waits)
        assert got == wanted
        assert sum(told["card"]) == sum(told["cpu"])
        batches = 3
        assert looks <= batches * -(-steps // decoding.GPU_STEPS)
        assert len(card.waits) - looks <= 20 * batches  # what a batch sends and fetches, whatever the steps
    assert {ended for samples in wanted for _, ended in samples} | {
        ended for samples in generate(model(), prompts, rng.random((7, 2, 40)), 0.8, 0.9, 6) for _, ended in samples
    } == {True, False}


def test_whisper_runs_in_float16_on_the_card(tmp_path, monkeypatch):
    monkeypatch.setattr(whisper, "acquire_gpu", lambda: CARD)
    folder = save_whisper(tmp_path / "tiny")
    speech = [np.random.default_rng(n).normal(0, 0.1, 8000 + 99 * n).astype(np.float32) for n in range(3)]
    with PretendCard() as card:
        asr = whisper.load_whisper(str(folder))
        assert {weights.dtype for weights in asr._model._model.parameters()} == {torch.float16}
        encoded = asr._model.encode(speech)
        assert (encoded.dtype, str(encoded.device)) == (torch.float16, CARD)
        card.waits.clear()
        first = asr._model.decode(encoded, 0.0, [0, 1, 2])
        reads = [where for what, where in card.waits if what == "tolist" and "fallback.py" in where]
        drawn = asr._model.decode(encoded, 0.6, [0, 1, 2])
        texts = asr.transcribe(speech)
    longest = max(len(row) for row in (d.text for d in first))
    assert len(reads) <= longest + 2  # one a token
    assert all(isinstance(d.text, str) and d.log_probability < 0 for d in (*first, *drawn))
    assert len(texts) == 3


def test_workers_send_sixteen_bits_and_the_units_are_the_same_to_the_last_bit(checkpoints, tmp_path):
    """Of steps of 16 bits, of two channels whose mean is finer, and of another rate."""
    rng = np.random.default_rng(5)
    kinds = [(16_000, 1), (16_000, 2), (22_050, 1), (16_000, 1)]
    for at, (rate, channels) in enumerate(kinds):
        soundfile.write(tmp_path / f"{at}.flac", rng.normal(0, 0.1, (rate, channels)), rate, subtype="PCM_16")
    jobs = [Job(str(at), "s", str(tmp_path / f"{at}.flac"), 1.0) for at in range(len(kinds))]
    here, sent = [wave for _, wave in waves(jobs)], [wave for _, wave in waves(jobs, 1)]
    assert [wave.stored.dtype.name for wave in sent] == ["int16", "float32", "float32", "int16"]
    assert all(wave.stored.dtype == np.float32 for wave in here)
    encoder = TransformersEncoder.load(checkpoints["Hubert", "base"], 3, device="cpu")
    digests = set()
    for found in (here, sent):
        digest = hashlib.sha256()
        for wave in found:
            digest.update(wave.samples.tobytes() + wave.mean.tobytes() + wave.scale.tobytes())
        for batch in encoder.features(found):
            for _, values in batch:
                digest.update(values.numpy().tobytes())
        digests.add(digest.hexdigest())
    assert len(digests) == 1


def test_sixteen_bits_are_exact_or_not_used():
    every = (np.arange(-32768, 32768) / 32768).astype(np.float32)
    small = Wave.of(every).compact()
    assert small.stored.dtype == np.int16 and small.length == 65_536
    assert small.samples.dtype == np.float32 and np.array_equal(small.samples, every)
    for odd in (1.0, 0.5 / 32768, -1.5):  # beyond the range, between two steps
        assert Wave.of(np.append(every, np.float32(odd))).compact().stored.dtype == np.float32


def test_what_no_card_computes_is_found():
    """The pretended card itself: what fails or waits on a card does so there."""
    with PretendCard() as card:
        x = torch.ones(3, 4).to(CARD)
        assert str(x.device) == CARD and x.is_cuda and card.waits.pop()[0] == "copy cpu -> cuda"
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3, 4)
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
        assert not card.waits
        assert (x @ x.T).cpu()[0, 0] == 4 and card.waits.pop()[0] == "copy cuda -> cpu"
        torch.ones(2).pin_memory().to(CARD, non_blocking=True)
        torch.arange(3, device=CARD)
        assert not card.waits
        for wait in (lambda: float(x.sum()), lambda: x[x > 0], lambda: x.nonzero(), lambda: bool(x.any())):
            wait()
            assert card.waits
            card.waits.clear()


def test_segments_and_labels_are_made_on_the_card_too(checkpoints, speech):
    rng = np.random.default_rng(7)
    book = Codebook(rng.normal(size=(9, 16)).astype(np.float32), {})
    labels = Highest(rng.normal(size=(5, 16)).astype(np.float32), rng.normal(size=5).astype(np.float32), CPU)
    jobs = [Job(str(at), "s", "", 1.0) for at in range(len(speech))]
    chosen = Units(segments="auto")

    def made(encoder, nearest):
        (features,) = list(encoder.features([Wave.of(samples) for samples in speech]))
        values = [x for _, x in sorted(features, key=lambda row: row[0])]
        plain = Quantiser(Normaliser.utterance(), nearest)
        return plain(values, jobs).tolist(), SegmentQuantiser(plain, chosen, lambda name: None)(values, jobs).tolist()

    where = checkpoints["Hubert", "base"], 3, 60.0
    for nearest in (Nearest(book.centroids, CPU), labels):
        wanted = made(TransformersEncoder.load(*where, "cpu", precision="fp32", fast=True), nearest)
        with PretendCard():
            encoder = TransformersEncoder.load(*where, CARD, precision="fp32")
            if isinstance(nearest, Nearest):
                there = Nearest(book.centroids, torch.device(CARD))
            else:
                there = Highest(
                    labels.centroids.T.mul(2).float().numpy(), -labels.offsets.float().numpy(), torch.device(CARD)
                )
            assert made(encoder, there) == wanted


def test_pieces_of_a_recording_share_its_group_norm_on_the_card(checkpoints):
    rng = np.random.default_rng(8)
    long = (rng.normal(0, 0.1, 200_000) * np.linspace(0.1, 2, 200_000)).astype(np.float32)
    where = checkpoints["Hubert", "base"], 3, 60.0
    wanted = TransformersEncoder.load(*where, "cpu", chunk_seconds=5.0, fast=True).encode([long, long[:9000]])
    with PretendCard():
        got = TransformersEncoder.load(*where, CARD, chunk_seconds=5.0, precision="fp32").encode([long, long[:9000]])
    for a, b in zip(wanted, got, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.sqrt(np.mean(a**2)))


def test_compiled_layers_are_not_compiled_again_for_every_batch(checkpoints, monkeypatch):
    """The attention is replaced by one that torch.compile can trace on a CPU."""
    monkeypatch.setattr(
        "torch.nn.attention.varlen.varlen_attn", lambda q, k, v, a, b, long, longer: v * (long / longer)
    )
    packed = Packed(read_model(checkpoints["Hubert", "large"], 2).model, torch.float32, CPU)
    packed.flash, graphs = True, []
    torch._dynamo.reset()
    packed.layers = torch.compile(
        packed._layers, dynamic=True, backend=lambda graph, _: graphs.append(graph) or graph.forward
    )
    counts = []
    for frames in ([5, 9], [3, 4, 8], [30, 2], [7, 7, 7, 21], [40, 41]):
        with torch.inference_mode():
            packed(torch.randn(len(frames), max(frames), 16), frames)
        counts.append(len(graphs))
    assert counts[0] >= 1
    assert counts[1] == counts[-1]
