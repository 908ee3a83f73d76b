# What the rules of scaling.smk ask the settings: the points of the grid, and where their files lie.
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.settings import DIMENSIONS

SCALING = S.scaling
GRID = [
    (rung, size["name"], fraction) for rung in SCALING.rungs for size in SCALING.sizes for fraction in SCALING.fractions
]


def scaled_tokens(rung, fraction):
    """The token folder of a share of the training data; the whole is the run's own."""
    return f"results/tokens/{rung}" if float(fraction) == 1 else f"results/scaling/{rung}/tokens/{fraction}"


def scaled_models(rung, size, fraction):
    """The models of a point, all seeds; what the run trains anyway is taken from there."""
    own = float(fraction) == 1 and S.scaled_lm(size) == S.lm
    folder = f"results/lm/{rung}" if own else f"results/scaling/{rung}/{size}-{fraction}"
    return [f"{folder}/seed{seed}" for seed in SCALING.seeds]


def over_points(function):
    """What `function` gives for each rung, size and fraction, in their order."""

    def found(wildcards):
        if missing := [rung for rung in SCALING.rungs if rung not in S.rungs]:
            raise WorkflowError(
                f"scaling.rungs: {', '.join(missing)} is not among rungs; add it there, or leave it out here"
            )
        return of_all

    of_all = [path for point in GRID for path in function(*point)]
    return found


def scaled_init(wildcards):
    """As init_files; a warm start has one size."""
    lm = S.scaled_lm(wildcards.size)
    if S.lm.init and any(getattr(lm, name) != getattr(S.lm, name) for name in DIMENSIONS):
        raise WorkflowError(
            f"scaling.sizes: {wildcards.size} has other dimensions than lm.init; leave it out, or lm.init"
        )
    return init_files(wildcards)


def point_models(wildcards):
    """The models of the point that the wildcards name."""
    return scaled_models(wildcards.rung, wildcards.size, wildcards.fraction)


def point_scores(rung, size, fraction):
    """The scores of a point's models, a file of each task."""
    return [f"results/scaling/{rung}/{size}-{fraction}/scores/{task}.parquet" for task in TASKS]
