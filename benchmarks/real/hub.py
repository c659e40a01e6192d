"""Models of KerasHub, small and with random weights; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub
import numpy as np

from real.case import CLASSES, Case, labels, random_like

VOCABULARY, LENGTH = 50, 12
_TEXT = {"vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
_HEADS = _TEXT | {"num_heads": 2}
_GROUPED = _TEXT | {"num_query_heads": 4, "num_key_value_heads": 2}
_EXPERTS = _GROUPED | {"num_experts": 4, "top_k": 2}
_SHORT = {"max_sequence_length": 32}
_SEEN = {"image_shape": (32, 32, 3)}
_VIT = _SEEN | {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}

# Backbones, by family and name; a pooling and a Dense follow.
ENCODERS: dict[str, dict[str, dict[str, Any]]] = {
    "text encoder": {
        "AlbertBackbone": _HEADS | _SHORT | {"embedding_dim": 8},
        "BertBackbone": _HEADS | _SHORT,
        "DebertaV3Backbone": _HEADS | _SHORT | {"bucket_size": 8},
        "DistilBertBackbone": _HEADS | _SHORT,
        "ESMBackbone": _HEADS | _SHORT,
        "FNetBackbone": _TEXT | _SHORT,
        "RobertaBackbone": _HEADS | _SHORT,
        "RoformerV2Backbone": _HEADS | {"head_size": 8},
        "XLMRobertaBackbone": _HEADS | _SHORT,
        "XLNetBackbone": _HEADS,
    },
    "text decoder": {
        "BloomBackbone": _HEADS,
        "FalconBackbone": _TEXT | {"num_attention_heads": 2},
        "GPT2Backbone": _HEADS | _SHORT,
        "GPTNeoXBackbone": _HEADS | _SHORT,
        "GemmaBackbone": _GROUPED | {"head_dim": 4},
        "LlamaBackbone": _GROUPED,
        "MistralBackbone": _GROUPED,
        "OPTBackbone": _HEADS | _SHORT,
        "Phi3Backbone": _GROUPED,
        "QwenBackbone": _GROUPED,
    },
    "mixture of experts": {
        "GptOssBackbone": _EXPERTS,
        "MixtralBackbone": _EXPERTS,
        "Qwen3MoeBackbone": _EXPERTS | {"moe_intermediate_dim": 12, "head_dim": 4},
        "QwenMoeBackbone": _EXPERTS | {"moe_intermediate_dim": 12, "shared_expert_intermediate_dim": 8},
    },
    "sequence to sequence": {
        "BartBackbone": _HEADS | _SHORT,
        "T5Backbone": _HEADS,
    },
    "vision transformer": {
        "DINOV2Backbone": _VIT | {"patch_size": 8, "intermediate_dim": 24, "position_embedding_shape": (32, 32, 3)},
        "DINOV3Backbone": _VIT | {"patch_size": 8, "intermediate_dim": 24},
        "DeiTBackbone": _VIT | {"patch_size": 8, "intermediate_dim": 24},
        "MiTBackbone": _SEEN | {
            "layerwise_depths": [1, 1], "num_layers": 2, "layerwise_num_heads": [1, 2],
            "layerwise_sr_ratios": [2, 1], "max_drop_path_rate": 0.1, "layerwise_patch_sizes": [7, 3],
            "layerwise_strides": [4, 2], "hidden_dims": [8, 16],
        },
        "SwinTransformerBackbone": _SEEN | {
            "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4, "patch_size": 4,
        },
        "ViTBackbone": _VIT | {"patch_size": 8, "mlp_dim": 24},
        "ViTDetBackbone": {
            "hidden_size": 16, "num_layers": 2, "intermediate_dim": 24, "num_heads": 2,
            "global_attention_layer_indices": [1], "image_shape": (32, 32, 3), "patch_size": 4, "window_size": 4,
            "num_output_channels": 8,
        },
    },
    "vision convolution": {
        "CSPNetBackbone": _SEEN | {
            "stem_filters": 8, "stem_kernel_size": 3, "stem_strides": 2, "stackwise_depth": [1, 1],
            "stackwise_strides": [1, 2], "stackwise_num_filters": [8, 16], "block_type": "dark_block",
            "stage_type": "dark",
        },
        "DenseNetBackbone": _SEEN | {"stackwise_num_repeats": [2, 2], "growth_rate": 8},
        "ResNetBackbone": _SEEN | {
            "input_conv_filters": [8], "input_conv_kernel_sizes": [3], "stackwise_num_filters": [64, 64],
            "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2], "block_type": "bottleneck_block",
        },
        "VGGBackbone": _SEEN | {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 16]},
        "XceptionBackbone": _SEEN | {
            "stackwise_conv_filters": [[8, 16], [16, 16]], "stackwise_pooling": [True, False],
        },
    },
}  # fmt: skip


def cases() -> dict[str, Case]:
    """By name of the model."""
    found = {
        name: Case(f"KerasHub {family}", lambda name=name, options=options: _encoder(name, options))
        for family, backbones in ENCODERS.items()
        for name, options in backbones.items()
    }
    found["BertTextClassifier, LoRA"] = Case("KerasHub LoRA", _lora)
    for name, backbone in (("GPT2CausalLM", "GPT2Backbone"), ("LlamaCausalLM", "LlamaBackbone")):
        found[name] = Case("KerasHub causal language model", lambda n=name, b=backbone: _task(n, b))
    for name, backbone in (("BertMaskedLM", "BertBackbone"), ("AlbertMaskedLM", "AlbertBackbone")):
        found[name] = Case("KerasHub masked language model", lambda n=name, b=backbone: _task(n, b))
    found["BartSeq2SeqLM"] = Case("KerasHub sequence to sequence", lambda: _task("BartSeq2SeqLM", "BartBackbone"))
    return found


def _options(backbone: str) -> dict[str, Any]:
    return next(options[backbone] for options in ENCODERS.values() if backbone in options)


def _backbone(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return getattr(keras_hub.models, name)(**_options(name))


def _examples(model: keras.Model, random: np.random.Generator) -> Any:
    if isinstance(model.input, dict):
        return {name: random_like(t, name, random, VOCABULARY, LENGTH) for name, t in model.input.items()}
    return random_like(model.input, "", random, VOCABULARY, LENGTH)


def _encoder(name: str, options: dict[str, Any]) -> tuple[keras.Model, Any, np.ndarray]:
    backbone = _backbone(name)
    output = backbone.output
    if isinstance(output, dict):
        names = ("sequence_output", "decoder_sequence_output", "pooled_output")
        output = next((output[key] for key in names if key in output), next(reversed(output.values())))
    while len(output.shape) > 2:
        output = keras.ops.mean(output, 1)
    model = keras.Model(backbone.input, keras.layers.Dense(CLASSES)(output))
    random = np.random.default_rng(0)
    return model, _examples(model, random), labels(random, (), CLASSES)


def _task(name: str, backbone: str) -> tuple[keras.Model, Any, np.ndarray]:
    model = getattr(keras_hub.models, name)(_backbone(backbone), preprocessor=None)
    random = np.random.default_rng(0)
    return model, _examples(model, random), labels(random, (LENGTH,), VOCABULARY)


def _lora() -> tuple[keras.Model, Any, np.ndarray]:
    backbone = _backbone("BertBackbone")
    backbone.enable_lora(4)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=CLASSES, preprocessor=None)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:  # one of the two factors begins at zero
        if not np.any(weight.numpy()):
            weight.assign(random.normal(size=weight.shape, scale=0.1))
    return model, _examples(model, random), labels(random, (), CLASSES)
