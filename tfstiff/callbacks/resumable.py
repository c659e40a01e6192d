"""Callbacks that another process can go on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np

from tfstiff.gradients.objective import check_kind


class Resumable(keras.callbacks.Callback):
    """A callback with a state of its own that matters to what it does later.

    Attributes:
        resumed: Names of the attributes that are its state; JSON holds their values.
    """

    resumed: ClassVar[tuple[str, ...]] = ()

    def set_model(self, model: keras.Model) -> None:
        """Takes the model, before anything else happens.

        Raises:
            UnsupportedModel: It is none of Keras 3.
        """
        check_kind(model)
        super().set_model(model)

    def state(self) -> dict[str, Any]:
        """The state after the batch that has ended, as JSON can hold it."""
        return {name: getattr(self, name) for name in self.resumed}

    def arrays(self) -> dict[str, np.ndarray]:
        """What of it are arrays, by name."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over the state that another process had, in place of `on_train_begin` and the first `on_epoch_begin`.

        Args:
            state: What `state` returned there, as JSON gives it back.
        """
        for name in self.resumed:
            setattr(self, name, state[name])

    def put_back(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` returned in another process, after `restore`."""
