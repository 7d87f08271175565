"""The description of a finished profile for others."""


rule crate:
    """Describe the whole profile as a Workflow Run RO-Crate. Not part of the default target."""
    input:
        FIGURES,
        **recorded(card=f"{RESULTS}/scorecard.json"),
        manifests=[
            *(f"{DRAWN}/{slug}.manifest.json" for slug in CONFIG.figures),
            rules.scorecard.output.manifest,
            rules.scorecard.output.figure_manifest,
            rules.gallery.output.manifest,
            rules.gallery.output.html_manifest,
            rules.explorer.output.manifest,
            rules.explorer.output.runs_manifest,
        ],
    output:
        metadata=f"{RESULTS}/ro-crate-metadata.json",
        copies=directory(f"{RESULTS}/ro_crate"),
        manifest=f"{RESULTS}/ro-crate-metadata.json.manifest.json",
    log:
        f"{LOGS}/crate.log",
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json(
            {"profile": CONFIG.profile, "configfile": str(configfile_name())}
        ),
        source=source("crate"),
    script:
        "../scripts/crate.py"
