"""The experiments of `benchmarks/reproduction`: their rules, on tables in which the answer is planted."""

import importlib
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def parts():
    """The modules claims, league, predictors, verdicts of the folder, which is no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        names = ("claims", "league", "predictors", "tables", "verdicts")
        yield {name: importlib.import_module(f"benchmarks.reproduction.{name}") for name in names}


def planted_trainings(predictors, rng, seeds=4):
    """The outcome follows two factors and a cause; candidates follow the cause, a factor, or nothing."""
    table = pd.DataFrame(list(predictors.designs(seeds)))
    cause = rng.normal(size=len(table))
    table["held_out_loss"] = 5.0 * (table["n"] == 250) + 3 * table["noise"] + cause
    table["gap"] = table["held_out_loss"]
    for moment in predictors.STEPS:
        for name in predictors.CANDIDATES:
            table[f"{moment}_{name}"] = rng.normal(size=len(table))
        table[f"{moment}_disparity"] = table["held_out_loss"]  # −1 is its sign
        table[f"{moment}_sign_within_tt"] = np.where(table["n"] == 250, 0.0, 1.0)  # the knob alone
        table[f"{moment}_validation_loss"] = table["held_out_loss"] + 2 * rng.normal(size=len(table))
    return table


def test_predictors_are_told_from_knobs_and_from_noise(parts):
    predictors, verdicts = parts["predictors"], parts["verdicts"]
    scored = predictors.scored(planted_trainings(predictors, np.random.default_rng(0)))
    late = scored[(scored["moment"] == "late") & (scored["outcome"] == "gap")]
    wide = late.pivot_table(index="seed", columns="candidate", values="by_factor")
    assert (wide["disparity"] == 1).all()
    assert wide["sign_within_tt"].mean() == pytest.approx(1 / 7)  # right of one factor of seven
    over_all = late.groupby("candidate")["over_all"].mean()
    assert over_all["disparity"] == pytest.approx(1)
    assert over_all["sign_within_tt"] > 0.4  # which by itself looks like much
    assert verdicts.mean_of(wide["disparity"] - wide["train_loss"]).low > 0
    of_noise = verdicts.mean_of(wide["osgr"])
    assert of_noise.low < 0 < of_noise.high
    assert of_noise.seeds == 4


def test_a_seed_of_which_trainings_are_missing_is_left_out(parts):
    predictors = parts["predictors"]
    table = planted_trainings(predictors, np.random.default_rng(1))
    assert set(predictors.scored(table.iloc[:-1])["seed"]) == {0, 1, 2}


def test_lengths_beyond_the_data_are_equal(parts):
    predictors = parts["predictors"]
    table = planted_trainings(predictors, np.random.default_rng(2), seeds=1)
    pairs = predictors.pairs_by_factor(table)
    assert predictors.by_factor(pairs, np.full(len(table), np.inf), -table["gap"].to_numpy()) == 0


@pytest.mark.parametrize(
    ("values", "ended_and_kept"),
    [
        ([3, 2, 1, 2, 2, 2, 2, 2, 0], (8, 3)),  # five epochs after the third
        ([3, 2, 1], (3, 3)),
        ([3, 2, 1, 2, 2, 2, 2, 0.5, 2], (9, 8)),
        ([math.nan, math.nan], (2, 1)),
    ],
)
def test_patience(parts, values, ended_and_kept):
    assert parts["league"].patience(np.array(values, float)) == ended_and_kept


def test_prechelt_and_evidence(parts):
    league = parts["league"]
    assert league.generalization_loss(np.array([2, 1, 1.04, 1.06, 0.5])) == (4, 2)
    assert league.generalization_loss(np.array([2, 1, 1.04])) == (3, 2)
    assert league.first_above(np.array([-1, 0.1, -1])) == (2, 2)
    assert league.first_above(np.array([-1, -1])) == (2, 2)


def planted_league(league, rng):
    """The accuracy is highest at epoch 10; the validation loss turns at 10, cosine_within_tt at 2, others never."""
    epochs, turns = [], []
    for design in league.designs(3):
        last = league.EPOCHS[design["n"]]
        for epoch in range(1, last + 1):
            row = {name: float(epoch) for name in league.MONITORS}
            row["cosine_within_tt"] = -abs(epoch - 2.0)
            row |= {"validation_loss": abs(epoch - 10) / 10 + 1, "disparity": -float(epoch), "evidence": -1.0}
            row["test_accuracy"] = 0.9 - 0.01 * abs(epoch - 10) + 1e-5 * rng.normal()
            epochs.append(design | {"epoch": epoch} | row)
        for curve in ("validation_loss", *league.MONITORS):
            found = {"validation_loss": (10, 14), "cosine_within_tt": (2, 5)}.get(curve, (math.nan, math.nan))
            turns.append(design | {"curve": curve, "turned": found[0], "sure": found[1]})
        turns.append(design | {"curve": "late cosine_within_tt", "turned": 9, "sure": 12})
    return pd.DataFrame(epochs), pd.DataFrame(turns)


def test_the_league_finds_the_rule_that_is_right(parts):
    league, verdicts = parts["league"], parts["verdicts"]
    epochs, turns = planted_league(league, np.random.default_rng(0))
    found = league.regrets(epochs, turns)
    assert set(found.loc[found["rule"] == "validation loss", "kept"]) == {10}
    assert set(found.loc[found["rule"] == "validation turning point", "epochs"]) == {14}
    wide = league.by_seed(found)
    assert wide["validation loss"].max() < 0.1
    assert wide["turn of cosine_within_tt"].to_numpy() == pytest.approx(8, abs=0.1)
    assert wide["late turn of cosine_within_tt"].to_numpy() == pytest.approx(1, abs=0.1)
    assert "late turn of sign_within_tt" not in wide  # which was not run
    assert wide["last"].to_numpy() == pytest.approx((30 + 20) / 2, abs=0.1)
    difference = {rule: verdicts.mean_of(wide[rule] - wide["validation loss"]) for rule in wide}
    assert verdicts.of_rule(difference["validation turning point"]) == "as good"
    assert verdicts.of_rule(difference["turn of cosine_within_tt"]) == "worse"
    assert not verdicts.is_competitive(difference["turn of cosine_within_tt"])
    incomplete = epochs[~((epochs["seed"] == 2) & (epochs["noise"] == 0.4))]
    assert list(league.by_seed(league.regrets(incomplete, turns)).index) == [0, 1]


def test_a_late_turn_is_looked_for_from_before_the_first_step(parts, monkeypatch):
    league = parts["league"]
    weights = np.full(4, 1 / 4)

    class Grown:
        """Stiffness that falls while nothing is learnt, rises, and falls for good; by the epoch."""

        values = (0.9, 0.2, 0.5, 0.95, 0.9, 0.5, 0.3, 0.2, 0.1)
        losses = (2.0, 1.9, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5)

        def measure(self, *_):
            return self.at

    network = Grown()

    def epochs_of(*_):
        for epoch in range(len(Grown.values)):
            network.at = SimpleNamespace(train=SimpleNamespace(loss=Grown.losses[epoch]), value=Grown.values[epoch])
            yield epoch

    monkeypatch.setattr(league, "epochs_of", epochs_of)
    monkeypatch.setattr(league, "data_of", lambda *_: [weights] * 3)
    found_in = SimpleNamespace(se=0.01, influence=None)
    monkeypatch.setattr(
        "tfstiff.analysis.readings.reading", lambda m, _: SimpleNamespace(**vars(found_in), value=m.value)
    )
    rows = league.late_turns(network, {}, None)
    assert {row["curve"] for row in rows} == {f"late {name}" for name in league.MONITORS}
    assert {row["turned"] for row in rows} == {3}
    assert {row["sure"] for row in rows} == {6}


@pytest.mark.parametrize(
    ("claim", "values", "verdict"),
    [
        ("2", [0.3, 0.4, 0.5], "supported"),
        ("2", [-0.3, -0.4, -0.5], "not supported"),
        ("2", [-0.3, 0.4, 0.5], "undecided"),
        ("2", [0.3, 0.4], "undecided"),
        ("4", [-0.3, -0.4, -0.5], "supported"),
        ("4", [0.3, 0.4, 0.5], "not supported"),
        ("1s", [0.01, 0.02, -0.01], "supported"),
        ("1s", [-0.9, -0.91, -0.92], "not supported"),
        ("1s", [0.0, 0.1, 0.2], "undecided"),
        ("8", [-1.0, -1.0, -1.0], "supported"),
        ("8", [math.nan, math.nan, -1.0], "undecided"),
    ],
)
def test_verdicts_on_claims(parts, claim, values, verdict):
    verdicts = parts["verdicts"]
    assert verdicts.of_claim(claim, verdicts.mean_of(values)) == verdict


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([-1.0, -1.1, -0.9], "better"),
        ([1.0, 1.1, 0.9], "worse"),
        ([0.1, 0.0, -0.1], "as good"),
        ([0.1, 0.12, 0.11], "as good"),
        ([3.0, -3.0, 0.5], "not told apart"),
        ([1.0], "undecided"),
    ],
)
def test_verdicts_on_rules(parts, differences, verdict):
    verdicts = parts["verdicts"]
    assert verdicts.of_rule(verdicts.mean_of(differences)) == verdict


def planted_run(claims, **changes):
    """Ten measurements of a run in which every claim is true: best at the sixth, ξ falling, within falling after."""
    time = np.arange(10.0)
    run = pd.DataFrame(
        {
            "dataset": "mnist",
            "arch": "fc",
            "seed": 0,
            "kind": "plain",
            "lr": claims.RATE,
            "step": time,
            "epoch": time,
            "train_loss": 2.3 - 0.2 * time,
            "validation_loss": 1 + np.abs(time - 5),
            "cosine_within_tt": 0.7,
            "cosine_within_vv": 0.69,
            "cosine_between_tt": -0.05,
            "sign_between_tt": -0.9 + 0.15 * time,
            "sign_within_tv": np.where(time <= 5, 1.0, 1 - 0.1 * (time - 5)),
            "share_of_pairs_stiff": time / 9,
            "xi": 2 - 0.1 * time,
            "xi_low": 1.0,
            "xi_high": 3.0,
            "xi_status": "ok",
            "xi_slope": -0.4,
            "cosine_z_of_contrast": 30.0,
            "sign_z_of_contrast": 10.0,
        }
    )
    return run.assign(**changes)


def test_statistics_of_the_claims(parts):
    claims = parts["claims"]
    rows = pd.concat(
        [
            *(
                planted_run(claims, lr=rate, xi=2 - 0.1 * place, sign_between_tt=-0.9 + 0.1 * place)
                for place, rate in enumerate(claims.RATES)
                if rate != claims.RATE
            ),
            planted_run(claims),
            planted_run(claims, kind="few"),
            planted_run(claims, kind="permuted", share_of_pairs_stiff=0.0),
        ]
    )
    turned = pd.DataFrame(
        [
            {"dataset": "mnist", "arch": "fc", "seed": 0, "kind": "few", "lr": claims.RATE}
            | {"stiffness_drop_time": 4.0, "validation_minimum_time": 6.0}
        ]
    )
    found = claims.statistics(rows, turned).set_index("claim")["value"]
    assert set(found.index) == set(claims.CLAIMS)
    assert found["1"] == pytest.approx(0.75)
    assert found["1s"] == pytest.approx(-0.9)
    assert found["2"] == pytest.approx(0.75)
    assert found["2m"] == pytest.approx(5 / 9 - 0.5)
    assert found["3"] == pytest.approx(0.5)
    assert found["4"] == pytest.approx(-0.4)
    assert found["4t"] == pytest.approx(abs(math.log10(4 / 6)) - 0.5)
    assert found["5"] == pytest.approx(-0.09)
    assert found["6"] == pytest.approx(-0.05)
    assert found["7"] == pytest.approx(-0.4)
    assert found["8"] == pytest.approx(-1)
    assert found["11"] == pytest.approx(20)
    assert claims.statistics(rows, turned.assign(stiffness_drop_time=math.nan)).set_index("claim")["value"]["4t"] == 1
    never = rows.assign(sign_within_tv=1.0)
    assert claims.statistics(never, turned).set_index("claim")["value"]["4"] == 0


def test_a_length_beyond_the_data_is_the_largest(parts):
    claims = parts["claims"]
    run = planted_run(claims, xi=0.1, xi_status="beyond")
    assert (claims.censored(run) == np.inf).all()


def test_tables_grow_by_whole_trainings(parts, tmp_path):
    tables = parts["tables"]
    tables.append("one", [{"seed": 0, "x": 1 / 3}, {"seed": 0, "x": math.inf}], tmp_path)
    tables.append("one", [{"seed": 1, "x": math.nan}], tmp_path)
    found = tables.read("one", tmp_path)
    assert found["x"].tolist()[:2] == [0.33333, math.inf]
    assert tables.are_there("one", ["seed"], tmp_path) == {(0,), (1,)}
    assert tables.are_there("two", ["seed"], tmp_path) == set()


def test_trainings_begin_anew_and_their_moments_are_those_of_the_gradients(parts, monkeypatch):
    import tfstiff
    from tfstiff.stiffness.per_parameter import parameter_moments

    trainings = importlib.import_module("benchmarks.reproduction.trainings")
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(count, 28, 28, 1)).astype(np.float32) / 28 for count in (90, 20)]
    labels = [rng.integers(10, size=len(one)).astype(np.int32) for one in images]
    monkeypatch.setattr(trainings, "_images", lambda *_: (images[0], labels[0], images[1], labels[1]))
    network = trainings.Network((8, 6))
    train, validation, test = trainings.parts("mnist", None, 3, (40, 30))
    assert (len(train.y), len(validation.y), len(test.y)) == (40, 30, 20)
    assert not {one.tobytes() for one in train.x} & {one.tobytes() for one in validation.x}
    wrong = trainings.with_wrong_labels(train, 0.5, 0).y != train.y
    assert 8 <= wrong.sum() <= 32
    found = []
    for seed in (0, 1, 0):
        network.begin(seed, 0.01)
        for _ in network.train(train, 8, seed, [3, 7]):
            pass
        found.append(network.model.get_weights())
    assert all(np.array_equal(one, two) for one, two in zip(found[0], found[2], strict=True))
    assert not np.array_equal(found[0][0], found[1][0])
    moments = network.moments(train)
    expected = parameter_moments(tfstiff.per_example_gradients(network.model, train.x, train.y))
    np.testing.assert_allclose(moments.mean, expected.mean, atol=1e-6 * np.abs(expected.mean).max())
    np.testing.assert_allclose(moments.variance, expected.variance, atol=1e-5 * expected.variance.max())
    loss, accuracy = network.evaluate(train)
    assert loss == pytest.approx(network.model.evaluate(train.x, train.y, verbose=0), rel=1e-5)
    assert 0 <= accuracy <= 1


def test_distances_of_groups_are_those_of_their_mean_gradients(parts):
    disparities = importlib.import_module("benchmarks.reproduction.disparities")
    rng = np.random.default_rng(0)
    gradients = np.concatenate([rng.normal(size=(6, 5)), 2 + rng.normal(size=(4, 5))])
    losses = rng.exponential(size=10)
    for scale in (None, losses):
        groups = [
            gradients[at : at + 2].mean(0) / (1 if scale is None else np.std(scale[at : at + 2]))
            for at in range(0, 10, 2)
        ]
        within = [np.linalg.norm(one - two) for at, one in enumerate(groups[:3]) for two in groups[:at]]
        across = [np.linalg.norm(one - two) for one in groups[:3] for two in groups[3:]]
        found = disparities.distances(gradients @ gradients.T, 6, 2, scale)
        assert found == pytest.approx((np.mean(within), np.mean(across)))
    assert disparities.distances(gradients[:6] @ gradients[:6].T, 6, 2)[1] is None


def test_area_under_the_curve(parts):
    quality = importlib.import_module("benchmarks.mislabelled").quality
    is_it = np.array([True, True, False, False])
    assert quality(np.array([4, 3, 2, 1.0]), is_it)[0] == 1
    assert quality(np.array([1, 2, 3, 4.0]), is_it)[0] == 0
    assert quality(np.ones(4), is_it)[0] == 0.5


def test_scores_of_wrong_labels_are_told_with_intervals_over_seeds(parts):
    mislabelled = importlib.import_module("benchmarks.mislabelled")
    cells = list(mislabelled.cells(5))
    assert len(set(cells)) == len(cells) == 5 * (3 * 2 * 3 * 2 + 1)
    keys = {"dataset": "mnist", "arch": "fc", "kind": "uniform", "train": 5000, "epoch": 2}
    rows = [
        keys | {"share": share, "seed": seed, "score": score, "area": area, "precision": 0.5}
        for share, seed, score, area in (
            *((0.1, seed, "loss", value) for seed, value in enumerate((0.8, 0.9, 1.0))),
            *((0.1, seed, "length", 0.7) for seed in range(3)),
            *((0.2, seed, "loss", 0.6) for seed in range(3)),
            *((0.2, seed, "length", 0.65) for seed in range(3)),
        )
    ]
    told = mislabelled.in_markdown(pd.DataFrame(rows), "area")
    assert "mnist, fc, 5,000 examples, 3 seeds" in told
    assert "| epoch | score | uniform 10% | uniform 20% |" in told
    half = 4.303 * 0.1 / math.sqrt(3)  # Student's t with two degrees of freedom
    assert f"| 2 | loss | **0.900 ± {half:.3f}** | 0.600 ± 0.000 |" in told
    assert "| 2 | length | 0.700 ± 0.000 | **0.650 ± 0.000** |" in told
    assert told.index("| 2 | loss") < told.index("| 2 | length")


def test_the_page_shows_what_the_tables_say(parts, tmp_path, monkeypatch):
    page = importlib.import_module("benchmarks.reproduction.page")
    made = tmp_path / "page.md"
    made.write_text(page.PAGE.read_text())
    page.update(made)
    assert made.read_text() == page.PAGE.read_text()
    monkeypatch.setattr(page, "tables", lambda: {"league": ""})
    made.write_text(page.PAGE.read_text().replace("<!-- league -->", ""))
    with pytest.raises(ValueError, match="league"):
        page.update(made)
