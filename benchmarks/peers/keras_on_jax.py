"""JAX: `jit(vmap(grad))` of the very same Keras model, which its process runs on the JAX backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import workloads


def gradient_rows(
    name: str, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[Callable[[int, int], jax.Array], str]:
    model, _, _ = workloads.build(name, 1)
    values = [jnp.asarray(weight) for weight in weights]
    others = [variable.value for variable in model.non_trainable_variables]
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    inputs, labels = jnp.asarray(x), jnp.asarray(y)

    def loss(values: list[jax.Array], example: jax.Array, label: jax.Array) -> Any:
        logits, _ = model.stateless_call(values, others, example[None], training=False)
        return cross_entropy(label[None], logits)

    @jax.jit
    def gradients(values: list[jax.Array], inputs: jax.Array, labels: jax.Array) -> jax.Array:
        found = jax.vmap(jax.grad(loss), (None, 0, 0))(values, inputs, labels)
        return jnp.concatenate([gradient.reshape(len(inputs), -1) for gradient in found], 1)

    return lambda start, stop: gradients(values, inputs[start:stop], labels[start:stop]), "jit(vmap(grad)) of Keras"
