"""Random HuBERT, WavLM and wav2vec 2.0 checkpoints of a few thousand parameters, of both kinds."""

from pathlib import Path

FAMILIES = ("Hubert", "WavLM", "Wav2Vec2")
KINDS = ("base", "large", "micro")  # group norm; layer norm and stable layer norm; group norm behind two convolutions


def save(
    folder: Path,
    kind: str,
    layers: int = 3,
    seed: int = 0,
    preprocessor: bool = True,
    family: str = "Hubert",
    width: int = 16,
):
    """Save one to `folder` and return the model."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    large = kind == "large"
    front = {"conv_dim": (16,) * 7}
    if kind == "micro":
        front = {"conv_dim": (16, 16), "conv_kernel": (240, 2), "conv_stride": (160, 2)}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{family}Model")(
            getattr(transformers, f"{family}Config")(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=2,
                intermediate_size=32,
                num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=4,
                feat_extract_norm="layer" if large else "group",
                do_stable_layer_norm=large,
                conv_bias=large,
                **front,
            )
        ).eval()
    model.save_pretrained(folder)
    if preprocessor:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=large).save_pretrained(folder)
    return model
