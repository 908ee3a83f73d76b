"""Where one machine is not enough: jobs of a run on a cluster, and a training over several GPUs or nodes."""
