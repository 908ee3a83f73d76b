"""The judge: a text language model that gives the likelihood of a continuation's transcript, given its prompt."""
