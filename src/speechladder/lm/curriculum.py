"""A curriculum of run lengths: first each run of equal tokens once, then half of it, then the data as they are.

On rungs with a token per 50 Hz frame, a phone is a run of some five equal tokens. Without the repetitions a window
holds several times as much speech, and a step teaches more about the order of phones; how long they last is learnt
afterwards. Loads no torch.
"""

import numpy as np

from speechladder.lm.batches import Batch, Batches, Documents
from speechladder.rungs.registry import RUNGS, Rung
from speechladder.rungs.tokenizers import SPECIALS
from speechladder.settings import LM, Tokens

NO_IDS = np.empty(0, np.int64)


def shorten_runs(tokens: np.ndarray, halve: bool, spelled: np.ndarray = NO_IDS) -> np.ndarray:
    """`tokens` with each run of equal ones written once, or with `halve` half as long, rounded up.

    Ids in `spelled` stay as they are.
    """
    begins = np.flatnonzero(np.append(True, (tokens[1:] != tokens[:-1]) | np.isin(tokens[1:], spelled)))
    if not halve:
        return tokens[begins]
    order = np.arange(len(tokens)) - np.repeat(begins, np.diff(np.append(begins, len(tokens))))
    return tokens[order % 2 == 0]


class ShortRuns(Batches):
    """Batches of documents whose runs are shortened; each is shortened when it is read."""

    def __init__(
        self, data: Documents, seed: int, window: int, batch_windows: int, halve: bool, spelled: np.ndarray
    ) -> None:
        self.halve, self.spelled = halve, spelled
        super().__init__(data, seed, window, batch_windows)

    def _lengths(self) -> np.ndarray:
        return np.array([len(self._document(number)) for number in range(len(self.data.lengths))], np.int64)

    def _document(self, number: int) -> np.ndarray:
        return shorten_runs(super()._document(number), self.halve, self.spelled)


class Curriculum:
    """Batches in three phases of the steps: runs once, halved, whole. Each goes on in the pass where the last ended.

    `at(step)` depends only on the data, the seed, the step and the number of steps in all, which `plan` sets.
    """

    def __init__(self, whole: Batches, share: float, spelled: np.ndarray = NO_IDS) -> None:
        given = (whole.data, whole.seed, whole.window, whole.batch_windows)
        self.phases = (ShortRuns(*given, False, spelled), ShortRuns(*given, True, spelled), whole)
        self.shares = (share, share, 1 - 2 * share)
        self.tokens_per_step = whole.tokens_per_step
        # the mean over the steps, so that steps x tokens_per_step / tokens_per_pass are the passes of a whole training
        passes = sum(share / phase.tokens_per_pass for share, phase in zip(self.shares, self.phases))
        self.tokens_per_pass = round(1 / passes)
        self.begins = (0, 0, 0)  # the first step of each phase

    def plan(self, total: int) -> None:
        """Divide `total` steps among the phases."""
        share = self.shares[0]
        self.begins = (0, round(share * total), round(2 * share * total))
        for phase, begin in zip(self.phases, self.begins):
            phase.first = round(self.passes(begin) * phase.tokens_per_pass)

    @property
    def whole_from(self) -> int:
        """The step from which the data are whole."""
        return self.begins[-1]

    def passes(self, steps: int) -> float:
        """Passes over the data in the first `steps` steps."""
        ends = (*self.begins[1:], steps)
        return sum(
            phase.passes(max(0, min(end, steps) - begin)) for phase, begin, end in zip(self.phases, self.begins, ends)
        )

    def at(self, step: int) -> Batch:
        """The batch of step `step`; the first is 0."""
        phase = int(np.searchsorted(self.begins, step, side="right")) - 1
        return self.phases[phase].at(step - self.begins[phase])


def make_batches(data: Documents, rung: str, seed: int, settings: LM) -> Batches | Curriculum:
    """The batches of a training on the rung of that name: with the curriculum if it has a token per frame."""
    whole = Batches(data, seed, settings.window, settings.batch_windows)
    if not (settings.run_curriculum and rung in RUNGS and RUNGS[rung].per_frame):
        return whole
    return Curriculum(whole, settings.run_curriculum, spelled_ids(data, RUNGS[rung]))


def spelled_ids(data: Documents, rung: Rung) -> np.ndarray:
    """The ids of the symbols whose runs are no durations (`Rung.spelled`), in tokens of `rung`."""
    if not (rung.spelled and rung.alphabet):
        return NO_IDS
    of = data.meta["settings"]
    given = Tokens(**of["tokens"]), of["clusters"]
    letters = set(rung.spelled(*given))
    return np.array([i for i, symbol in enumerate(rung.alphabet(*given), len(SPECIALS)) if symbol in letters])
