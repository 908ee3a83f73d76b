"""The length of a training and its learning rate: steps from the limits in the settings, warm-up and decay."""

import math
from dataclasses import dataclass

from speechladder.lm.batches import Batches
from speechladder.lm.curriculum import Curriculum
from speechladder.settings import LM

WARM = 5  # steps
PLAN_SHARE, PLAN_STEPS = 0.005, 20  # share of lm.max_hours and number of steps after which the total is planned, once
MARGIN = 0.03  # share of the remaining hours that stays free, so that the schedule ends before they do


@dataclass
class Counters:
    """The state of a run apart from tensors. Steps are counted from 1, when they are done."""

    step: int = 0
    best_step: int = 0
    best_bits: float = math.inf  # bits per token
    stale: int = 0  # validations since the best one
    seconds: float = 0.0  # spent on steps, validation and checkpoints (lm.max_hours), earlier runs included
    warm_seconds: float = 0.0  # of these, on the first WARM steps, in which kernels are compiled
    total: int = 0  # steps of the schedule once the hours have been planned; 0 before that
    planned_at: int = 0  # the step at which they were planned


def planned_steps(settings: LM, batches: Batches | Curriculum) -> int:
    """Steps of the whole schedule: the smallest of the limits in steps, passes and tokens, at least one."""
    steps = [float(settings.max_steps), settings.max_passes * batches.tokens_per_pass / batches.tokens_per_step]
    if settings.max_tokens:
        steps.append(settings.max_tokens / batches.tokens_per_step)
    return max(1, math.ceil(min(steps)))


def plan_hours(settings: LM, counters: Counters, total: int) -> int:
    """Steps of the whole schedule by lm.max_hours, from the rate so far; 0 while it is too early to tell.

    The answer is kept in the counters. A resumed run continues with it, whatever its rate is then.
    """
    if counters.step < PLAN_STEPS or counters.seconds < PLAN_SHARE * settings.max_hours * 3600:
        return 0
    left = settings.max_hours * 3600 - counters.seconds
    fitting = counters.step + int(
        (1 - MARGIN) * left * (counters.step - WARM) / max(counters.seconds - counters.warm_seconds, 1e-9)
    )
    return min(total, max(counters.step + 1, fitting))


def snapshot_steps(points: int, total: int) -> set[int]:
    """Steps of the learning curve's snapshots: a half, a quarter, ... of the total. The model itself is its end."""
    return {total >> k for k in range(1, points + 1) if total >> k}


def learning_rate(settings: LM, step: int, total: int) -> float:
    """The rate of the next step after `step` steps of `total`: linear warm-up (at most half the run), then the decay of
    lm.schedule to min_lr_ratio.

    cosine reaches the minimum in the last step. linear and wsd would reach it one step later, so that no step is lost
    when the minimum is zero.
    """
    warmup = min(settings.warmup_steps, total // 2)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    low = settings.min_lr_ratio
    if settings.schedule == "cosine":
        left = 0.5 * (1 + math.cos(math.pi * (step - warmup + 1) / (total - warmup)))
    else:
        decay = total - warmup
        if settings.schedule == "wsd":
            decay = min(decay, max(1, round(settings.decay_fraction * total)))
        left = min(1.0, (total - step) / decay)
    return settings.lr * (low + (1 - low) * left)
