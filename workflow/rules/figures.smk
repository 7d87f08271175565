"""Figures: one rule each, so that each has its own target and caption; films; the explorer; the gallery."""

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


for slug in FILMED:

    rule:
        name:
            f"film_{slug.replace('-', '_')}"
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
            source=source("film", job_settings.figure(CONFIG, slug)),
        script:
            "../scripts/film.py"


rule explorer:
    """Write a page that shows every run interactively, and what each run is in words."""
    input:
        **stores_of(job_settings.explorer(CONFIG)["stores"]),
        **recorded(card=f"{RESULTS}/scorecard.json"),
    output:
        page=f"{DRAWN}/explorer.html",
        manifest=f"{DRAWN}/explorer.html.manifest.json",
        runs=f"{RESULTS}/runs.json",
        runs_manifest=f"{RESULTS}/runs.json.manifest.json",
    log:
        f"{LOGS}/explorer.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json(job_settings.explorer(CONFIG)),
        source=source("explorer"),
    script:
        "../scripts/explorer.py"


rule gallery:
    """Write two pages, in Markdown and HTML, of all figures with claims, captions and commands, and of the scorecard."""
    input:
        FIGURES,
        FILMS,
        **recorded(card=f"{RESULTS}/scorecard.json", runs=f"{RESULTS}/runs.json"),
    output:
        markdown=f"{DRAWN}/README.md",
        manifest=f"{DRAWN}/README.md.manifest.json",
        html=f"{DRAWN}/index.html",
        html_manifest=f"{DRAWN}/index.html.manifest.json",
    log:
        f"{LOGS}/gallery.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        # A function, because captions hold braces, in which Snakemake would look for wildcards.
        cfg=lambda wildcards: sorted_json(
            job_settings.gallery(CONFIG, str(configfile_name()))
        ),
        source=source("gallery"),
    script:
        "../scripts/gallery.py"
