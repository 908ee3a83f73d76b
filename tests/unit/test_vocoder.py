"""The vocoder: the run's own and CodeHiFiGAN checkpoints."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from speechladder.continuation.vocoder import source_filter, train
from speechladder.continuation.vocoder.base import load_vocoder
from speechladder.continuation.vocoder.checks import check_vocoder
from speechladder.continuation.vocoder.hifigan import CodeGenerator
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.audio import encode_flac, frame_count
from speechladder.io.errors import UserError
from speechladder.io.tables import UNITS, write_table
from speechladder.settings import Continuation

CLUSTERS = 6
CONFIG = {
    "resblock": "1",
    "num_embeddings": CLUSTERS,
    "embedding_dim": 8,
    "model_in_dim": 8,
    "upsample_rates": [5, 4, 4, 2, 2],
    "upsample_kernel_sizes": [11, 8, 8, 4, 4],
    "upsample_initial_channel": 32,
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "code_hop_size": 320,
    "sampling_rate": 16000,
}
PREDICTOR = {
    "dur_predictor_params": {
        "encoder_embed_dim": 8,
        "var_pred_hidden_dim": 8,
        "var_pred_kernel_size": 3,
        "var_pred_dropout": 0.5,
    }
}


def buzz(rng: np.random.Generator, units: np.ndarray) -> np.ndarray:
    """Audio of the units: even ones are a buzz, odd ones noise, each with its own loudness."""
    n = 320 * len(units) + 80
    t = np.arange(n) / 16000
    at = np.minimum(np.arange(n) // 320, len(units) - 1)
    tone = sum(np.sin(2 * np.pi * 120 * k * t) for k in range(1, 8)) / 14
    hiss = 0.1 * rng.standard_normal(n)
    return (np.where(units[at] % 2, hiss, tone) * (1 + units[at]) / 8).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[list[Path], list[Path]]:
    """Cuts and units of two shards; every utterance but one is in the train split."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    cuts, units = [], []
    for shard in range(2):
        rows, table = [], []
        for k in range(4):
            row = np.repeat(rng.integers(0, CLUSTERS, 30), rng.integers(2, 5, 30))
            samples = buzz(rng, row)
            name = f"u{shard}{k}"
            (folder / f"{name}.flac").write_bytes(encode_flac(samples))
            split = "test" if (shard, k) == (1, 3) else "train"
            n, seconds = len(samples), len(samples) / 16000
            path = str(folder / f"{name}.flac")
            rows.append(Cut(name, name, path, 0.0, seconds, f"s{k % 2}", split, "a", "A.", 16000, n))
            table.append({"id": name, "units": row})
            assert frame_count(n) == len(row)
        cuts.append(folder / f"cuts.{shard}.jsonl.gz")
        units.append(folder / f"{shard}.parquet")
        write_cuts(cuts[-1], rows)
        write_table(units[-1], table, UNITS, encoder="abc", layer="3", clusters=str(CLUSTERS))
    return cuts, units


SETTINGS = Continuation(vocoder_steps=24, vocoder_minutes=1)


@pytest.fixture(scope="module")
def own(corpus, tmp_path_factory) -> Path:
    """A trained vocoder."""
    out = tmp_path_factory.mktemp("own") / "vocoder"
    train.train_vocoder(*corpus, out, SETTINGS, CLUSTERS, seed=3)
    return out


