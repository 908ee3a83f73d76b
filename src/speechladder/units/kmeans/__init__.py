"""k-means over frames that need not fit in memory: faiss on a CPU or GPU, or plain Lloyd in torch on any device."""
