"""Fixtures that every test may use."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# No test fails because the machine is busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Two threads spinning on a shared machine are sixteen times slower than two that sleep (measured); one is enough.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def optional_shared_data() -> Path | None:
    """Real speech and text beside the checkout, or None."""
    return SHARED_DATA if SHARED_DATA.is_dir() else None


@pytest.fixture(scope="session")
def shared_data(optional_shared_data: Path | None) -> Path:
    """Real speech and text beside the checkout; without them, the test is skipped."""
    if optional_shared_data is None:
        pytest.skip("../shared/data is not there")
    return optional_shared_data


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """Training flushes them to zero for its whole process; hypothesis, in a later test of the worker, needs them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A world of two topics, each of which borrows words from the other."""
    from speechladder.benchmarks.generation import training_text
    from speechladder.corpora.world import grammar, lexicon

    def forget() -> None:
        kept = (lexicon.vocabulary, lexicon.content_words, lexicon.lexicon_words, training_text.training_statistics)
        for made in (*kept, grammar._lemmas, grammar._verb_lists, grammar._verb_classes):
            made.cache_clear()

    with monkeypatch.context() as patch:
        patch.setattr(lexicon, "TOPICS", {name: lexicon.TOPICS[name] for name in ("farm", "kitchen")})
        forget()
        yield
    forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two workers share the files out whole, so that no module's fixture is made twice."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(str(item.path)))
