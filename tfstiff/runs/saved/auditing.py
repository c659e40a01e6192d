"""`audit_saved`: the audit of a model that was saved, on examples of a data set."""

from __future__ import annotations

import dataclasses

from tfstiff import models
from tfstiff.measuring.audit.audit import Audit, audit
from tfstiff.measuring.probe import Probe
from tfstiff.runs.data import STANDARDIZED, load_examples
from tfstiff.runs.progress import Progress
from tfstiff.runs.saved.files import check_readable
from tfstiff.runs.saved.measuring import SavedModels, builder
from tfstiff.runs.saved.on_data import fitted, loss_of
from tfstiff.runs.saved.reading import load_model
from tfstiff.runs.spec import RunSpec


def audit_saved(
    saved: SavedModels,
    spec: RunSpec,
    *,
    inputs: str = STANDARDIZED,
    num_examples: int = 16,
    another_process: bool = True,
    progress: Progress | None = None,
) -> Audit:
    """Audits a saved model, of several the last, on training examples of a data set.

    A model that was saved without a loss is compiled with cross-entropy, as it is measured.

    Args:
        saved: The models.
        spec: The data set; settings of training are not used.
        inputs: What the models take; see `tfstiff.runs.data.load_examples`.
        num_examples: On how many examples.
        another_process: Whether another process is to load and measure the model too.
        progress: Is told what happens.

    Raises:
        InvalidInput: A name or value cannot be used, or the model does not take the data set's examples.
        ModelCorrupt: The file is damaged.
        UnsupportedModel: The model holds code, or has no trainable weights.
        DatasetUnavailable: The data set is not here and cannot be fetched.
        DatasetCorrupt: The data set is damaged.
    """
    progress = progress or Progress()
    file = saved.files[-1]
    check_readable(file.path)
    progress.say(f"Loading {spec.dataset}.")
    dataset = load_examples(dataclasses.replace(spec, arch=saved.arch or spec.arch), inputs, saved.encoding)
    train = dataset.train
    size = min(num_examples, len(train.y))
    probe = Probe.from_arrays((train.x, train.y), size=size, seed=spec.seed, class_names=dataset.class_names)
    model = load_model(file.path, builder(saved, dataset))
    objective = None if saved.objective is None else models.imported(saved.objective, "objective")
    if saved.loss is None and objective is None and (loss := loss_of(model, progress.say)) is not None:
        model.compile(loss=loss)
    loss, probe = fitted(model, dataset, probe, saved.loss, progress.say, objective)
    progress.say(f"Auditing {file.path}.")
    return audit(
        model,
        probe.train.x,
        probe.train.y,
        loss=loss,
        objective=objective,
        num_examples=size,
        another_process=another_process,
        say=progress.say,
    )
