"""How long a training is, and its learning rate: steps from the limits of the settings, warm-up and cosine."""

import math
from dataclasses import dataclass

from speechladder.lm.batches import Batches
from speechladder.settings import LM

WARM = 5  # steps
PLAN_SHARE, PLAN_STEPS = 0.005, 20  # of lm.max_hours, and steps, after which the hours' steps are counted, once
MARGIN = 0.03  # of the hours left that stay free: the cosine should end before they do


@dataclass
class State:
    """What a run is at, apart from tensors. Steps are counted from 1 when they are done."""

    step: int = 0
    best_step: int = 0
    best_bits: float = math.inf  # bits per token
    stale: int = 0  # validations since the best
    seconds: float = 0.0  # spent on steps, validation and checkpoints (lm.max_hours), of earlier runs too
    warm_seconds: float = 0.0  # of them on the first WARM steps, in which kernels are compiled
    total: int = 0  # steps of the cosine, once the hours have been planned; 0: not (yet)
    planned_at: int = 0  # the step at which that was


def planned_steps(settings: LM, batches: Batches) -> int:
    """Steps of the whole cosine: the least of the limits in steps, passes and tokens, at least one."""
    steps = [float(settings.max_steps), settings.max_passes * batches.tokens_per_pass / batches.tokens_per_step]
    if settings.max_tokens:
        steps.append(settings.max_tokens / batches.tokens_per_step)
    return max(1, math.ceil(min(steps)))


def plan_hours(settings: LM, state: State, total: int) -> int:
    """Steps of the whole cosine by lm.max_hours, from the rate so far; 0 while it is too early to tell.

    The answer is kept in the state: a resumed run goes on with it, whatever its rate is then.
    """
    if state.step < PLAN_STEPS or state.seconds < PLAN_SHARE * settings.max_hours * 3600:
        return 0
    left = settings.max_hours * 3600 - state.seconds
    fitting = state.step + int(
        (1 - MARGIN) * left * (state.step - WARM) / max(state.seconds - state.warm_seconds, 1e-9)
    )
    return min(total, max(state.step + 1, fitting))


def snapshot_steps(points: int, total: int) -> set[int]:
    """Steps of the learning curve's snapshots: a half, a quarter, ... of the plan; its end is the model itself."""
    return {total >> k for k in range(1, points + 1) if total >> k}


def learning_rate(settings: LM, step: int, total: int) -> float:
    """Rate of the step after `step` done: linear warm-up (of at most half the run), then cosine to min_lr_ratio."""
    warmup = min(settings.warmup_steps, total // 2)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    share = (step - warmup + 1) / (total - warmup)
    low = settings.min_lr_ratio
    return settings.lr * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * share)))
