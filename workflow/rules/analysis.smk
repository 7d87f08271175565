"""Analysis of stored trajectories, and the scorecard."""

SCORED = job_settings.scorecard(CONFIG)


rule analysis:
    """Compute time averages of the discrete run, and compare the flows with them."""
    input:
        unpack(trajectories_of),
    output:
        analysis=directory(f"{RESULTS}/{{run}}/analysis.zarr"),
        manifest=f"{RESULTS}/{{run}}/analysis.zarr.manifest.json",
    log:
        f"{LOGS}/{{run}}/analysis.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=lambda wildcards: sorted_json(
            job_settings.analysis(CONFIG.runs[wildcards.run])
        ),
        source=source("analysis"),
    script:
        "../scripts/analysis.py"


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
