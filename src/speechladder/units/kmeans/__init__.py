"""k-means over frames that need not fit in memory: faiss on CPU or GPU, or plain Lloyd in torch on any device."""

from speechladder.units.kmeans.fit import Plan, Trained, fit

__all__ = ["Plan", "Trained", "fit"]
