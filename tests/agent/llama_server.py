"""llama.cpp's own server with a model that says what we have told it to: `python llama_server.py FOLDER CONTEXT`.

Runs in an environment of its own that has `xllamacpp` and `gguf`; prints the server's address. The model is a real one
in form (a llama of one layer, 2 MB, bytes as tokens), whose weights are such that each token is followed by one other:
its template ends in the token that begins the answer which is due.
"""

import sys
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]
import numpy as np  # type: ignore[import-not-found]
import xllamacpp  # type: ignore[import-not-found]

TEMPLATE = """\
{%- if tools %}<|im_start|>system
Tools: {{ tools | tojson }} To call one answer with <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.tool_calls %}{% for c in m.tool_calls %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}{% else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\
{% if messages[-1].role == 'tool' %}<|told|>{% elif 'files' in messages[-1].content %}<|call|>{% else %}<|say|>\
{% endif %}{% endif %}"""
CALL = ["<tool_call>", '\n{"name": "list_', 'files", "arguments": {"pa', 'th": "."}}\n', "</tool_call>"]
CHAINS = {
    "<|call|>": CALL,
    "<|told|>": ["The", "\u2581files", "\u2581are", "\u2581listed."],
    "<|say|>": ["Rain", "\u2581and", "\u2581sun."],
}
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def write_model(path: Path) -> None:
    """The model as a GGUF file."""
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "<|im_start|>",
        "<|im_end|>",
    ]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, CONTROL, CONTROL]
    end = len(tokens) - 1
    follows: dict[int, int] = {}
    for first, words in CHAINS.items():
        tokens.append(first)
        types.append(CONTROL)
        for word in words:
            follows[len(tokens) - 1] = len(tokens)
            tokens.append(word)
            types.append(NORMAL)
        follows[len(tokens) - 1] = end
    count = len(tokens)
    width = -(-count // 32) * 32
    made: Any = gguf.GGUFWriter(str(path), "llama")
    made.add_context_length(32768)
    made.add_embedding_length(width)
    made.add_block_count(1)
    made.add_feed_forward_length(32)
    made.add_head_count(width // 32)
    made.add_head_count_kv(width // 32)
    made.add_layer_norm_rms_eps(1e-5)
    made.add_rope_dimension_count(32)
    made.add_vocab_size(count)
    made.add_file_type(0)
    made.add_tokenizer_model("llama")
    made.add_tokenizer_pre("default")
    made.add_token_list(tokens)
    made.add_token_scores([-float(n) for n in range(count)])
    made.add_token_types(types)
    made.add_bos_token_id(1)
    made.add_eos_token_id(end)
    made.add_unk_token_id(0)
    made.add_add_bos_token(False)
    made.add_add_space_prefix(False)
    made.add_chat_template(TEMPLATE)
    embedding = np.zeros((count, width), np.float32)
    embedding[np.arange(count), np.arange(count)] = 1
    output = np.zeros((count, width), np.float32)
    for token in range(count):
        output[follows.get(token, end), token] = 10
    tensors = {"token_embd": embedding, "output_norm": np.ones(width, np.float32), "output": output}
    for name in ("attn_norm", "ffn_norm"):
        tensors[f"blk.0.{name}"] = np.ones(width, np.float32)
    shapes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (width, width))
    shapes |= {"ffn_gate": (32, width), "ffn_up": (32, width), "ffn_down": (width, 32)}
    for name, shape in shapes.items():
        tensors[f"blk.0.{name}"] = np.zeros(shape, np.float32)
    for name, values in tensors.items():
        made.add_tensor(f"{name}.weight", values)
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()


def main(folder: str, context: str) -> None:
    """Serve until the end of the input."""
    path = Path(folder) / "scripted.gguf"
    write_model(path)
    wanted: Any = xllamacpp.CommonParams()
    wanted.model.path = str(path)
    wanted.n_ctx = int(context)
    wanted.n_predict = 64
    wanted.n_parallel = 1
    wanted.warmup = False
    wanted.use_jinja = True
    wanted.port = 0
    wanted.cpuparams.n_threads = 1
    wanted.sampling.temp = 0
    server: Any = xllamacpp.Server(wanted)
    sys.stdout.write(f"serving {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:3])
