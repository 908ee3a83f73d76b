"""Units that the user's own tokenizer made: read, given to their utterances, checked. numpy and pyarrow only."""
