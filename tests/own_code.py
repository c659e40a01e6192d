"""A folder to work in, with a module of the user's own."""

import contextlib
import sys

import pytest


@contextlib.contextmanager
def code_of_ones_own(folder, name, text):
    """Runs and commands in `folder`, which can import its module `name`; they draw no figures and await no signal."""
    (folder / f"{name}.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)
        patch.setattr(sys.modules["tfstiff_cli.main"], "end_on_signals", lambda *_: None)
        yield
    sys.modules.pop(name, None)
