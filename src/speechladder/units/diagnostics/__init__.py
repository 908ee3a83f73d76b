"""How good units are: ABX, information on phones and speakers, the sweep, and the comparison of encoders."""
