"""The list of tasks. A new task is one file beside this one, its name in the list below, and its settings."""

from speechladder.benchmarks.tasks import sblimp, swuggy, topic
from speechladder.benchmarks.tasks.task import Task
from speechladder.io.errors import UserError, suggestion

TASKS: dict[str, Task] = {}  # in the order of the columns of the tables and of the panels of the figures


def register(task: Task) -> Task:
    """Add a task; raise ValueError if its name is taken."""
    if task.name in TASKS:
        raise ValueError(f"the task {task.name!r} is registered already")
    TASKS[task.name] = task
    return task


def get_task(name: str) -> Task:
    """The task of that name; raise UserError with the nearest spelling if there is none."""
    if name not in TASKS:
        raise UserError(f"no task {name!r}; {suggestion(name, TASKS)}known: {', '.join(TASKS)}")
    return TASKS[name]


for module in (swuggy, sblimp, topic):
    register(module.TASK)
