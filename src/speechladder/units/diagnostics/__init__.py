"""How good units are: ABX, phone and speaker information, and the sweep over them."""