def test_training_lowers_the_loss_and_records_its_inputs(own):
    rows = [json.loads(line) for line in (own / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == list(range(1, 25))
    assert np.mean([r["loss"] for r in rows[-5:]]) < 0.7 * rows[0]["loss"]
    config = json.loads((own / "config.json").read_text())
    assert config["clusters"] == CLUSTERS and config["speaker_names"] == ["s0", "s1"]
    assert config["provenance"]["utterances"] == 7  # the test split is not among them
    assert config["provenance"]["units"] == {"encoder": "abc", "layer": "3", "clusters": str(CLUSTERS)}


def test_training_is_deterministic(own, corpus, tmp_path):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    train.train_vocoder(*corpus, tmp_path / "again", SETTINGS, CLUSTERS, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for name in ("config.json", "model.safetensors", "log.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (own / name).read_bytes(), name
    train.train_vocoder(*corpus, tmp_path / "other", SETTINGS, CLUSTERS, seed=4)
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != (own / "model.safetensors").read_bytes()


def test_minutes_bound_the_speech(corpus, tmp_path):
    short = SETTINGS.model_copy(update={"vocoder_minutes": 0.05, "vocoder_steps": 1})
    config = train.train_vocoder(*corpus, tmp_path / "short", short, CLUSTERS, seed=3)
    assert config["provenance"]["utterances"] in (1, 2) and config["provenance"]["minutes"] <= 0.05


def test_own_vocoder_speaks(own):
    vocoder = load_vocoder(own, CLUSTERS)
    assert vocoder.clusters == CLUSTERS
    units = np.repeat([4, 5, 0, 1], 25)
    wave = vocoder.speak(units)
    assert wave.dtype == np.float32 and len(wave) == 320 * 100 and np.abs(wave).max() <= 1
    assert np.array_equal(wave, load_vocoder(own).speak(units))
    loud, quiet = wave[: 320 * 50].std(), wave[320 * 50 :].std()  # units 4 and 5 were made louder than 0 and 1
    assert loud > 1.5 * quiet
    voiced = source_filter.analyse(wave, 200)[1]
    assert voiced[10:40].mean() > 0.8 and voiced[60:90].mean() < 0.3  # a buzz, then noise
    assert len(vocoder.speak(np.zeros(0, np.uint16))) == 0 and len(vocoder.speak(np.array([2]))) == 320
    durations = vocoder.durations(np.arange(CLUSTERS))
    assert durations.dtype == np.int64 and durations.min() >= 2 and durations.max() <= 6


def test_copy_synthesis_keeps_the_envelope():
    rng = np.random.default_rng(1)
    n = 16000
    noise = np.convolve(rng.standard_normal(n), [1, 1.6, 0.8], "same").astype(np.float32) * 0.05
    mel, voiced = source_filter.analyse(noise, 100)
    again, _ = source_filter.analyse(source_filter.synthesise(mel, voiced, 120.0), 100)
    assert voiced.mean() < 0.2
    assert np.abs(mel[5:-5].mean(0) - again[5:-5].mean(0)).max() < 0.3  # nats; the tilt is 3
    assert np.ptp(mel.mean(0)[2:]) > 1
    assert source_filter.synthesise(mel[:0], voiced[:0], 120.0).shape == (0,)
    assert source_filter.analyse(noise[:0], 0)[0].shape == (0, source_filter.BANDS)


def test_units_that_do_not_fit(corpus, own, tmp_path):
    with pytest.raises(UserError, match=r"unit \d of 3"):
        train.train_vocoder(*corpus, tmp_path / "x", SETTINGS, 3, seed=0)
    with pytest.raises(UserError, match=r"clusters 6.*are 7 \(units.clusters\)"):
        check_vocoder(own, 7)
    with pytest.raises(UserError, match="are 7"):
        load_vocoder(own, 7)


def test_no_speech_and_missing_audio(corpus, tmp_path):
    cuts, units = corpus
    write_table(tmp_path / "0.parquet", [], UNITS)
    with pytest.raises(UserError, match="no utterance of the train split"):
        train.train_vocoder(cuts, [tmp_path / "0.parquet"], tmp_path / "x", SETTINGS, CLUSTERS, seed=0)
    lost = Cut("u00", "u00", str(tmp_path / "lost.flac"), 0.0, 1.0, "s", "train", "a", "A.", 16000, 16000)
    write_cuts(tmp_path / "cuts.gz", [lost])
    with pytest.raises(
        UserError, match=r"no utterance of the train split has .* \(u00: unreadable audio: .*lost\.flac is no file\)"
    ):
        train.train_vocoder([tmp_path / "cuts.gz"], units, tmp_path / "x", SETTINGS, CLUSTERS, seed=0)
    assert not (tmp_path / "x").exists()


@dataclass
class Checkpoint:
    """A random CodeHiFiGAN in a folder, and its generator with weight norm folded by torch itself."""

    folder: Path
    plain: CodeGenerator


def save_hifigan(folder: Path, norm: str, file: str = "g_00000010", **changes: object) -> Checkpoint:
    """A random checkpoint; `norm`: old (weight_g, weight_v), new (parametrizations) or none."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG | changes
    (folder / "config.json").write_text(json.dumps(config))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CodeGenerator(config).eval()
        apply = {"old": weight_norm, "new": parametrizations.weight_norm}.get(norm)
        for name, module in list(model.named_modules()):
            if apply and isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)) and not name.startswith("dur_"):
                apply(module)
                parts = [p for n, p in module.named_parameters() if n.endswith(("weight_g", "original0"))]
                parts[0].data.mul_(1.5)  # with g = |v| an error in folding would have no effect
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    if file.endswith(".safetensors"):
        from safetensors.torch import save_file

        save_file(state, folder / file)
    else:
        torch.save({"generator": state}, folder / file)
    return Checkpoint(folder, model)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize(
    ("norm", "file"), [("old", "g_00000010"), ("new", "model.pt"), ("none", "model.safetensors"), ("old", "model.bin")]
)
def test_code_hifigan_speaks(tmp_path, norm, file):
    saved = save_hifigan(tmp_path, norm, file)
    check_vocoder(tmp_path, CLUSTERS)
    vocoder = load_vocoder(tmp_path, CLUSTERS)
    units = np.array([0, 0, 5, 2, 2, 1, 3], np.uint16)
    wave = vocoder.speak(units)
    assert wave.dtype == np.float32 and len(wave) == 320 * len(units) and wave.std() > 0
    with torch.inference_mode():
        expected = saved.plain(torch.from_numpy(units.astype(np.int64))[None])[0].numpy()
    np.testing.assert_allclose(wave, expected, atol=1e-5)
    with pytest.raises(UserError, match="dur_predictor_params"):
        vocoder.durations(units)


def test_code_hifigan_other_rate_speaker_and_durations(tmp_path):
    rates = {"upsample_rates": [7, 7, 3, 3], "upsample_kernel_sizes": [15, 15, 7, 7], "code_hop_size": 441}
    more = {"sampling_rate": 22050, "multispkr": "single", "num_speakers": 2, "model_in_dim": 16}
    save_hifigan(tmp_path, "new", **rates, **more, **PREDICTOR, resblock="2")
    check_vocoder(tmp_path, CLUSTERS)
    vocoder = load_vocoder(tmp_path, CLUSTERS)
    assert abs(len(vocoder.speak(np.arange(6).repeat(10))) - 60 * 320) <= 1
    durations = vocoder.durations(np.arange(6))
    assert durations.shape == (6,) and durations.min() >= 1 and vocoder.durations(np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_embeddings": 200}, r"num_embeddings 200.*are 6 \(units.clusters\)"),
        ({"upsample_rates": [5, 4, 4, 2, 4]}, "640 samples of a unit"),
        ({"code_hop_size": 160}, "code_hop_size 160"),
        ({"sampling_rate": 22050}, "sampling_rate 22050 are 441"),
        ({"sampling_rate": "fast"}, "sampling_rate is 'fast'"),
        ({"f0": True}, "f0 is set"),
        ({"model_in_dim": 80}, "model_in_dim is 80"),
        ({"resblock": "3"}, "resblock is '3'"),
        ({"upsample_kernel_sizes": [11, 8]}, "differ in length"),
        ({"model_type": "hifigan"}, "for mel spectra"),
        ({"embedding_dim": "8"}, "expected int"),
    ],
)
def test_wrong_configs(tmp_path, changes, message):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | changes))
    (tmp_path / "g_1").touch()
    with pytest.raises(UserError, match=f"(?s)continuation.vocoder.*{message}"):
        check_vocoder(tmp_path, CLUSTERS)


def test_missing_files_and_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check_vocoder("run", CLUSTERS)
    with pytest.raises(UserError, match="no such folder: nowhere"):
        check_vocoder("nowhere", CLUSTERS)
    with pytest.raises(UserError, match=r"has no config\.json; it comes with the vocoder's weights"):
        check_vocoder(tmp_path, CLUSTERS)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(UserError, match=r"holds no weights \(.*\); copy the generator's there"):
        check_vocoder(tmp_path, CLUSTERS)
    with pytest.raises(UserError, match="is a file"):
        check_vocoder(tmp_path / "config.json", CLUSTERS)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        check_vocoder(tmp_path, CLUSTERS)
    with pytest.raises(UserError, match=r"continuation.vocoder: nobody/no-such-vocoder .*--local-dir"):
        load_vocoder("nobody/no-such-vocoder")


def test_wrong_weights(tmp_path):
    save_hifigan(tmp_path, "none")
    weights = tmp_path / "g_00000010"
    state = torch.load(weights, weights_only=True)["generator"]
    weights.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="not readable as weights"):
        load_vocoder(tmp_path)
    torch.save({k: v for k, v in state.items() if k != "conv_pre.bias"}, weights)
    with pytest.raises(UserError, match="lacks 1 of the generator"):
        load_vocoder(tmp_path)
    torch.save(state | {"conv_pre.bias": torch.zeros(3)}, weights)
    with pytest.raises(UserError, match=r"conv_pre.bias is \(3,\), config.json says \(32,\)"):
        load_vocoder(tmp_path)
    torch.save({"generator": Path("x")}, weights)
    with pytest.raises(UserError, match="not readable as weights alone"):  # code in a file is not run
        load_vocoder(tmp_path)


def test_check_imports_no_torch(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "g_1").touch()
    code = (
        "import sys; from speechladder.continuation.vocoder.checks import check_vocoder; "
        f"check_vocoder({str(tmp_path)!r}, {CLUSTERS}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_units_without_repeats_need_durations(own, tmp_path):
    plain = save_hifigan(tmp_path / "plain", "old").folder
    check_vocoder(plain, CLUSTERS)
    with pytest.raises(UserError, match=r"plain/config.json: no duration predictor .*vocoder: run"):
        check_vocoder(plain, CLUSTERS, needs_durations=True)
    for folder in (own, save_hifigan(tmp_path / "predicts", "old", **PREDICTOR).folder):
        check_vocoder(folder, CLUSTERS, needs_durations=True)
