"""Save a HuBERT of transformers as a file for s3prl's own HuBERT, a copy of fairseq's (hubert_local:FILE.pt)."""

from pathlib import Path
from typing import Any

NAMES = (  # transformers -> fairseq; the first that fits
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original0", "encoder.pos_conv.0.weight_g"),
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original1", "encoder.pos_conv.0.weight_v"),
    ("encoder.pos_conv_embed.conv.bias", "encoder.pos_conv.0.bias"),
    ("feature_projection.projection.", "post_extract_proj."),
    ("feature_projection.layer_norm.", "layer_norm."),
    ("masked_spec_embed", "mask_emb"),
)
PARTS = (  # of a layer
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
)


def _name(name: str, layer_norms: bool) -> str:
    for ours, theirs in NAMES:
        if name.startswith(ours):
            return theirs + name[len(ours) :]
    if name.startswith("feature_extractor.conv_layers."):
        # Sequential(convolution, dropout, norm): a layer norm stands between two transpositions
        name = name.replace(".conv.", ".0.")
        return name.replace(".layer_norm.", ".2.1." if layer_norms else ".2.")
    if ".layers." in name:
        name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        for ours, theirs in PARTS:
            name = name.replace(ours, theirs)
        return name.replace(".final_self_attn_layer_norm.", ".final_layer_norm.")
    return name


def save(model: Any, file: Path, normalise: bool) -> None:
    """Write the weights of a transformers HubertModel to `file`."""
    import torch

    config = model.config
    large = config.feat_extract_norm == "layer"
    weights = {_name(name, large): value for name, value in model.state_dict().items()}
    weights["label_embs_concat"] = torch.zeros(4, config.hidden_size)
    weights["final_proj.weight"] = torch.zeros(config.hidden_size, config.hidden_size)
    weights["final_proj.bias"] = torch.zeros(config.hidden_size)
    layers = [*zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)]
    about = {
        "label_rate": 50.0,
        "extractor_mode": "layer_norm" if large else "default",
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "conv_feature_layers": repr(layers),
        "conv_bias": config.conv_bias,
        "conv_pos": config.num_conv_pos_embeddings,
        "conv_pos_groups": config.num_conv_pos_embedding_groups,
        "layer_norm_first": config.do_stable_layer_norm,
        "final_dim": config.hidden_size,
        "untie_final_proj": False,
    }
    task = {"data": "", "sample_rate": 16_000, "normalize": normalise}
    torch.save(
        {"task_cfg": task, "model_cfg": about, "model_weight": weights, "dictionaries_symbols": [list("abcd")]}, file
    )
