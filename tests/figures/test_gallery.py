"""The content of the gallery, from settings and a scorecard that are chosen, and its two renderings."""

from __future__ import annotations

import json
import re

import pytest
import xarray as xr

from centralflows.analysis.claims import CLAIMS, LARGER_LR
from centralflows.config import job_settings, profile
from centralflows.config.catalogue import CATALOGUE
from centralflows.config.presentation import CLAIMS_OF, HEADLINES
from centralflows.figures.gallery import as_html_page, as_markdown_page
from centralflows.figures.gallery_content import content, paragraphs
from centralflows.figures.run_description import described
from centralflows.figures.scorecard_tables import by_optimizer, tables
from centralflows.figures.templating import as_markdown

EDGE = {"statement": "It is at <2>.", "number": "distance", "relation": "<=", "threshold": 0.1}
SLOWER = {"statement": "It is slower.", "number": "ratio", "relation": ">=", "threshold": 1.0}
RATES = {"statement": "Larger is flatter.", "number": "share", "relation": ">=", "threshold": 1.0}


def entry(value, verdict, **more) -> dict:
    return {"value": value, "verdict": verdict, **more}


def card(**more) -> dict:
    return {
        "claims": {"edge": EDGE, "slower": SLOWER, "larger-lr": RATES},
        "runs": {
            "a": {"edge": entry(0.05, "holds", published=0.04), "slower": entry(1.2, "holds")},
            "b": {"edge": entry(0.1234, "fails")},
            "c": {"edge": entry(0.09, "undecided"), "slower": entry(0.9, "fails")},
            "d": {"edge": {"verdict": "not scored", "reason": "fewer than three cycles"}},
            "e": {"edge": entry(0.2, "fails")},
        },
        "cycles": {"a": 5, "f": 2},
        "unscored": ["f"],
        "learning_rates": [entry(0.5, "fails", runs=["a", "b"])],
        "misses": {"b": [{"step": s, "excess": s / 10, "length": 4} for s in (1, 4, 2, 3)]},
        "diverged": {"c": 17},
        "stopped": {"d": {"central": "it has 3 modes", "stable": "it is sharp"}},
        **more,
    }


RUNS = {
    name: {"optimizer": "Gradient descent", "problem": "MLP, 7 weights", "settings": f"lr {name}"} for name in "abcdf"
}
RUNS["e"] = {"optimizer": "RMSProp", "problem": "CNN, 9 weights", "settings": "lr 1"}


def settings(figures: dict) -> dict:
    run = {
        "dataset": {"name": "moons", "examples": 40, "test_examples": 8},
        "model": {"name": "mlp"},
        "optimizer": {"name": "gd", "lr": 0.05},
        "steps": 30,
        "processes": ["discrete", "stable", "central"],
    }
    known = profile.load({"profile": "mine", "runs": dict.fromkeys("abcdef", run), "figures": figures})
    # As jobs get them: sorted JSON, which keeps the order of lists only.
    return json.loads(json.dumps(job_settings.gallery(known, "mine.yaml"), sort_keys=True))


@pytest.fixture(scope="module")
def shown() -> dict:
    figures = {
        "zoo": {"draw": "gd-eos-zoo-vision", "runs": list("abcd")},
        "gd-eos": {"run": "b"},
        "gd-multi-unstable": {"run": "f"},
        "gd-eos-two-lrs": {"runs": ["a", "b"]},
        "gd-central-flow-multi": {"run": "a"},
        "gd-central-flow": {"run": "a"},
        "gd-loss-zoo": {"runs": ["b", "c"]},
        "precond-quadratic": {},
    }
    values = [{"figure": "gd-eos", "quantity": "sharpness", "paper": 100.0, "ours": 98.76, "ratio": 0.9876}]
    more = {
        "published_values": values,
        "claims": {**card()["claims"], "distance": EDGE, "critical": EDGE, "loss": EDGE},
    }
    more["runs"] = {**card()["runs"], "c": {**card()["runs"]["c"], "loss": entry(0.9, "fails")}}
    return content(settings(figures), card(**more), RUNS)


def figure(shown: dict, name: str) -> dict:
    return next(one for part in shown["parts"] for one in part["figures"] if one["name"] == name)


