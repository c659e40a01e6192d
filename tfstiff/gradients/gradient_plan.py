"""One model's per-example gradients: traced and proved once, and used at every measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff._keras import quietly_traced
from tfstiff.gradients.directional import products_along, sums_by_weight
from tfstiff.gradients.gradient_factors import (
    GradientFactors,
    Layout,
    Outers,
    gradients_by_weight,
    inverse_scales,
    of_weights,
    squared_norms,
)
from tfstiff.gradients.memory import MemoryPlan, default_limit, nothing, plan_memory
from tfstiff.gradients.products import products
from tfstiff.gradients.proved_parts import ProvedParts
from tfstiff.gradients.reference import Reference
from tfstiff.gradients.rows import row_products
from tfstiff.gradients.scaled_products import Diagonals, scaled_products
from tfstiff.gradients.tiles import NO_DIAGONALS, Pairs, Side, TileSums, signature_of, traced_tile
from tfstiff.gradients.tracing import compiled

_IN_FACT = 1.5  # times what the graph says: kernels have copies of their own, and nodes run in another order


class GradientPlan(ProvedParts):
    """The per-example gradients of one model under one objective, and their products.

    Args:
        *arguments: As `ProvedParts` takes them.
        **options: As `ProvedParts` takes them.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.products, self.scaled_products, self._row_products = (
            quietly_traced(function, reduce_retracing=True) for function in (products, scaled_products, row_products)
        )
        self._tile_functions: dict[Any, Callable[..., TileSums]] = {}
        self._along: dict[Any, Callable[..., dict[int, tf.Tensor]]] = {}
        self._memory: dict[Any, MemoryPlan] = {}

    @compiled()
    def factors(self, x: Any, y: Any) -> GradientFactors:
        """The factors of the examples `x`, `y`."""
        first, *generic = [part.compute(x, y) for part in self.parts]
        if not generic and not isinstance(self.parts[0], Reference):
            return first
        blocks = [block for factors in (first, *generic) for block in factors.formed]
        if isinstance(self.parts[0], Reference):  # which does not scale
            largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(block), 1) for block in blocks]), 0)
            first = first._replace(scales=inverse_scales(largest), formed=())
        unscaled = blocks[len(first.formed) :]
        formed = first.formed + tuple(block * first.scales[:, None] for block in unscaled)
        return first._replace(formed=formed, squared_norms=squared_norms(formed, first.outers, first.losses))

    def gradients(self, x: Any, y: Any) -> tf.Tensor:
        """(n, P): the per-example gradients of `x`, `y`, formed, weights side by side in the model's order."""
        return tf.concat(gradients_by_weight(self.factors(x, y), self.layout), 1)

    @property
    def is_checked(self) -> bool:
        """Whether examples were put to the proof already, and the losses found right."""
        return self._are_losses_checked

    @property
    def is_proved(self) -> bool:
        """Whether every weight is proved, or its gradients are zero as they should be; and one at least is proved."""
        return self._are_losses_checked and self._unproved <= self._zero and len(self._zero) < len(self.weights)

    def by_layer(self, factors: GradientFactors) -> dict[str, GradientFactors]:
        """The factors of each layer's weights alone, by the layer's path."""
        return {layer: of_weights(factors, self.layout, weights) for layer, weights in self.layers.items()}

    def products_along(self, factors: GradientFactors, directions: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Products of the gradients with each of D directions, by the index of the weight: (n, D) float64.

        Args:
            factors: Of n examples.
            directions: For each weight, in order: (D, *its shape).
        """
        flat = [tf.constant(part.reshape(len(part), -1), factors.losses.dtype) for part in directions]
        given = (factors.formed, factors.outers, flat)
        specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype), given[:2])
        signature = (*specs, [tf.TensorSpec(part.shape, part.dtype) for part in flat])
        layout = self.layout
        key = (layout, tuple(tf.nest.flatten(signature)))
        if key not in self._along:

            def along(formed: Sequence[tf.Tensor], outers: Outers, flat: Sequence[tf.Tensor]) -> dict[int, tf.Tensor]:
                return products_along(formed, outers, flat, layout)

            self._along[key] = quietly_traced(along, input_signature=signature)
        scales = factors.scales.numpy().astype(np.float64)[:, None]
        return {weight: part.numpy() / scales for weight, part in self._along[key](*given).items()}

    def sums_by_weight(self, factors: GradientFactors) -> dict[int, tf.Tensor]:
        """The sum of the gradients, by the index of the weight: (its entries,). Absent where no loss depends on it."""
        return sums_by_weight(factors, self.layout)

    def fixed_products(self, outers: Outers, outers2: Outers) -> tuple[tf.Tensor, ...]:
        """For each outer whose rows depend on the examples alone, the products of the rows."""
        return tuple(
            self._row_products(rows, rows2)
            for is_fixed, (rows, _), (rows2, _) in zip(self.layout.fixed, outers, outers2, strict=True)
            if is_fixed
        )

    def reduce_tile(
        self,
        first: Side,
        second: Side,
        known: tuple[tf.Tensor, ...],
        compared: tuple[Pairs, ...],
        diagonals: Diagonals = NO_DIAGONALS,
        **choices: Any,
    ) -> TileSums:
        """The sums over a tile; see `tiles.reduce_tile`. It is traced once for all plans whose factors are alike."""
        # A signature takes half a millisecond to make; this tells as much of factors of one layout.
        sizes = [(tensor.dtype, *tensor.shape[1:]) for tensor in tf.nest.flatten((first, second, known, compared))]
        sizes += [tensor.shape for tensor in tf.nest.flatten(diagonals)]
        chosen = tuple(choices.items())
        key = len(first.formed), len(known), len(compared), tuple(sizes), chosen
        if key not in self._tile_functions:
            specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), diagonals)
            signature = (*signature_of(first, second, known, compared), specs)
            self._tile_functions[key] = traced_tile(signature, chosen)
        return self._tile_functions[key](first, second, known, compared, diagonals)

    @property
    def layers(self) -> dict[str, list[int]]:
        """The indices of each layer's weights, by the layer's path."""
        layers: dict[str, list[int]] = {}
        for index in range(len(self.weights)):
            layers.setdefault(self._path(index).rpartition("/")[0], []).append(index)
        return layers

    def bytes_per_example(self) -> tuple[int, int]:
        """Bytes that the factors of one example take, and about those that computing them takes."""
        sizes = [part.bytes_per_example for part in self.parts]
        return sum(size for size, _ in sizes), sum(size for _, size in sizes)

    def memory_for(
        self, num_examples: int, limit: int | None = None, beside: Callable[[int], int] = nothing
    ) -> MemoryPlan:
        """How the factors of `num_examples` are held within `limit` bytes; the same at every measurement.

        Args:
            num_examples: n.
            limit: Bytes; None means half of what is free.
            beside: As `plan_memory` takes it; equal where it counts the same.

        Raises:
            InvalidInput: Not even one example at a time fits.
        """
        key = (num_examples, limit, beside)
        if key not in self._memory:  # what is free now counts, not what measuring left
            held, working = self.bytes_per_example()
            self._memory[key] = plan_memory(num_examples, held, int(_IN_FACT * working), limit, beside)
        return self._memory[key]

    def most_together(self, num_held: int = 0) -> int:
        """Examples whose factors can be computed together in what memory is free; at least one.

        Args:
            num_held: Examples whose factors are held meanwhile, where there is room for them.
        """
        held, working = self.bytes_per_example()
        free = self._free - num_held * held
        return max(1, (free if free > 0 else self._free) // max(1, 2 * held + working))

    @cached_property
    def _free(self) -> int:
        return default_limit()  # what is free at first counts, so that chunks are always the same

    @property
    def layout(self) -> Layout:
        return Layout(
            tuple(weights for part in self.parts for weights in part.layout.formed),
            tuple(weights for part in self.parts for weights in part.layout.outers),
            tuple(fixed for part in self.parts for fixed in part.layout.fixed),
            self.parts[0].layout.sizes,
        )
