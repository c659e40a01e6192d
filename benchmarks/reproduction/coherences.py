"""m-coherence with right and with random labels."""

from __future__ import annotations


def coherence(data_dir: str | None, seed: int) -> list[float]:
    """The highest m-coherence of 400 training examples while a network trains on 2,000: right and random labels."""
    from benchmarks.reproduction.trainings import Network, parts, with_wrong_labels

    found = []
    for noise in (0.0, 0.9):  # of ten classes, 90 % wrong labels are random ones
        train, validation, _ = parts("mnist", data_dir, seed, (2000, 100))
        train = with_wrong_labels(train, noise, seed)
        network = Network((128, 64))
        network.begin(seed, 0.001)
        steps = [1, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560]
        values = [
            float(network.measure(train[:400], validation)["train_train"].statistics["m_coherence"])
            for _ in network.train(train, 32, seed, steps)
        ]
        found.append(max(values))
    return found
