"""Tokenizers compared under a frozen contract: entries made from runs, and the page that is recomputed from them."""
