"""The kinds of language models that a rung can be trained with. Loads no torch.

A new architecture of transformers is one file in this package, and its import in the next line.
"""

from speechladder.lm.architectures import llama, qwen3  # noqa: F401 - each registers itself
