"""Networks by name: those of the papers, a text transformer, and the user's own. Imports Keras when one is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tfstiff.errors import InvalidInput, TfstiffError, unknown_name
from tfstiff.models.own import imported, is_path, told
from tfstiff.models.papers import Shape, cnn, cnn_v1, fc, fc_v1, resnet20

if TYPE_CHECKING:
    import keras

__all__ = ["MODELS", "OF_NUMBERS", "OF_TOKENS", "build", "check_name", "imported", "is_path"]


def _transformer(input_shape: Shape, num_classes: int, num_token_ids: int) -> keras.Model:
    from tfstiff.models.transformer import transformer

    return transformer(input_shape, num_classes, num_token_ids)


OF_NUMBERS: dict[str, Callable[..., keras.Model]] = {
    "fc": fc,
    "cnn": cnn,
    "fc-v1": fc_v1,
    "cnn-v1": cnn_v1,
    "resnet20": resnet20,
}
OF_TOKENS: dict[str, Callable[..., keras.Model]] = {"transformer": _transformer}
MODELS = OF_NUMBERS | OF_TOKENS


def check_name(arch: str) -> None:
    """Checks that a network is known by its name, or is named as a function of the user's own. Imports nothing.

    Raises:
        InvalidInput: It is not.
    """
    if arch not in MODELS and not is_path(arch):
        raise unknown_name("Unknown architecture.", arch, [*MODELS, "package.module:function"])


def build(
    arch: str,
    input_shape: Shape,
    num_classes: int,
    hidden: Sequence[int] | None = None,
    num_token_ids: int | None = None,
) -> keras.Model:
    """Builds a network by name, or by the import path of the user's own builder.

    Args:
        arch: A name in `MODELS`, or `package.module:function`. The function is called with `(input_shape, num_classes)`
            and, where inputs are token ids and it takes it, `num_token_ids=`; it returns a Keras model whose outputs
            are logits. Importing it runs its module's code.
        input_shape: Shape of one example.
        num_classes: Number of outputs.
        hidden: Widths of the hidden layers of `fc` and `fc-v1`.
        num_token_ids: How many token ids there are, 0 being padding; None where inputs are numbers.

    Raises:
        InvalidInput: The name is unknown, the import or the builder fails, the builder returns no Keras model, the
            network is not one for such inputs, or `hidden` does not apply.
    """
    import keras

    check_name(arch)
    builder = MODELS.get(arch) or imported(arch, "architecture")
    if hidden is not None and arch not in ("fc", "fc-v1"):
        raise InvalidInput(
            "Hidden widths apply to fully connected networks only.", expected="fc | fc-v1", received=arch
        )
    _check_inputs(arch, num_token_ids)
    more: dict[str, Any] = {} if hidden is None else {"hidden": hidden}
    if num_token_ids is not None and _takes(builder, "num_token_ids"):
        more["num_token_ids"] = num_token_ids
    try:
        model = builder(input_shape, num_classes, **more)
    except TfstiffError:
        raise
    except Exception as error:
        if arch in MODELS:
            raise
        raise InvalidInput(
            f"The architecture {arch} cannot be built: {told(error)}.",
            expected="a function (input_shape, num_classes) that returns a Keras model",
        ) from error
    if not isinstance(model, keras.Model):
        raise InvalidInput(
            f"The architecture {arch} did not build a Keras 3 model.", expected="keras.Model", received=type(model)
        )
    return model


def _check_inputs(arch: str, num_token_ids: int | None) -> None:
    if arch in OF_NUMBERS and num_token_ids is not None:
        raise InvalidInput(
            "The network takes numbers, and the examples are texts.",
            expected=", ".join(OF_TOKENS) + ", or package.module:function",
            received=arch,
            remedy="Use --arch transformer.",
        )
    if arch in OF_TOKENS and num_token_ids is None:
        raise InvalidInput(
            "The network takes texts or token ids, and the examples are numbers.",
            expected=", ".join(OF_NUMBERS) + ", or package.module:function",
            received=arch,
            remedy="Use --arch fc, or a data set of texts.",
        )


def _takes(builder: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(builder).parameters.values()
    return any(one.name == name or one.kind is one.VAR_KEYWORD for one in parameters)
