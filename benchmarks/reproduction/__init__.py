"""Whether stiffness does what the papers promise: trainings, rules and tables. See `decision_rules.md`.

    python -m benchmarks.reproduction predictors --data-dir DIR --budget 60
    python -m benchmarks.reproduction league --data-dir DIR --budget 60
    python -m benchmarks.reproduction claims --data-dir DIR --budget 60
    python -m benchmarks.reproduction concordance --data-dir DIR
    python -m benchmarks.reproduction page

Every training is written to `tables/` when it has ended, and is not made again: a command that was ended goes on, and
one with a larger `--seeds` adds to what is there. `page` computes the verdicts from the tables alone, in seconds.
"""
