"""The judge: how likely is what a rung said, given its prompt, to a text language model that heard none of it?"""

from speechladder.continuation.judge.check import check

__all__ = ["check"]
