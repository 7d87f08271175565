"""Analysis of stored trajectories."""

SCORED = settings.scorecard(CONFIG)


rule analysis:
    """Time averages of the discrete run, and how the flows compare with them."""
    input:
        unpack(trajectories_of),
    output:
        analysis=directory(f"{RESULTS}/{{run}}/analysis.zarr"),
        seal=f"{RESULTS}/{{run}}/analysis.zarr.seal.json",
    log:
        f"{LOGS}/{{run}}/analysis.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=lambda wildcards: sorted_json(settings.analysis(CONFIG.runs[wildcards.run])),
        source=source_digest("workflow/scripts/analysis.py"),
    script:
        "../scripts/analysis.py"


rule scorecard:
    """The paper's claims, measured in every run."""
    input:
        **stores_of(SCORED["stores"]),
    output:
        card=f"{RESULTS}/scorecard.json",
        seal=f"{RESULTS}/scorecard.json.seal.json",
        svg=report(
            f"{DRAWN}/scorecard.svg",
            caption="../report/scorecard.rst",
            category="Scorecard",
            labels={"figure": "scorecard", "claim": "which claims hold in which run"},
        ),
        png=f"{DRAWN}/scorecard.png",
        figure_seal=f"{DRAWN}/scorecard.seal.json",
    log:
        f"{LOGS}/scorecard.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json(SCORED),
        source=source_digest("workflow/scripts/scorecard.py"),
    script:
        "../scripts/scorecard.py"
