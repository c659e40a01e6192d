"""Makes `fashion_mnist_mini.npz`, the data set that ships in the package, out of TensorFlow Datasets' Fashion-MNIST.

Run `python -m tfstiff.datasets.embedded.make_fashion_mnist_mini --data-dir DIR`, then copy the printed SHA-256 into
`tfstiff/datasets/fashion_mnist_mini.py`. Running it twice on the same prepared data gives identical bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import click
import numpy as np

TRAIN_PER_CLASS = 1000
VALIDATION_PER_CLASS = 200
SEED = 20190131


def build(data_dir: Path | None) -> bytes:
    """Returns the bytes of the archive; `data_dir` is where TensorFlow Datasets has, or will put, fashion_mnist."""
    from tfstiff.datasets import load

    full = load("fashion_mnist", data_dir=data_dir)
    members: dict[str, np.ndarray] = {}
    for split, examples, per_class in (
        ("train", full.train, TRAIN_PER_CLASS),
        ("validation", full.validation, VALIDATION_PER_CLASS),
    ):
        chosen = select(examples.y, per_class)
        members[f"x_{split}"] = examples.x[chosen]
        members[f"y_{split}"] = examples.y[chosen].astype(np.uint8)
        members[f"index_{split}"] = chosen.astype(np.uint16)
    return pack(members)


def select(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Returns the indices, (classes × per_class,), of the first `per_class` examples of each class of `labels`, (n,).

    Classes come in an order shuffled by `SEED`; within a class the order is that of the source.
    """
    classes = np.unique(labels)
    order = np.random.default_rng(SEED).permutation(np.repeat(classes, per_class))
    chosen = np.empty(len(order), np.int64)
    for label in classes:
        chosen[order == label] = np.flatnonzero(labels == label)[:per_class]
    return chosen


def pack(members: dict[str, np.ndarray]) -> bytes:
    """Returns a compressed npz archive of `members`, whose bytes depend on nothing but them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in members.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            # An explicit date and origin: the defaults would be the clock and the operating system.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue(), compresslevel=9)
    return buffer.getvalue()


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="TensorFlow Datasets' directory.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(__file__).with_name("fashion_mnist_mini.npz"),
    help="The file to write.",
)
def main(data_dir: Path | None, out: Path) -> None:
    """Write the embedded subset of Fashion-MNIST."""
    content = build(data_dir)
    out.write_bytes(content)
    click.echo(f"{out}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