def test_every_figure_is_in_its_part_in_the_order_of_the_catalogue(shown):
    parts = {part["title"]: [one["name"] for one in part["figures"]] for part in shown["parts"]}
    assert parts == {
        "Quadratics": ["precond-quadratic"],
        "Gradient descent": [
            "gd-eos",
            "gd-eos-two-lrs",
            "zoo",
            "gd-multi-unstable",
            "gd-central-flow",
            "gd-central-flow-multi",
            "gd-loss-zoo",
        ],
    }


def test_headlines_keep_their_order_and_are_left_out_if_they_are_not_drawn(shown):
    assert [one["name"] for one in shown["headlines"]] == ["gd-central-flow", "gd-central-flow-multi"]
    assert shown["headlines"][0]["paragraph"] == HEADLINES["gd-central-flow"]
    assert HEADLINES.keys() <= CATALOGUE.keys()


def test_a_figure_counts_the_runs_that_it_shows(shown):
    (verdict,) = figure(shown, "zoo")["verdicts"]
    assert verdict["text"] == "holds in 1 of 3" and verdict["verdict"] == "mixed"
    assert verdict["others"] == [
        "fails in b (0.123)",
        "undecided in c (0.09)",
        "not scored (fewer than three cycles): d",
    ]
    (alone,) = figure(shown, "gd-eos")["verdicts"]
    assert (alone["text"], alone["others"]) == ("fails (0.123; needs at most 0.1)", [])
    (short,) = figure(shown, "gd-multi-unstable")["verdicts"]
    assert (short["text"], short["others"]) == ("not scored (2 of 3 cycles)", [])
    (lone,) = figure(shown, "gd-loss-zoo")["verdicts"]
    assert (lone["text"], lone["others"]) == ("holds in 0 of 1", ["fails in c (0.9)"])  # which of the two it is
    assert figure(shown, "precond-quadratic")["verdicts"] == []
    edge, rates = figure(shown, "gd-eos-two-lrs")["verdicts"]
    assert edge["text"] == "holds in 1 of 2"
    assert rates["text"] == "fails (0.5; needs at least 1)"
    (missing,) = figure(shown, "gd-central-flow")["verdicts"]
    assert (missing["text"], missing["verdict"]) == ("does not apply", "unscored")


def test_the_claims_of_figures_are_those_of_the_scorecard():
    made = {claim for claims in CLAIMS_OF.values() for claim in claims}
    assert made <= CLAIMS.keys() | {"larger-lr"} and CLAIMS_OF.keys() <= CATALOGUE.keys()
    assert LARGER_LR not in CLAIMS.values()


@pytest.mark.parametrize("slug", CATALOGUE)
def test_a_caption_ends_with_what_would_falsify_the_figure(slug):
    found = paragraphs((job_settings.CAPTIONS / f"{slug}.rst").read_text())
    assert len(found) >= 2 and found[-1].startswith("It would be falsified by")
    assert not any(mark in text for text in found for mark in ("{{", "\n", "\\", "``"))


def test_runs_are_grouped_by_what_they_train(shown):
    (group,) = figure(shown, "zoo")["runs"]
    assert group == {"problem": "MLP, 7 weights", "runs": {name: f"lr {name}" for name in "abcd"}}


def test_the_scorecard_is_one_table_per_optimizer():
    plain, other = tables(card(), RUNS)
    assert (plain["optimizer"], other["optimizer"]) == ("Gradient descent", "RMSProp")
    edge, slower, rates = plain["rows"]
    assert edge["held"] == "1 of 3" and edge["worst"] == "b (0.123)" and edge["threshold"] == "at most 0.1"
    assert edge["failing"] == ["b (0.123)"]
    assert edge["undecided"] == ["c (0.09)"] and edge["rest"] == ["not scored (fewer than three cycles): d"]
    assert slower["held"] == "1 of 2" and slower["worst"] == "c (0.9)"  # the smallest, of what must be large
    assert rates["claim"] == "larger-lr" and rates["failing"] == ["a, b (0.5)"]
    assert [row["claim"] for row in other["rows"]] == ["edge"]
    assert plain["claims"] == ["edge", "slower"]  # of single runs
    cells = {run["name"]: [(cell["verdict"], cell["value"]) for cell in run["cells"]] for run in plain["runs"]}
    assert plain["unscored"] == ["f (2 of 3 cycles)"] and cells["f"] == []
    assert cells["b"] == [("fails", "0.123"), ("", "")] and cells["d"] == [("unscored", "–"), ("", "")]


