"""Language models that others trained, on the items of a run: their vocabularies, and their scores."""
