"""Vocoders from units to a waveform: the run's own, and checkpoints of HiFi-GAN unit vocoders."""
