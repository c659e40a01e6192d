"""What was run, in sentences made of what a run's settings and provenance say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfstiff.analysis.source import Source
from tfstiff.records.words import PAIR_SET_NAMES, joined, setting_in_words

_SPLITS = {"train": "training"}


def model_in_words(source: Source) -> list[str]:
    """Sentences on data, model, training and probe; what is not known is not mentioned."""
    return [
        sentence
        for make in (_data, _training, _probe, _measuring)
        for sentence in make(source.spec, source.meta, source)
    ]


def _data(spec: Any, meta: Any, source: Source) -> Iterator[str]:
    described = meta.get("dataset")
    described = described if isinstance(described, dict) else {}
    name = spec.get("dataset") or described.get("name")
    if name is None:
        return
    text = f"Data: {name}"
    if described.get("version"):
        text += f", version {described['version']}"
    splits = described.get("splits")
    if isinstance(splits, dict):
        sizes = [
            f"{setting_in_words(split.get('examples'))} {_SPLITS.get(title, title)} examples"
            for title, split in splits.items()
        ]
        text += f"; {joined(sizes)}"
    if source.measurements and source.measurements[-1].class_names:
        text += f"; {len(source.measurements[-1].class_names)} classes"
    if spec.get("train_examples") is not None:
        text += f"; trained on {setting_in_words(spec['train_examples'])} of them"
    yield text + "."


def _training(spec: Any, meta: Any, source: Source) -> Iterator[str]:
    if spec.get("arch") is not None:
        text = f"Model: {spec['arch']}"
        if spec.get("num_parameters"):
            text += f" with {spec['num_parameters']:,} weights"
        yield text + "."
    parts = []
    if spec.get("learning_rate") is not None:
        optimizer = f"{spec['optimizer']} at " if spec.get("optimizer") else "a "
        parts.append(f"{optimizer}learning rate {setting_in_words(spec['learning_rate'])}")
    for name, words in (("batch_size", "batches of {}"), ("epochs", "{} epochs at most"), ("seed", "seed {}")):
        if spec.get(name) is not None:
            parts.append(words.format(setting_in_words(spec[name])))
    if parts:
        yield f"Training: {', '.join(parts)}."


def _probe(spec: Any, meta: Any, source: Source) -> Iterator[str]:
    if not source.measurements:
        yield "There are no measurements."
        return
    last = source.measurements[-1]
    yield (
        f"Probe: {last.train.num_examples:,} training and {last.validation.num_examples:,} validation examples, the "
        f"same at every measurement. Pairs: {joined([PAIR_SET_NAMES[name] for name in source.pair_sets])}."
    )


def _measuring(spec: Any, meta: Any, source: Source) -> Iterator[str]:
    if spec.get("distance") is not None:
        words = {"cosine": "1 − cos", "cosine_similarity": "the cosine, a similarity"}.get(
            spec["distance"], spec["distance"]
        )
        space = setting_in_words(spec.get("space", "input"))
        if space == "auto" and source.measurements:  # what it came to
            space = joined(list(source.measurements[-1][source.pair_sets[0]].spaces))
        yield (
            f"Distance: {words}, in the space {space}, of pairs "
            f"{setting_in_words(spec.get('distance_pairs', 'within'))} classes; ξ by the method "
            f"{setting_in_words(spec.get('critical_length_method'))}."
        )
