"""The tokenizer inside a GGUF file, as a `tokenizers.Tokenizer` that saves to tokenizer.json.

Promises: for the byte-level vocabularies of today's small models (Qwen 2 and 3, SmolLM, Llama 3 and
what shares their way of splitting text) the token ids of the published tokenizer, with control tokens
whole, and `decode(encode(text)) == text` for every text. Needs neither torch nor transformers.
transformers' own reading of a GGUF needs both, takes thirteen seconds, and splits SmolLM's whitespace
differently from the published tokenizer.

Does not cover: Unicode normalisation (Qwen's published tokenizer composes accents first; here text is
kept as it is); sentencepiece vocabularies (Llama 2, Gemma), which go through transformers.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from llm_twin.errors import InputError, MissingPart
from llm_twin.gguf_file import GgufFile

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_SPLITS = {"qwen2": _QWEN2, "deepseek-r1-qwen": _QWEN2, "llama-bpe": _LLAMA3, "llama3": _LLAMA3}
"""How text is split before merging, by `tokenizer.ggml.pre` (names: llama.cpp's llama-vocab.cpp)."""
_GPT2 = {"gpt-2", "default", "phi-2", "olmo"}
_SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell"}

_CONTROL, _USER_DEFINED = 3, 4
_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "</s>")


def save_tokenizer(model: GgufFile, folder: Path, file_name: str) -> None:
    """Write tokenizer.json and tokenizer_config.json to `folder`, which holds the model as `file_name`.

    Raises InputError for a vocabulary that can't be rebuilt, MissingPart where that takes transformers.
    """
    kind = model.require("tokenizer.ggml.model")
    if kind != "gpt2":
        return _save_through_transformers(model, folder, file_name)
    build(model).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(_config(model))


def build(model: GgufFile) -> Tokenizer:
    """The byte-level BPE tokenizer that the metadata describes. InputError when it describes another."""
    tokens, merges = model.require("tokenizer.ggml.tokens"), model.require("tokenizer.ggml.merges")
    split = model.metadata.get("tokenizer.ggml.pre", "default")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    try:
        # Llama 3 takes a piece that is itself in the vocabulary whole, whatever the merges say.
        bpe = models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=_SPLITS.get(split) == _LLAMA3)
    except Exception as error:  # the library raises bare Exception here
        raise InputError(f"{model.path}: its tokenizer does not fit together: {error}") from error
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = _pre_tokenizer(model.path, split)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_added(model, tokens, _CONTROL, special=True))
    tokenizer.add_tokens(_added(model, tokens, _USER_DEFINED, special=False))
    if model.metadata.get("tokenizer.ggml.add_bos_token"):
        start = model.require("tokenizer.ggml.bos_token_id")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[start]} $A", special_tokens=[(tokens[start], start)]
        )
    return tokenizer


def end_token_ids(model: GgufFile) -> tuple[int, ...]:
    """Tokens that end an answer: the one the file names first, then others known to do so."""
    tokens = model.require("tokenizer.ggml.tokens")
    types = model.metadata.get("tokenizer.ggml.token_type", [])
    control = {tokens[number]: number for number, kind in enumerate(types) if kind == _CONTROL}
    named = [model.metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    found = [number for number in named if number is not None]
    return tuple(dict.fromkeys(found + [control[end] for end in _ENDS if end in control]))


def _pre_tokenizer(path: Path, split: str) -> Any:
    if split in _SPLITS:
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_SPLITS[split]), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if split in _GPT2:
        return gpt2
    if split in _SINGLE_DIGITS:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    raise InputError(
        f"{path} splits text as {split}, which is not known here",
        "Pull the model's safetensors from the Hub (owner/repository) instead: they bring their tokenizer.",
    )


def _added(model: GgufFile, tokens: list[str], kind: int, special: bool) -> list[AddedToken]:
    types = model.metadata.get("tokenizer.ggml.token_type", [])
    return [
        AddedToken(token, normalized=False, special=special)
        for token, its_kind in zip(tokens, types, strict=False)
        if its_kind == kind
    ]


def _config(model: GgufFile) -> str:
    tokens = model.require("tokenizer.ggml.tokens")
    named = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    numbers = {name: model.metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in named.items()}
    config = {f"{name}_token": tokens[n] for name, n in numbers.items() if n is not None}
    config |= {
        # The general class: it takes tokenizer.json as it stands, where a model's own may rebuild it.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.require("{arch}.context_length"),
        "clean_up_tokenization_spaces": False,
    }
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def _save_through_transformers(model: GgufFile, folder: Path, file_name: str) -> None:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingPart(
            f"reading the tokenizer of {model.path} takes transformers", "Install llm-twin[train]."
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=file_name)
    except (ImportError, ValueError, KeyError) as error:
        raise InputError(f"the tokenizer of {model.path} cannot be read: {error}") from error
    tokenizer.save_pretrained(str(folder))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
