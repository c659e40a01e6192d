"""Texts as token ids: a vocabulary of the training texts' most frequent words, and a fixed length.

The words are those of Keras' `TextVectorization`: lower case, without punctuation, divided at white space. Id 0 is
padding, 1 every word that the vocabulary lacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.errors import InvalidInput

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SEQUENCE_LENGTH = 200
VOCABULARY_SIZE = 20_000
_SPECIAL = 2  # padding and unknown
_AT_ONCE = 1024  # texts


@dataclass(frozen=True)
class TextEncoding:
    """How texts become token ids. Make one with `TextEncoding.fit`.

    Attributes:
        words: By token id: "" is padding, "[UNK]" every word that is not there.
        sequence_length: Token ids of a text: longer texts are cut, shorter ones filled up with 0.
    """

    words: tuple[str, ...]
    sequence_length: int

    @classmethod
    def fit(
        cls, texts: np.ndarray, vocabulary_size: int = VOCABULARY_SIZE, sequence_length: int = SEQUENCE_LENGTH
    ) -> TextEncoding:
        """Counts the words of the training texts.

        Args:
            texts: (n,), or (n, t) for t texts an example.
            vocabulary_size: The most token ids that there are to be.
            sequence_length: The most token ids of a text; no more than the longest has.

        Raises:
            InvalidInput: The texts hold no word.
        """
        layer = _layer(max_tokens=vocabulary_size)
        layer.adapt(_batches(texts))
        words = tuple(map(str, layer.get_vocabulary()))
        if len(words) <= _SPECIAL:
            raise InvalidInput("The training texts hold no words.", received=texts.ravel()[:3].tolist())
        uncut = cls(words, sequence_length)
        return cls(words, int((uncut.apply(texts.reshape(-1, 1)) != 0).sum(-1).max()))

    @cached_property
    def layer(self) -> keras.layers.TextVectorization:
        """Keras' layer that does it."""
        return _layer(vocabulary=list(self.words[_SPECIAL:]), output_sequence_length=self.sequence_length)

    def apply(self, texts: np.ndarray) -> np.ndarray:
        """Returns the token ids, (n, length) int32: of t texts an example one after the other, (n, t · length)."""
        texts = np.asarray(texts, dtype=object)
        ids = np.concatenate([np.zeros((0, self.sequence_length), np.int32), *self._encoded(texts.ravel())])
        return ids.reshape(len(texts), -1)

    def summary(self) -> dict[str, Any]:
        """Returns a JSON-able description."""
        return {
            "inputs": "token ids",
            "num_token_ids": len(self.words),
            "sequence_length": self.sequence_length,
            "sha256": self.sha256(),
        }

    def in_words(self) -> str:
        """What is done, in a sentence."""
        return f"Texts: {self.sequence_length} token ids each, of a vocabulary of {len(self.words):,}."

    def sha256(self) -> str:
        """Digest of words and length."""
        return hashlib.sha256(json.dumps([self.sequence_length, *self.words]).encode()).hexdigest()

    def as_config(self) -> dict[str, Any]:
        """Returns what `from_config` takes, JSON-able."""
        return {"sequence_length": self.sequence_length, "words": list(self.words)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TextEncoding:
        """The encoding of which `as_config` gave the description.

        Raises:
            InvalidInput: It is none.
        """
        words, length = config.get("words"), config.get("sequence_length")
        known = [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
        if not known or words != list(dict.fromkeys(known)) or type(length) is not int or length < 1:
            raise InvalidInput("It does not hold a vocabulary.", expected="words, each once, and a sequence_length")
        return cls(tuple(known), length)

    def _encoded(self, texts: np.ndarray) -> Iterator[np.ndarray]:
        for batch in _batches(texts):
            yield self.layer(batch).numpy().astype(np.int32)


@dataclass(frozen=True)
class TokenIds:
    """Inputs that are token ids already.

    Attributes:
        count: How many there are.
    """

    count: int

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Returns the token ids, int32."""
        return x.astype(np.int32)

    def summary(self) -> dict[str, Any]:
        """Returns a JSON-able description."""
        return {"inputs": "token ids", "num_token_ids": self.count}

    def in_words(self) -> str:
        """What is done, in a sentence."""
        return f"Inputs: token ids as they are, {self.count:,} different ones."


def num_ids(arrays: Sequence[np.ndarray], words: Sequence[str] = ()) -> int:
    """How many token ids there are.

    Args:
        arrays: The token ids of all splits.
        words: By token id; empty where they are not known.

    Raises:
        InvalidInput: The arrays hold something else.
    """
    if any(array.dtype.kind not in "iu" or array.ndim != 2 for array in arrays):
        raise InvalidInput(
            "The examples are no sequences of token ids.",
            expected="whole numbers (n, length), 0 for padding",
            received=[f"{array.dtype}{array.shape}" for array in arrays],
        )
    low, high = min(int(array.min()) for array in arrays), max(int(array.max()) for array in arrays)
    if low < 0 or (words and high >= len(words)):
        raise InvalidInput(
            "Token ids are out of range.",
            expected=f"0 to {len(words) - 1}" if words else "0 and above",
            received=(low, high),
        )
    return len(words) or high + 1


def _batches(texts: np.ndarray) -> tf.data.Dataset:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(tf.constant(texts.ravel().tolist(), tf.string)).batch(_AT_ONCE)


def _layer(**options: Any) -> keras.layers.TextVectorization:
    from tfstiff._quiet import import_tensorflow

    import_tensorflow()
    import keras

    return keras.layers.TextVectorization(**options)
