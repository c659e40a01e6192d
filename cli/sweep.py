"""`tfstiff sweep`: many runs that differ in some settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfstiff.cluster.resources import default_jobs
from tfstiff.records.atomic import finite
from tfstiff.runs.own_code import OWN_CODE, check_named_again
from tfstiff.sweeps import (
    Executor,
    LocalExecutor,
    Sweep,
    TrialState,
    load_sweep,
    plan_sweep,
    run_sweep,
    spec_hash,
)
from tfstiff.sweeps.identity import settings_hash

from .folders import default_folder
from .grouped_help import GroupedCommand
from .options import given_address, ray_option
from .sweep_progress import choose_sweep_progress, states_table
from .sweep_settings import run_options, specs_of
from .tables import plain_table, print_whole

SOME_FAILED = 5


@click.command(
    "sweep",
    cls=GroupedCommand,
    first=("dataset", "arch", "learning_rate", "epochs", "seed", "file", "out", "resume", "dry_run", "jobs"),
)
@run_options
@click.option(
    "--file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="TOML with the same settings: lr = [1e-4, 2e-4], seed = '0:3'; [[grid]] tables for several grids.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The sweep's folder.  [default: runs/sweep-<data set>-<arch>-<hash of the settings>]",
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="SWEEP", help="Do what is missing of that sweep.")
@click.option("--dry-run", is_flag=True, help="Print the trials and how they stand, and do nothing.")
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Trials at a time.  [default: one a GPU, or else one a core]"
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Of each trial.  [default: cores / jobs]")
@click.option(
    "--retries",
    type=click.IntRange(0),
    metavar="N",
    help="Begin a trial again whose process died, N times; never one that failed.  [default: 1; with --ray 3]",
)
@ray_option("Run the trials as tasks of that Ray cluster (auto: the one that runs here), or of one of its own.")
@click.option("--gpus-per-trial", type=click.FloatRange(0), metavar="X", default=0.0, help="Under Ray.  [default: 0]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(  # noqa: PLR0913  # one for each option
    ctx: click.Context,
    file: Path | None,
    out: Path | None,
    resume: Path | None,
    dry_run: bool,
    jobs: int | None,
    threads: int | None,
    retries: int | None,
    address: str | None,
    gpus_per_trial: float,
    as_json: bool,
    **given: tuple[str, ...],
) -> None:
    """Run every combination of settings.

    Takes the options of `tfstiff run`, each with one value or several: --lr 1e-4,8e-4, or
    --seed 0:3, which is 0, 1 and 2. Where a value has commas itself, repeat the option:
    --hidden 500,300 --hidden 100. Every trial is a run like any other, in a process of its
    own, and its folder is in trials/. The same command given again does what is missing;
    with more values it adds trials. A training that diverges is a result.

    \b
    Examples:
      tfstiff sweep --lr 1e-4,2e-4,4e-4,8e-4,1.6e-3 --seed 0:3 --epochs 10
      tfstiff sweep --arch fc,cnn --permute-labels false,true --dry-run
      tfstiff sweep --file sweep.toml --jobs 4 --out runs/mine
      tfstiff sweep --resume runs/mine
      tfstiff sweep --lr 1e-4,8e-4 --seed 0:20 --ray auto --out /shared/mine

    Exits with 5 if any trial failed.
    """  # noqa: D301  # click wants the character \b itself
    sweep, added = _chosen(ctx, given, file, out, resume)
    if dry_run:
        _print_trials(sweep, as_json)
        return
    progress = choose_sweep_progress()
    grown = f"; {added} of its {len(sweep.trials)} trials are new" if 0 < added < len(sweep.trials) else ""
    progress.say(f"Sweep folder: {sweep.folder}{grown}")
    executor = _executor(sweep, address, jobs, threads, retries, gpus_per_trial)
    try:
        states = run_sweep(sweep, executor, progress)
    except (KeyboardInterrupt, SystemExit):
        progress.say(f"Stopped. To go on: tfstiff sweep --resume {sweep.folder}")
        raise
    if as_json:
        _echo_json(sweep, states)
    else:
        print_whole(states_table(states), _notes(sweep, states))
        click.echo(sweep.folder)
    if not all(state.is_done for state in states.values()):
        ctx.exit(SOME_FAILED)


def _chosen(
    ctx: click.Context, given: dict[str, tuple[str, ...]], file: Path | None, out: Path | None, resume: Path | None
) -> tuple[Sweep, int]:
    """The sweep that is asked for, and how many of its trials are new to its folder."""
    if resume is None:
        specs = specs_of(ctx, given, file)
        identity = settings_hash({spec_hash(spec): True for spec in specs})[:8]  # the same settings, the same folder
        return plan_sweep(out or default_folder("sweep", specs[0].dataset, specs[0].arch, suffix=identity), specs)
    if out is not None or file is not None or any(values for name, values in given.items() if name not in OWN_CODE):
        raise click.UsageError("--resume takes the settings and the folder of the sweep; leave out --out and settings.")
    sweep = load_sweep(resume)
    for name in OWN_CODE:
        named = [part for value in given[name] for part in value.split(",")]
        for trial in sweep.trials:
            value = getattr(trial.spec, name)
            check_named_again(value, named, resume, f"--{name} {value}")
    return sweep, 0


def _executor(
    sweep: Sweep,
    address: str | None,
    jobs: int | None,
    threads: int | None,
    retries: int | None,
    gpus: float,
) -> Executor:
    options: dict[str, Any] = {} if retries is None else {"retries": retries}
    if address is None:
        if gpus:
            raise click.UsageError("--gpus-per-trial is for --ray; without it each trial gets a GPU, if there is one.")
        chosen = jobs or default_jobs(len(sweep.trials))
        return LocalExecutor(chosen, threads, **options)
    from tfstiff.cluster.ray_cluster import cluster_address
    from tfstiff.sweeps.on_ray import RayExecutor

    found = cluster_address(given_address(address))
    if jobs is not None and found is not None:
        raise click.UsageError("A cluster decides how many trials run at a time; use --threads and --gpus-per-trial.")
    return RayExecutor(found, jobs=jobs, threads=threads, gpus=gpus, **options)


def _print_trials(sweep: Sweep, as_json: bool) -> None:
    states = {trial.name: sweep.state(trial) for trial in sweep.trials}
    if as_json:
        _echo_json(sweep, states)
        return
    table = plain_table("trial", "hash", "state", *sweep.varied)
    for trial in sweep.trials:
        settings = trial.spec.as_config()
        values = [json.dumps(settings[name]).strip('"') for name in sweep.varied]
        table.add_row(trial.name, trial.hash[:8], states[trial.name].state, *values)
    missing = sum(not state.is_done for state in states.values())
    print_whole(table, [f"{len(states)} trials, {missing} to run, in {sweep.folder}"])


def _notes(sweep: Sweep, states: dict[str, TrialState]) -> list[str]:
    """What went wrong, a trial each."""
    return [
        f"{trial.name} {states[trial.name].state}: {states[trial.name].error.splitlines()[0]} "
        f"See {sweep.log_file(trial)}"
        for trial in sweep.trials
        if states[trial.name].error
    ]


def _echo_json(sweep: Sweep, states: dict[str, TrialState]) -> None:
    trials = [
        {
            "name": trial.name,
            "hash": trial.hash,
            "run": str(sweep.run_folder(trial)),
            "spec": trial.spec.as_config(),
            "state": states[trial.name].state,
            "attempts": states[trial.name].attempts,
            "epoch": states[trial.name].epoch,
            "loss": states[trial.name].loss,
            "seconds": states[trial.name].seconds,
            "error": states[trial.name].error or None,
        }
        for trial in sweep.trials
    ]
    document = {"folder": str(sweep.folder), "trials": trials}
    click.echo(json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False))
