"""The scorecard of all runs. A figure analyses the runs that it shows, in a hundredth of a second."""

SCORED = job_settings.scorecard(CONFIG)


rule scorecard:
    """Measure the paper's claims in every run."""
    input:
        **stores_of(SCORED["stores"]),
    output:
        card=f"{RESULTS}/scorecard.json",
        manifest=f"{RESULTS}/scorecard.json.manifest.json",
        svg=report(
            f"{DRAWN}/scorecard.svg",
            caption="../report/scorecard.rst",
            category="Scorecard",
            labels={"figure": "scorecard", "claim": "which claims hold in which run"},
        ),
        png=f"{DRAWN}/scorecard.png",
        figure_manifest=f"{DRAWN}/scorecard.manifest.json",
    log:
        f"{LOGS}/scorecard.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json(SCORED),
        source=source("scorecard"),
    script:
        "../scripts/scorecard.py"
