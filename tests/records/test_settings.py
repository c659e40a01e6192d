import dataclasses

from tfstiff import RunSpec
from tfstiff.records import settings
from tfstiff.records.settings import separates_runs

# What a run's config.json holds beside the specification; see `prepare.Trial.resolved`.
_RESOLVED = {"measured_steps", "steps_per_execution", "num_stop_examples", "num_outputs"}


def test_the_table_names_settings_that_there_are():
    known = {field.name for field in dataclasses.fields(RunSpec)} | _RESOLVED
    known |= set(RunSpec().as_config())
    assert known >= settings._ASIDE


def test_what_changes_numbers_separates_runs_and_what_does_not_does_not():
    for name in ("learning_rate", "arch", "batch_size", "probe_size", "precision", "space", "distance", "a_new_one"):
        assert separates_runs(name)
    for name in ("seed", "keep_gram", "keep_models", "data_dir", "epochs", "schedule", "stop_at_loss", "metrics"):
        assert not separates_runs(name)


def test_weights_that_were_measured_separate_runs():
    assert separates_runs("weights")
