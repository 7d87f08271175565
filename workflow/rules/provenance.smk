"""What a finished profile says of itself to others."""


rule crate:
    """The whole profile as a Workflow Run RO-Crate; made only when asked for."""
    input:
        ANALYSES,
        FIGURES,
        **sealed(card=f"{RESULTS}/scorecard.json"),
        seals=[
            *(f"{analysis}.seal.json" for analysis in ANALYSES),
            *(f"{DRAWN}/{slug}.seal.json" for slug in CONFIG.figures),
            rules.scorecard.output.seal,
            rules.scorecard.output.figure_seal,
            rules.gallery.output.seal,
        ],
    output:
        metadata=f"{RESULTS}/ro-crate-metadata.json",
        copies=directory(f"{RESULTS}/ro_crate"),
        seal=f"{RESULTS}/ro-crate-metadata.json.seal.json",
    log:
        f"{LOGS}/crate.log",
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json(
            {"profile": CONFIG.profile, "configfile": str(configfile_name())}
        ),
        source=source_digest("workflow/scripts/crate.py"),
    script:
        "../scripts/crate.py"
