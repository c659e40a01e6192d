"""Writes docs/reference/cli.md from `--help` and docs/reference/api.md from docstrings: `make docs`.

The code is read, not run, for the second (griffe), but for the classes of options, which import no TensorFlow; nor do
the commands for the first.
"""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Any

import click
import griffe
from tfstiff_cli import main
from tfstiff_cli.grouped_help import whole_help

from tfstiff._options import documented, option_fields
from tfstiff.stiffness.statistics import STATISTICS

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
_WIDTH = 96  # of the help, whatever the terminal's
_SHORT = 100  # a signature longer than that has a line for each argument

# What users call, by task: title, module, names. None is all that the module's __all__ has.
SECTIONS: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
    ("Measuring", "tfstiff", ("Probe", "measure", "StiffnessCallback", "StopAtTrainingLoss", "StopWhenStiffnessDrops")),
    ("When to measure", "tfstiff.callbacks.schedules", ("every_epoch", "every_steps", "at_steps", "at_epochs", "log")),
    ("Large probes", "tfstiff.measuring.distributed", None),
    ("Large probes on Ray", "tfstiff.measuring.distributed.on_ray", ("RayTasks",)),
    (
        "Gradients",
        "tfstiff",
        (
            "gradient_gram",
            "per_example_gradients",
            "finite_step_stiffness",
            "directional_stiffness",
            "weight_alignment",
            "step_effect",
            "predicted_steps",
        ),
    ),
    ("Directions in weight space", "tfstiff.measuring.directional", ("DirectionalStiffness",)),
    ("Steps and what is predicted of them", "tfstiff.measuring.predictions", ("PredictedSteps",)),
    ("Alignment with weights", "tfstiff.measuring.alignment", ("WeightAlignment",)),
    ("Auditing a model", "tfstiff", ("audit",)),
    ("What an audit finds", "tfstiff.measuring.audit.audit", ("Audit",)),
    ("A check of an audit", "tfstiff.measuring.audit.checks", ("Check",)),
    ("Gradients, in parts", "tfstiff.gradients", ("gradient_chunks", "gradients_by_variable")),
    ("How gradients are computed", "tfstiff.gradients", ("explain", "WeightPlan")),
    ("Rules for operations", "tfstiff.gradients.operations", ("register", "Use")),
    ("Runs", "tfstiff", ("RunSpec", "run", "load_run", "at_training_loss")),
    ("A run, read", "tfstiff.records", ("RunFolder",)),
    ("What is made of a run", "tfstiff.runs.load", ("Run",)),
    (
        "What a measurement holds",
        "tfstiff.records",
        (
            *("Measurement", "HalfSummary", "PairSetStiffness", "ClassStiffness", "BlockStiffness"),
            *("DistanceStiffness", "DistanceProfile", "CriticalLength", "ClassCriticalLengths"),
        ),
    ),
    ("Whether steps help", "tfstiff.records.directions", ("DirectionEffects", "StepEffects")),
    ("Scores of examples", "tfstiff.records.scores", ("ExampleScores", "ExampleStiffness")),
    ("Every example of a training set", "tfstiff.measuring.ranking", ("score_examples",)),
    ("Examples to look at", "tfstiff.analysis.examples_to_look_at", ("examples_to_look_at",)),
    ("Lists of examples", "tfstiff.analysis.example_lists", ("ExampleList",)),
    ("A statistic", "tfstiff.stiffness.statistics.statistic", ("Statistic", "Estimate")),
    ("Comparing two measurements", "tfstiff.analysis.contrast", ("paired_contrast", "Contrast")),
    ("Turning points of a training", "tfstiff.analysis.turns_of_training", ("turning_points", "TurningPoints")),
    (
        "Rules for a turn",
        "tfstiff.analysis.turning_points",
        ("turning_point", "departure", "generalization_loss"),
    ),
    ("A turn", "tfstiff.analysis.turn_rules", ("Turn",)),
    ("At equal training loss", "tfstiff.analysis.loss_level", ("at_loss_level", "AtLossLevel")),
    (
        "From kept Gram matrices",
        "tfstiff.analysis.from_gram",
        ("gram_of_half", "whole_gram", "effective_rank", "gradient_confusion", "cosine_percentile"),
    ),
    ("Influence", "tfstiff.analysis.influence", ("tracin_influence", "Influence")),
    ("Data sets", "tfstiff.datasets", ("load", "names", "catalog", "prepare", "Dataset", "Examples", "Preprocessing")),
    ("Groups of classes", "tfstiff.datasets.groupings", ("read_grouping", "known_grouping", "group_indices")),
    (
        "Figures",
        "tfstiff.figures",
        (
            *("draw", "class_matrices", "class_groups", "curves", "log_curves", "distance", "layers"),
            *("critical_length", "learning_rate", "domain_size", "statistics", "overlay", "concept"),
        ),
    ),
    ("Figures where the data are", "tfstiff", ("plot",)),
    ("The figures of something", "tfstiff.figures.plotting", ("Plots",)),
    ("Report", "tfstiff.report", ("write_report",)),
    ("Export", "tfstiff.export", ("as_dataset", "write_netcdf", "write_tidy", "write_tensorboard")),
    (
        "Sweeps",
        "tfstiff.sweeps",
        ("grid", "plan_sweep", "run_sweep", "load_sweep", "Sweep", "LocalExecutor", "TrialState"),
    ),
    ("Sweeps on Ray", "tfstiff.sweeps.on_ray", ("RayExecutor",)),
    (
        "Comparing runs",
        "tfstiff.analysis.comparison",
        ("compare", "Comparison", "group_runs", "Milestone", "Observation", "OverSeeds", "Difference", "Trend"),
    ),
    ("Errors", "tfstiff.errors", None),
)


