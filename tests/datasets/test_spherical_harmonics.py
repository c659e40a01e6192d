import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfstiff.datasets import load
from tfstiff.datasets.spherical_harmonics import (
    SphereOptions,
    labels,
    num_harmonics,
    parse,
    zonal_harmonic,
)
from tfstiff.errors import InvalidInput

T = np.linspace(-1, 1, 101)


def test_on_a_circle_it_is_the_cosine_of_the_multiple_angle():
    for degree in range(1, 12):
        expected = math.sqrt(2) * np.cos(degree * np.arccos(T))
        np.testing.assert_allclose(zonal_harmonic(T, degree, 2), expected, atol=1e-12)


def test_in_three_dimensions_it_is_the_legendre_polynomial():
    for degree in range(12):
        expected = math.sqrt(2 * degree + 1) * np.polynomial.legendre.Legendre.basis(degree)(T)
        np.testing.assert_allclose(zonal_harmonic(T, degree, 3), expected, atol=1e-12)


@pytest.mark.parametrize("dimension", [2, 3, 4, 7, 10, 50])
def test_low_degrees_in_any_dimension(dimension):
    d = dimension
    np.testing.assert_allclose(zonal_harmonic(T, 0, d), 1)
    np.testing.assert_allclose(zonal_harmonic(T, 1, d), math.sqrt(d) * T)
    second = (d * T**2 - 1) / (d - 1) * math.sqrt(num_harmonics(2, d))
    np.testing.assert_allclose(zonal_harmonic(T, 2, d), second, atol=1e-12)
    assert zonal_harmonic(np.ones(1), 9, d) == pytest.approx(math.sqrt(num_harmonics(9, d)))  # P(1) = 1


@pytest.mark.parametrize("dimension", [2, 3, 5, 10, 33])
def test_degrees_are_orthonormal_over_the_sphere(dimension):
    # With t = cos θ the weight (1 − t²)^((d − 3)/2) dt becomes sin^(d − 2) θ dθ; Gauss–Legendre in θ.
    nodes, weights = np.polynomial.legendre.leggauss(300)
    angle = (nodes + 1) * math.pi / 2
    weights = weights * np.sin(angle) ** (dimension - 2)
    weights /= weights.sum()
    values = np.array([zonal_harmonic(np.cos(angle), degree, dimension) for degree in range(8)])
    np.testing.assert_allclose((values * weights) @ values.T, np.eye(8), atol=1e-9)


def test_the_addition_theorem():
    """Means over the sphere of Z(x·a) Z(x·b) are P(a·b): what makes it a reproducing kernel. By simulation."""
    random = np.random.default_rng(0)
    x = random.standard_normal((400_000, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    a, b = np.eye(4)[0], np.array([0.6, 0.8, 0, 0])
    for degree in (1, 2, 3):
        found = np.mean(zonal_harmonic(x @ a, degree, 4) * zonal_harmonic(x @ b, degree, 4))
        expected = zonal_harmonic(np.array([a @ b]), degree, 4)[0] / math.sqrt(num_harmonics(degree, 4))
        assert found == pytest.approx(expected, abs=0.01)


def test_the_number_of_harmonics():
    assert [num_harmonics(degree, 2) for degree in range(4)] == [1, 2, 2, 2]
    assert [num_harmonics(degree, 3) for degree in range(4)] == [1, 3, 5, 7]
    assert [num_harmonics(degree, 4) for degree in range(4)] == [1, 4, 9, 16]
    for d in (5, 9):  # homogeneous polynomials of degree l, less those of degree l − 2
        assert num_harmonics(6, d) == math.comb(d + 5, 6) - math.comb(d + 3, 4)


def test_labels_by_hand():
    angles = np.radians([3, 35, 57, 93])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    axes = np.eye(2)
    assert labels(x, axes, (1,)).tolist() == [0, 0, 1, 1]
    # cos 3θ against cos 3(90° − θ) = −sin 3θ
    expected = np.argmax([np.cos(3 * angles), -np.sin(3 * angles)], axis=0)
    assert labels(x, axes, (3,)).tolist() == expected.tolist()


@pytest.mark.parametrize("degree", ["1", "2", "3", "1+4"])
def test_classes_are_equally_likely(degree):
    found = load(f"spherical_harmonics:degree={degree},dimension=5,classes=4,train=20000,validation=10")
    assert np.bincount(found.train.y, minlength=4) == pytest.approx(np.full(4, 5000), abs=6 * math.sqrt(20000 * 3 / 16))


def test_points_are_uniform_on_the_sphere():
    x = load("spherical_harmonics").train.x
    assert x.shape == (10_000, 10)
    assert x.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(x.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(10) / 10, atol=0.01)


def test_higher_degrees_change_over_shorter_distances():
    def agreement(degree):
        found = load(f"spherical_harmonics:degree={degree},dimension=6,classes=2,train=600,validation=1").train
        cosine = found.x @ found.x.T
        near = (cosine > 0.8) & (cosine < 0.9)
        return (found.y[:, None] == found.y)[near].mean()

    assert agreement(1) > agreement(2) > agreement(4)


def test_options_make_the_data_and_are_recorded():
    name = "spherical_harmonics:degree=2+5,dimension=7,classes=3,train=40,validation=20,seed=9"
    found = load(name)
    assert (found.name, len(found.train), len(found.validation)) == (name, 40, 20)
    assert found.train.x.shape == (40, 7)
    assert found.class_names == ("axis 0", "axis 1", "axis 2")
    assert len(set(found.train.ids)) == 40
    assert found.provenance["source"] == "generated"
    assert found.provenance["specified_by_the_papers"] is False
    expected = {"degrees": (2, 5), "dimension": 7, "classes": 3, "train": 40, "validation": 20, "seed": 9}
    assert found.provenance["options"] == expected


def test_the_seed_makes_the_data():
    one, two, other = (load(f"spherical_harmonics:train=50,validation=5,seed={seed}") for seed in (1, 1, 2))
    assert one.train.sha256() == two.train.sha256() != other.train.sha256()
    assert one.validation.sha256() == two.validation.sha256()


@given(st.integers(1, 50), st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_options_are_read(degree, dimension, seed):
    found = parse(f"degree={degree}, dimension={dimension},classes=2,seed={seed}")
    assert found == SphereOptions((degree,), dimension, 2, seed=seed)


def test_without_options_it_has_the_defaults():
    assert parse("") == SphereOptions()
    assert load("spherical_harmonics:").train.sha256() == load("spherical_harmonics").train.sha256()


@pytest.mark.parametrize(
    "options",
    [
        *("degree", "degree=", "degree=0", "degree=51", "degree=-1", "degree=1.5", "degree=1+", "degree=2+2"),
        *("dimension=1", "dimension=1+2", "dimension=²", "classes=1", "classes=11", "dimension=3", "train=0"),
        *("validation=0", "seed=-1", "seed=4294967296", "nonsense=1", "degree=1,degree=2", "train=99999999", "3"),
        "dimension=4096,train=1000000",
        "seed=" + "9" * 5000,
    ],
)
def test_options_that_cannot_be(options):
    with pytest.raises(InvalidInput):
        load(f"spherical_harmonics:{options}")
