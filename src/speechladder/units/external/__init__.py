"""External units, made by the user's own tokenizer: read, matched to utterances, checked. numpy and pyarrow only."""
