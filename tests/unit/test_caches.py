"""Caches beside the run, and nothing at home."""

from pathlib import Path

from speechladder.workflow.caches import caches

RUNS, FILES = Path("/run/.snakemake/cache"), Path("/data/downloads")


def test_an_empty_home_stays_empty(tmp_path):
    found = caches(RUNS, FILES, {"HOME": str(tmp_path)})
    # the login alone is read from home, and nothing is written there
    assert found.pop("HF_TOKEN_PATH") == str(tmp_path / ".cache/huggingface/token")
    assert found["HF_HUB_CACHE"] == "/data/downloads/cache/huggingface/hub"
    assert found["XDG_CACHE_HOME"] == "/data/downloads/cache"
    assert found["MPLCONFIGDIR"] == "/run/.snakemake/cache/matplotlib"
    assert not [path for path in found.values() if path.startswith(str(tmp_path))]


def test_what_the_user_has_set_stays(tmp_path):
    given = {"HOME": str(tmp_path), "MPLCONFIGDIR": "/m", "HF_HOME": "/hf", "TRITON_CACHE_DIR": "/t"}
    found = caches(RUNS, FILES, given)
    assert not {"MPLCONFIGDIR", "TRITON_CACHE_DIR", "HF_HUB_CACHE", "HF_TOKEN_PATH"} & set(found)
    assert not {"XDG_CACHE_HOME", "HF_HUB_CACHE"} & set(
        caches(RUNS, FILES, {"HOME": str(tmp_path), "XDG_CACHE_HOME": "/x"})
    )


def test_models_that_are_at_home_are_used_there(tmp_path):
    (tmp_path / ".cache/huggingface/hub").mkdir(parents=True)
    assert not {"HF_HUB_CACHE", "XDG_CACHE_HOME"} & set(caches(RUNS, FILES, {"HOME": str(tmp_path)}))
