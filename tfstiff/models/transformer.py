"""A small text transformer that is trained from scratch, for token ids with 0 for padding. Logits out.

Pre-norm: Xiong et al. 2020, "On layer normalization in the transformer architecture", arXiv 2002.04745. Without
dropout, since the papers train without regularisation.
"""

from __future__ import annotations

from typing import Any

import keras

from tfstiff.errors import InvalidInput

POOLED = "pooled"  # the layer whose output is the representation of a text


@keras.saving.register_keras_serializable("tfstiff")
class Positions(keras.layers.Layer):
    """Adds a trained vector for each position of a sequence, (n, length, width); hands its mask on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the vectors, (length, width)."""
        self.positions = self.add_weight(shape=input_shape[1:], initializer="uniform", name="positions")

    def call(self, tokens: Any) -> Any:
        """The sum, (n, length, width)."""
        return tokens + self.positions


@keras.saving.register_keras_serializable("tfstiff")
class MaskedMean(keras.layers.Layer):
    """The mean over the positions that are not masked, (n, width); zero where all are.

    `GlobalAveragePooling1D` divides by zero there.
    """

    def call(self, tokens: Any, mask: Any = None) -> Any:
        """The mean of tokens (n, length, width); mask (n, length) is true where there is a token."""
        if mask is None:
            return keras.ops.mean(tokens, axis=1)
        kept = keras.ops.cast(mask, tokens.dtype)[:, :, None]
        return keras.ops.sum(tokens * kept, axis=1) / keras.ops.maximum(keras.ops.sum(kept, axis=1), 1)

    def compute_mask(self, tokens: Any, previous_mask: Any = None) -> None:
        """There are no positions any more."""


def transformer(
    input_shape: tuple[int, ...],
    num_classes: int,
    num_token_ids: int,
    *,
    width: int = 64,
    heads: int = 4,
    blocks: int = 2,
) -> keras.Model:
    """Embedding, positions, pre-norm blocks of attention and two dense layers, mean over the tokens, one dense layer.

    Args:
        input_shape: (length,) of the sequences of token ids; 0 is padding, wherever it stands.
        num_classes: Number of outputs.
        num_token_ids: Of the embedding.
        width: Of every token's representation.
        heads: Of the attention, which divide the width.
        blocks: How many.
    """
    if len(input_shape) != 1:
        raise InvalidInput(
            "A text transformer needs sequences of token ids.", expected="shape (length,)", received=input_shape
        )
    ids = keras.Input(input_shape, dtype="int32")
    x = Positions(name="positions")(keras.layers.Embedding(num_token_ids, width, mask_zero=True, name="tokens")(ids))
    for block in range(blocks):
        y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
        y = keras.layers.MultiHeadAttention(heads, width // heads, name=f"attention_{block}")(y, y)
        x = keras.layers.add([x, y])
        y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
        y = keras.layers.Dense(4 * width, activation="gelu")(y)
        x = keras.layers.add([x, keras.layers.Dense(width, name=f"block_{block}")(y)])
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    return keras.Model(ids, keras.layers.Dense(num_classes)(MaskedMean(name=POOLED)(x)), name="transformer")
