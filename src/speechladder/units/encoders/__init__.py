"""Encoders: speech to features at 50 Hz. base.py says what an encoder is, factory.py which one a setting opens,
compute.py what HuBERTs compute."""
