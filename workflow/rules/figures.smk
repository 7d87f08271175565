"""Figures: one rule each, so that each has its own target and caption; animations; the gallery."""

from centralflows.figures import captions

for slug in CONFIG.figures:

    rule:
        name:
            f"figure_{slug.replace('-', '_')}"
        input:
            **figure_inputs(slug),
        output:
            svg=report(
                f"{DRAWN}/{slug}.svg",
                caption=f"../report/{CONFIG.figures[slug].draw or slug}.rst",
                category=drawing(slug).category,
                labels={"figure": slug, "claim": drawing(slug).claim},
            ),
            png=f"{DRAWN}/{slug}.png",
            manifest=f"{DRAWN}/{slug}.manifest.json",
        log:
            f"{LOGS}/figures/{slug}.log",
        localrule: True
        conda:
            "../../envs/environment.yaml"
        params:
            cfg=sorted_json(job_settings.figure(CONFIG, slug)),
            about=captions.about(CONFIG, slug),
            source=source("figure", job_settings.figure(CONFIG, slug)),
        script:
            "../scripts/figure.py"


ANIMATED = [slug for slug in CONFIG.figures if drawing(slug).film]

# Not part of the default target: `snakemake --cores all animations`.
for slug in ANIMATED:

    rule:
        name:
            f"animation_{slug.replace('-', '_')}"
        input:
            **figure_inputs(slug),
        output:
            gif=f"{DRAWN}/{slug}.gif",
            manifest=f"{DRAWN}/{slug}.gif.manifest.json",
        log:
            f"{LOGS}/figures/{slug}.gif.log",
        localrule: True
        conda:
            "../../envs/environment.yaml"
        params:
            cfg=sorted_json(job_settings.figure(CONFIG, slug)),
            source=source("animation", job_settings.figure(CONFIG, slug)),
        script:
            "../scripts/animation.py"


rule animations:
    """Draw the figures that move, as GIFs."""
    input:
        expand(f"{DRAWN}/{{slug}}.gif", slug=ANIMATED),


rule gallery:
    """Write a page with every figure, its claim and its command, and the scorecard."""
    input:
        FIGURES,
        **recorded(card=f"{RESULTS}/scorecard.json"),
    output:
        page=f"{DRAWN}/README.md",
        manifest=f"{DRAWN}/README.md.manifest.json",
    log:
        f"{LOGS}/gallery.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json(job_settings.gallery(CONFIG, str(configfile_name()))),
        source=source("gallery"),
    script:
        "../scripts/gallery.py"
