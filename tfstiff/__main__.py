"""`python -m tfstiff`, where the command `tfstiff` is not on the path."""

import importlib

if __name__ == "__main__":
    importlib.import_module("tfstiff_cli").main(prog_name="python -m tfstiff")  # by name: imports run one way
