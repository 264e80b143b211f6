"""transformers' LLaMA with the weights of a TokenLM: what ours is compared with."""

from transformers import LlamaConfig, LlamaForCausalLM


def reference_llama(lm):
    """`LlamaForCausalLM` in eval mode that shares no memory with the TokenLM `lm`."""
    config = LlamaConfig(
        vocab_size=lm.vocab_size,
        hidden_size=lm.dim,
        intermediate_size=lm.llama.ffn,
        num_hidden_layers=len(lm.llama.layers),
        num_attention_heads=lm.llama.heads,
        num_key_value_heads=lm.llama.heads,
        max_position_embeddings=8192,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    llama = LlamaForCausalLM(config).eval()
    llama.model.load_state_dict(lm.llama.state_dict())
    llama.lm_head.load_state_dict(lm.head.state_dict())
    return llama