def cli_page() -> str:
    """The help of every command."""
    parts = ["# Commands", "What `--help` says of each. `make docs` writes this page."]
    for path, text in _helps(click.Context(main, info_name="tfstiff", terminal_width=_WIDTH, **main.context_settings)):
        parts += [f"## {path}", f"```text\n{text.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _helps(context: click.Context) -> list[tuple[str, str]]:
    found = [(context.command_path, whole_help(context))]
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None:
                found += _helps(click.Context(command, parent=context, info_name=name, **command.context_settings))
    return found


def api_page() -> str:
    """The docstrings of the public names."""
    logging.getLogger("griffe").setLevel(logging.ERROR)
    package = griffe.load("tfstiff", search_paths=[ROOT], docstring_parser="google", resolve_aliases=True)
    parts = [
        "# Python",
        "The public names, by task. `make docs` writes this page from their docstrings. Names under `tfstiff` itself "
        "are imported when first used; `import tfstiff` alone does not import TensorFlow.",
    ]
    for title, module, names in SECTIONS:
        parts += [f"## {title}"]
        for name in names or _public_names(package, module):
            parts += _entry(f"{module}.{name}", _found(package, module, name))
    parts += ["## Statistics of the probe's halves", _statistics()]
    return "\n\n".join(parts) + "\n"


def _statistics() -> str:
    """A row a number in `m["train_train"].statistics`."""
    rows = ["| name | what | unit | source |", "|---|---|---|---|"]
    for statistic in STATISTICS:
        rows += [
            f"| `{name}` | {words} | {statistic.unit} | {statistic.source} |" for name, words in statistic.columns()
        ]
    return "\n".join(rows)


def _found(package: Any, module: str, name: str) -> Any:
    if module == "tfstiff":  # its names are imported lazily
        homes = package["_HOMES"].value
        home = next(value for key, value in zip(homes.keys, homes.values, strict=True) if _text(key) == name)
        return _inside(package, _text(home), name)
    return _inside(package, module.partition(".")[2], name)


def _text(literal: Any) -> str:
    return str(literal).strip("'\"")


def _inside(package: Any, module: str, name: str) -> Any:
    found = package[f"{module}.{name}"] if module else package[name]
    found = found.final_target if found.is_alias else found
    return found[name] if found.is_module else found  # a function and its module of the same name


def _public_names(package: Any, module: str) -> list[str]:
    inside = package[module.partition(".")[2]]
    if inside.exports:
        return sorted(map(_text, inside.exports))
    return [name for name, member in inside.members.items() if not member.is_alias and member.is_class]


def _entry(path: str, member: Any, *, level: int = 3) -> list[str]:
    """The Markdown of one class or function, and of the public methods of a class."""
    if member.docstring is None:
        raise ValueError(f"{path} has no docstring.")
    parts = [f"{'#' * level} `{path}`"]
    options = _options_of(member)
    if options is not None:
        member.docstring.value = documented(member.docstring.value, options)
    if member.is_class:
        initializer = member.members.get("__init__")
        if initializer is not None and initializer.is_function and not _is_exception(member):
            parts += [_signature(member.name, initializer, options)]
    elif member.is_function:
        parts += [_signature(member.name, member, options)]
    for section in member.docstring.parsed:
        parts += _section(section)
    if member.is_class:
        for method in member.members.values():
            is_public = not method.is_alias and not method.name.startswith("_") and not method.name.startswith("on_")
            if is_public and method.docstring is not None and (method.is_function or "property" in method.labels):
                parts += _entry(f"{path.rpartition('.')[2]}.{method.name}", method, level=level + 1)
    return parts


def _options_of(member: Any) -> Any:
    """The class of options that a function, or class, takes, or is; None for most."""
    for decorator in getattr(member, "decorators", ()):  # an attribute has none
        called, _, rest = str(decorator.value).partition("(")
        if called == "option_class":
            return getattr(importlib.import_module(member.module.path), member.name)
        if called == "takes":
            module, _, name = member.module.resolve(rest.rstrip(")")).rpartition(".")
            return getattr(importlib.import_module(module), name)
    return None


def _is_exception(member: Any) -> bool:
    return any("Error" in str(base) or str(base) in ("Exception", "InvalidInput") for base in member.bases)


def _signature(name: str, function: Any, options: Any = None) -> str:
    arguments, has_star = [], False
    fields = [] if options is None else option_fields(options)
    names = {field.name for field in fields}
    for parameter in function.parameters:
        kind = parameter.kind.value
        if parameter.name in ("self", "cls", *names) or (fields and kind == "variadic keyword"):
            continue
        if kind == "keyword-only" and not has_star:
            arguments.append("*")
            has_star = True
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        has_star |= stars == "*"
        text = stars + parameter.name
        if parameter.annotation is not None:
            text += f": {parameter.annotation}"
        if parameter.default is not None and not stars:
            text += (" = " if parameter.annotation is not None else "=") + str(parameter.default)
        arguments.append(text)
    arguments += ["*"] if fields and not has_star else []
    arguments += [f"{field.name}: {field.type} = {field.default!r}" for field in fields]
    returned = "" if function.returns is None or function.name == "__init__" else f" -> {function.returns}"
    line = f"{name}({', '.join(arguments)}){returned}"
    if len(line) > _SHORT:
        line = f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){returned}"
    return f"```python\n{line}\n```"


def _section(section: Any) -> list[str]:
    kind = section.kind.value
    if kind == "text":
        return [section.value.replace("Example:\n```", "Example:\n\n```")]
    titles = {"parameters": "Arguments", "attributes": "Attributes", "raises": "Raises", "returns": "Returns"}
    titles["yields"] = "Yields"
    if kind not in titles:
        raise ValueError(f"A docstring has a section that this page does not know: {kind}.")
    rows = [f"- {_label(kind, item)}{_joined(item.description)}" for item in section.value]
    return [f"**{titles[kind]}**", "\n".join(rows)]


def _label(kind: str, item: Any) -> str:
    if kind == "raises":
        return f"`{item.annotation}`: "
    return f"`{item.name}`: " if getattr(item, "name", "") else ""


def _joined(text: str) -> str:
    return " ".join(text.split())


def pages() -> dict[Path, str]:
    """The generated pages by file."""
    return {FOLDER / "cli.md": cli_page(), FOLDER / "api.md": api_page()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
