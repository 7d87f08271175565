"""What each job depends on, and what it does not."""

from __future__ import annotations

import json

import pytest

from centralflows.config import job_settings
from centralflows.config.profile import ProfileConfig, load

POINTS = {"name": "moons", "examples": 40, "test_examples": 8}
RUN = {"dataset": POINTS, "model": {"name": "mlp"}, "optimizer": {"name": "rmsprop", "lr": 0.01}, "steps": 30}


def profile(name: str = "x", figures: dict | None = None, **changes) -> ProfileConfig:
    """Run a, with changes, and run b, which starts from it and so learns the same."""
    same = {key: changes[key] for key in ("dataset", "model") if key in changes}
    later = RUN | same | {"start": {"run": "a", "step": 10}}
    return load({"profile": name, "runs": {"a": RUN | changes, "b": later}, "figures": figures or {}})


# A change, and the processes of run a that depend on it.
CHANGES = [
    ({"steps": 31}, {"discrete", "stable", "central", "ablated", "stationary", "stationary-ablated", "speeds"}),
    ({"stable": {"substeps": 4}}, {"stable"}),
    ({"central": {"substeps": 5}}, {"central", "ablated"}),
    ({"stationary": {"substeps": 3}}, {"stationary", "stationary-ablated", "speeds"}),
    ({"accuracy_every": 7}, {"discrete", "stable", "central", "ablated", "stationary", "stationary-ablated"}),
    ({"stationary_every": 5}, {"speeds"}),
    ({"average_width": 5}, set()),
    ({"processes": ["discrete", "ablated"]}, set()),
]


def of(process: str, known: ProfileConfig) -> job_settings.Settings:
    return job_settings.speeds(known, "a") if process == "speeds" else job_settings.trajectory(known, "a", process)


@pytest.mark.parametrize(("change", "again"), CHANGES)
def test_a_process_depends_on_its_own_settings(change, again):
    before, after = profile(), profile(**change)
    assert {process for process in CHANGES[0][1] if of(process, before) != of(process, after)} == again


def test_a_discrete_run_depends_on_the_one_that_it_starts_from():
    before, after = profile(), profile(warm_start=3)
    assert job_settings.trajectory(before, "b", "discrete") != job_settings.trajectory(after, "b", "discrete")
    assert job_settings.trajectory(before, "b", "central") == job_settings.trajectory(
        after, "b", "central"
    )  # but by its stores


def test_runs_that_learn_the_same_have_one_dataset():
    runs, other = profile().runs, profile(dataset=POINTS | {"examples": 42}).runs["a"]
    assert (
        job_settings.dataset_name(runs["a"]) == job_settings.dataset_name(runs["b"]) != job_settings.dataset_name(other)
    )
    assert job_settings.dataset(runs["a"]) == {
        "dataset": runs["a"].dataset.model_dump(mode="json"),
        "plugins": {},
        "code": ["centralflows.problems.data.point_clouds:moons"],
    }


def test_two_folders_are_two_datasets_of_the_same_settings():
    words = {"name": "sst2", "examples": 10, "test_examples": 4}
    one, other = (
        profile(dataset=words | {"path": path}, model={"name": "transformer"}).runs["a"] for path in ("here", "there")
    )
    assert job_settings.dataset(one) == job_settings.dataset(other)
    assert job_settings.dataset_name(one) != job_settings.dataset_name(other)


def test_code_of_a_plugin_counts_where_it_is_used(mine):
    found = []
    for body in ("return 1", "return 1  # a comment", "return 2"):
        mine.write_text(f"def rule():\n    {body}\n")
        job_settings._code.cache_clear()
        known = profile(optimizer={"name": "mine:rule", "lr": 0.1})
        found.append(job_settings.trajectory(known, "a", "discrete")["plugins"])
        assert job_settings.dataset(known.runs["a"])["plugins"] == {}
    assert list(found[0]) == ["mine:rule"] and found[0] == found[1] != found[2]


def test_a_figure_depends_on_the_widths_of_the_averages_that_it_shows():
    figures = {"rmsprop-gradsq-prediction": {"run": "a"}, "rmsprop-eos": {"run": "a"}}
    narrow, wide = (profile(figures=figures, coordinates=2, average_width=width) for width in (7, 8))
    averages = job_settings.figure(narrow, "rmsprop-gradsq-prediction")
    assert averages["stores"] == ["discrete", "midpoint", "central"] and averages["widths"] == {"a": 7}
    assert job_settings.figure(wide, "rmsprop-gradsq-prediction")["widths"] == {"a": 8}
    assert job_settings.figure(narrow, "rmsprop-eos") == job_settings.figure(wide, "rmsprop-eos")


def test_what_is_measured():
    known = profile(processes=["discrete", "central", "stationary"], stationary_every=5)
    assert job_settings.scorecard(known)["stores"]["a"] == ["discrete", "midpoint", "central", "stationary", "speeds"]
    assert "speeds" not in job_settings.scorecard(known)["stores"]["b"]
    assert job_settings.scorecard(known)["published"]["runs"] == {}
    assert (
        job_settings.scorecard(profile("paper"))["published"]["runs"]
        == json.loads(job_settings.PUBLISHED.read_text())["runs"]
    )


def test_the_gallery_shows_how_each_profile_is_called():
    figures = {"rmsprop-eos": {"run": "b"}, "mine": {"draw": "rmsprop-eos", "run": "a"}}
    page = job_settings.gallery(profile(figures=figures), "some/x.yaml")
    assert [(each["name"], each["slug"], each["runs"]) for each in page["figures"]] == [
        ("rmsprop-eos", "rmsprop-eos", ["b"]),
        ("mine", "rmsprop-eos", ["a"]),
    ]
    assert page["command"] == " --configfile some/x.yaml"
    assert job_settings.gallery(profile("default"), "config/config.yaml")["command"] == ""
