"""Units to a waveform: the run's own vocoder, or the checkpoint of a HiFi-GAN unit vocoder."""
