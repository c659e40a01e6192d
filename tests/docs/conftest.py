import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("docs", "figures", "sweeps")]  # pages, synthetic_runs, made_up
