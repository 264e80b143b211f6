"""Sizes of networks that train in a second, and of the transformer that stands for WavLM."""

DISC = {"n_layers": 1, "lstm_hidden_units": 8, "emb_dim": 8}
GEN = {
    "lm_layers": 1,
    "lm_dim": 16,
    "lm_heads": 2,
    "lm_ffn": 16,
    "channels": 8,
    "blocks": 1,
    "hidden": 8,
    "heads": 2,
}
FUSION = {"channels": 8, "n_blocks": 1, "hidden": 8, "n_head": 2, "n_memory": 2}
SPEECH_TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
"""Of a Hugging Face WavLM or HuBERT: 50 frames a second like the published ones."""
