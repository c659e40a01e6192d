"""Groups of classes, such as CIFAR-100's superclasses: what the blocks of a class stiffness matrix are compared by."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput

Grouping = Mapping[str, Sequence[str]]  # name of a group -> names of its classes

_CIFAR10: Grouping = {
    "vehicles": ("airplane", "automobile", "ship", "truck"),
    "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
}
# Krizhevsky 2009, table of superclasses; names as in TensorFlow Datasets.
_CIFAR100: Grouping = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
BUILT_IN: Mapping[str, Grouping] = {"cifar10": _CIFAR10, "cifar100": _CIFAR100}

_FORMS = f"{' or '.join(BUILT_IN)}, a .json or .toml file, or group=class,class;group=class,class"


def read_grouping(source: str) -> Grouping:
    """Returns a grouping by name, from a file, or from text.

    Args:
        source: The name of a built-in one, `cifar10` or `cifar100`; or the path of a JSON or TOML file that holds, for
            each group, a list of class names; or text such as `clothes=Shirt,Coat;shoes=Sneaker,Sandal`. Class names
            with a comma or semicolon need a file.

    Raises:
        InvalidInput: It is none of these, the file cannot be read, or a group is empty or no list of names.
    """
    if source in BUILT_IN:
        return BUILT_IN[source]
    path = Path(source)
    if path.suffix.lower() in (".json", ".toml"):
        return _checked(_from_file(path), source)
    groups = [part.partition("=") for part in source.split(";") if part.strip()]
    if not groups or not all(equals for _, equals, _ in groups):
        raise InvalidInput("The grouping of classes cannot be read.", expected=_FORMS, received=source)
    names = [name.strip() for name, _, _ in groups]
    if len(set(names)) < len(names):
        raise InvalidInput("A group of classes occurs twice.", expected=_FORMS, received=source)
    members = [[one.strip() for one in classes.split(",")] for _, _, classes in groups]
    return _checked(dict(zip(names, members, strict=True)), source)


def chosen_grouping(choice: str | Grouping | None, class_names: Sequence[str] | None = None) -> Grouping | None:
    """The grouping that a choice names; None for none.

    Args:
        choice: `auto`, the built-in grouping of exactly these classes, where there is one; `none`, or None; what
            `read_grouping` takes; or the groups themselves: a list of class names for each name of a group.
        class_names: Names of the classes, in label order; None where they are not known yet, and only the choice is
            checked.

    Raises:
        InvalidInput: The choice cannot be read, there are no classes to group, or it names a class that there is not.
    """
    if choice is None or choice in ("auto", "none"):
        return known_grouping(class_names or ()) if choice == "auto" else None
    found = read_grouping(choice) if isinstance(choice, str) else _checked(choice, choice)
    if class_names is not None:
        if not class_names:
            raise InvalidInput("Regression targets have no classes to group.", expected="groups=None", received=choice)
        group_indices(found, class_names)
    return found


def known_grouping(class_names: Sequence[str]) -> Grouping | None:
    """The built-in grouping of exactly these classes, in whatever order; None where there is none."""
    return next((found for found in BUILT_IN.values() if set(_members(found)) == set(class_names)), None)


def group_indices(grouping: Grouping, class_names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The group of each class.

    Args:
        grouping: Groups of some or all of the classes, none in two groups.
        class_names: Names of the C classes, in label order.

    Returns:
        (C,) int64, the index of each class's group, -1 for a class in none; and the names of the groups, in the order
        of `grouping`. A stable sort by the first, `np.argsort(indices, kind="stable")`, puts the classes of a group
        side by side.

    Raises:
        InvalidInput: A class is in several groups, or the grouping names a class that there is not.
    """
    members = _members(grouping)
    known = set(class_names)
    mistakes = {
        "are not classes of the data set": sorted({name for name in members if name not in known}),
        "are in several groups, or twice in one": sorted({name for name in members if members.count(name) > 1}),
    }
    for what, names in mistakes.items():
        if names:
            raise InvalidInput(
                f"Of the classes, these {what}: {', '.join(names)}.",
                expected=f"some of {', '.join(class_names)}, each once",
                received=dict(grouping),
            )
    group_of = {name: index for index, names in enumerate(grouping.values()) for name in names}
    return np.array([group_of.get(name, -1) for name in class_names], np.int64), tuple(grouping)


def _members(grouping: Grouping) -> list[str]:
    return [name for names in grouping.values() for name in names]


def _from_file(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # what cannot be decoded or parsed is a ValueError
        raise InvalidInput(
            f"The grouping of classes in {path} cannot be read.", expected=_FORMS, received=error
        ) from error


def _checked(groups: Any, source: Any) -> Grouping:
    """Numbers become text, since data sets without names have their classes named "0", "1", …"""
    is_grouping = isinstance(groups, Mapping) and len(groups) > 0
    if not is_grouping or not all(isinstance(names, list | tuple) and names for names in groups.values()):
        raise InvalidInput("A grouping has a list of class names for each group.", expected=_FORMS, received=source)
    found = {str(group): tuple(map(str, names)) for group, names in groups.items()}
    if not all(found) or not all(_members(found)):
        raise InvalidInput("A group or class of the grouping has no name.", expected=_FORMS, received=source)
    return found