def test_a_measurement_with_a_limit_of_its_own_shows_it():
    run = {"edge": entry(0.2, "holds", threshold=0.25)}
    shown = content(settings({"gd-eos": {"run": "a"}}), card(runs={"a": run}), RUNS)
    (verdict,) = figure(shown, "gd-eos")["verdicts"]
    assert verdict["text"] == "holds (0.2; needs at most 0.25)"


def test_optimizers_are_in_the_order_of_the_paper():
    runs = {name: {"optimizer": name} for name in ("Adam", "RMSProp", "Scalar RMSProp", "Gradient descent")}
    assert list(by_optimizer(runs)) == ["Gradient descent", "Scalar RMSProp", "RMSProp", "Adam"]


def test_failures_are_listed_with_the_worst_first(shown):
    assert [miss["excess"] for miss in shown["misses"]] == ["40%", "30%", "20%"]
    assert shown["ends"] == [
        "c diverged at step 17; what is measured of it is measured up to there.",
        "The central flow of d stopped: it has 3 modes",
    ]


def test_the_markdown_page(shown):
    page = as_markdown_page(shown)
    assert 'src="zoo.png"' in page and "figure_zoo --configfile mine.yaml" in page
    assert "**[edge](#gradient-descent-edge)** holds in 1 of 3; fails in b (0.123)" in page
    assert "| sharpness | 100 | 98.8 | 0.988 |" in page and page.count("98.8") == 2  # at its figure, and together
    assert "| a | edge | 0.05 | 0.04 |" in page
    assert "*MLP, 7 weights*: b (lr b)." in page
    assert "at &lt;2&gt;." in page and "*Shown, not scored.*" in page
    assert anchors(page, r'<a id="([^"]+)"', r"\]\(#([^)]+)\)")


def test_the_html_page(shown):
    page = as_html_page(shown)
    assert 'href="explorer.html#run=b"' in page and "at &lt;2&gt;." in page
    assert '<td class="fails"><a href="explorer.html#run=b">0.123</a></td>' in page
    assert anchors(page, r'\bid="([^"]+)"', r'href="#([^"]+)"')


def anchors(page: str, place: str, link: str) -> bool:
    """Whether every link within a page has its place, of which there is one."""
    places, links = re.findall(place, page), set(re.findall(link, page))
    assert len(set(places)) == len(places)
    return bool(links) and links <= {*places, "scorecard"}  # a heading, which GitHub makes a place


def test_empty_profiles_have_a_page():
    nothing = {"runs": {}, "learning_rates": [], "misses": {}, "diverged": {}, "stopped": {}}
    shown = content(settings({}), card(**nothing), {})
    assert "Nowhere in this profile" in as_markdown_page(shown) and "Nowhere in this profile" in as_html_page(shown)


def test_a_run_in_words():
    config = {
        "run": {
            "model": {"name": "mlp"},
            "dataset": {"name": "cifar10", "examples": 1200},
            "optimizer": {"name": "scalar-rmsprop", "lr": 0.02, "beta2": 0.99, "bias_correction": True},
            "criterion": "cross-entropy",
            "seed": 2,
            "start": {"run": "other"},
        }
    }
    sizes = {"loss": ("step", [0.0] * 1500), "weights": (("saved_step", "parameter"), [[0.0] * 2345])}
    assert described({"discrete": xr.Dataset(sizes, attrs={"config": json.dumps(config)})}) == {
        "optimizer": "Scalar RMSProp",
        "problem": "MLP, 2,345 weights, 1,200 images",
        "settings": "cross-entropy, lr 0.02, beta2 0.99, bias correction, seed 2, 1,500 steps, from a state of other",
    }
    own = {
        "run": {"model": {"name": "mine:Wave"}, "dataset": {"name": "mine:data"}, "optimizer": {"name": "mine:Sign"}}
    }
    run = {"discrete": xr.Dataset(sizes, attrs={"config": json.dumps(own), "optimizer_name": "Sign"})}
    assert described(run) == {
        "optimizer": "Sign",
        "problem": "Wave, 2,345 weights",
        "settings": "learning rate, 1,500 steps",
    }


def test_plain_text_stays_plain_in_markdown():
    assert as_markdown("|g|^2 <= a*b_c [1]") == r"\|g\|^2 &lt;= a\*b\_c \[1\]"
