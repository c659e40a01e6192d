"""Checkpoints of a run: all that a later process needs to go on as if the run had not been killed."""
