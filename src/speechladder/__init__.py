"""speechladder: why do speech language models trail text ones?

One package per stage, in the order that data flows; each imports only from those before it and from
`settings` and `io`: corpora, alignment, units, rungs, lm, benchmarks, analysis, report.
"""

__version__ = "0.2.0"
