"""Models of tens of millions of weights: the Gram matrix of all gradients, exact, against forward+backward.

    python benchmarks/large_models.py                                # all, each in a process of its own
    python benchmarks/large_models.py --case "GPT-2-small" --sequences 64 --tokens 128 --explain
    python benchmarks/large_models.py --case "ResNet-50" --sequences 200 --pixels 224

GPT-2-small is KerasHub's backbone with its output tied to the token embedding (124 million weights), BERT-base its
encoder with a classifier of its pooled output, with all weights or with those of LoRA; all with random weights. Storing
the gradients of 64 sequences would take 32 GB. Of ResNet-50 (keras.applications) a whole measurement is made, half of
the images for training and half for validation. Processor seconds; memory is what a call takes above what the process
held before, and the most that the process held.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import tfstiff
from tfstiff.bench.throughput import forward_backward
from tfstiff.bench.timing import BenchmarkFailed, in_new_process, peak_memory, processor_seconds
from tfstiff.gradients import explain

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
_SIZE = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append", help="all where none is given")
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--pixels", type=int, default=224, help="of an image's side")
    parser.add_argument("--seconds", type=int, default=3600, help="after which a case is given up")
    parser.add_argument("--explain", action="store_true", help="also what the gradients of each weight cost")
    chosen = parser.parse_args()
    print(
        "| model | size | weights, millions | first, s | later, s | forward+backward, s | × | GB | its GB | process |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for case in chosen.case or CASES:
        arguments = (case, chosen.sequences, chosen.pixels if case in MEASURED else chosen.tokens)
        try:
            found = in_new_process(measured, *arguments, seconds=chosen.seconds)
        except BenchmarkFailed as reason:
            print(f"| {case} | {chosen.sequences} × {arguments[2]} | {str(reason).splitlines()[0]} |", flush=True)
            continue
        memory, plain_memory = (found[name] / 1e9 for name in ("memory", "plain_memory"))
        print(
            f"| {case} | {chosen.sequences} × {arguments[2]} | {found['weights'] / 1e6:.1f} | {found['first']:.1f} | "
            f"{found['later']:.1f} | {found['plain']:.1f} | {found['later'] / found['plain']:.2f} | {memory:.1f} | "
            f"{plain_memory:.1f} | {found['peak'] / 1e9:.1f} |",
            flush=True,
        )
        if chosen.explain:
            print(f"\n{found['explained']}\n")


def gpt2(sequences: int, tokens: int) -> tuple[keras.Model, Any, np.ndarray]:
    """(model, inputs, next tokens), the output tied to the token embedding."""
    import keras_hub

    vocabulary = 50257
    backbone = keras_hub.models.GPT2Backbone(vocabulary, **_SIZE, max_sequence_length=1024)
    model = keras.Model(backbone.input, backbone.token_embedding(backbone.output, reverse=True))
    ids = np.random.default_rng(0).integers(0, vocabulary, (sequences, tokens + 1)).astype("int32")
    return model, {"token_ids": ids[:, :-1], "padding_mask": np.ones((sequences, tokens), "int32")}, ids[:, 1:]


def bert(sequences: int, tokens: int, lora: bool) -> tuple[keras.Model, Any, np.ndarray]:
    """(model, inputs, labels)."""
    import keras_hub

    backbone = keras_hub.models.BertBackbone(30522, **_SIZE, max_sequence_length=512)
    if lora:
        backbone.enable_lora(4)
    model = keras.Model(backbone.input, keras.layers.Dense(2)(backbone.output["pooled_output"]))
    random = np.random.default_rng(0)
    ids = random.integers(1, 30522, (sequences, tokens)).astype("int32")
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    return model, inputs, random.integers(0, 2, sequences)


def resnet50(images: int, pixels: int) -> tuple[keras.Model, Any, np.ndarray]:
    """(model, inputs, labels)."""
    shape = (pixels, pixels, 3)
    model = keras.applications.ResNet50(weights=None, input_shape=shape, classifier_activation=None)
    random = np.random.default_rng(0)
    return model, random.normal(size=(images, *shape)).astype(np.float32), random.integers(0, 1000, images)


CASES: dict[str, Callable[[int, int], tuple[keras.Model, Any, np.ndarray]]] = {
    "BERT-base, LoRA": lambda sequences, tokens: bert(sequences, tokens, lora=True),
    "BERT-base": lambda sequences, tokens: bert(sequences, tokens, lora=False),
    "GPT-2-small": gpt2,
    "ResNet-50": resnet50,
}
MEASURED = ("ResNet-50",)


def measured(case: str, sequences: int, tokens: int) -> dict[str, Any]:
    """Processor seconds of a first and a later call and of forward+backward, and bytes at the peak of both."""
    model, x, y = CASES[case](sequences, tokens)
    model.compile("sgd", LOSS)

    def gram() -> None:
        if case not in MEASURED:
            tfstiff.gradient_gram(model, x, y)
            return
        half = len(y) // 2
        tfstiff.measure(model, tfstiff.Probe.from_arrays((x[:half], y[:half]), (x[half:], y[half:]), size=None))

    plain = forward_backward(model, x, y)
    plain()
    found: dict[str, Any] = {"weights": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)}
    found["plain_memory"] = peak_memory(plain) or np.nan
    found["plain"] = processor_seconds(plain)
    found["first"] = processor_seconds(gram)
    found["memory"] = peak_memory(gram) or np.nan
    found["later"] = processor_seconds(gram)
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found["explained"] = "\n".join(map(str, explain(model, x, y)))
    return found


if __name__ == "__main__":
    main()
