"""Central flows: dataset -> discrete training -> flow integration -> analysis -> figures.

The configuration is config/config.yaml unless another is given (`--configfile config/smoke.yaml`).
"""

from snakemake.utils import min_version

min_version("9.0")


# Snakemake merges configuration files, and runs of one profile must not leak into another: a file given on the
# command line replaces the default one.
if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/config.smk"
include: "workflow/rules/stores.smk"
include: "workflow/rules/calls.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/discrete.smk"
include: "workflow/rules/flow.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/numerics.smk"
include: "workflow/rules/benchmark.smk"


rule all:
    default_target: True
    input:
        FIGURES,
        rules.scorecard.output,
        rules.gallery.output,
        rules.explorer.output,
