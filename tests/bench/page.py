"""The report as one page that needs nothing else: what was measured where, and for each work its bars and its numbers."""
import html
import statistics

from rounds import median, ratios

LABEL_WIDTH, BAR_WIDTH, VALUE_WIDTH, ROW_HEIGHT = 190, 250, 120, 25
MOST_RATIO = 4.0   # a longer bar is cut off, and says so

STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfa; --ink: #1d2430; --faint: #6b7482; --line: #dde1e6; --own: #0b7a6b; --other: #a9b4c2;
  --reference: #1d2430; --card: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --ink: #e6e9ee; --faint: #97a1af; --line: #2c323b; --own: #35b8a3;
  --other: #56616f; --reference: #e6e9ee; --card: #1a1e25; } }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 1240px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; letter-spacing: -.02em; } h2 { font-size: 1.1rem; margin: 0 0 .2rem; }
p { margin: .2rem 0 .6rem; } .faint, .how, figcaption, dt { color: var(--faint); } .how, figcaption { font-size: .86rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0 1.5rem; font-size: .9rem; } dd { margin: 0; }
nav { margin-bottom: 1.5rem; font-size: .88rem; } nav a { color: var(--own); margin-right: .9rem; display: inline-block; text-decoration: none; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 540px), 1fr)); gap: 1.1rem; align-items: start; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.2rem; min-width: 0; }
figure { margin: .3rem 0; } svg { width: 100%; height: auto; display: block; } text { fill: var(--ink); font-size: 13px; }
text.faint { fill: var(--faint); font-size: 11px; } .own { fill: var(--own); } .other { fill: var(--other); }
.reference { stroke: var(--reference); stroke-dasharray: 3 3; } .spread { stroke: var(--ink); stroke-width: 1.5; opacity: .6; }
details { font-size: .85rem; } summary { cursor: pointer; color: var(--faint); } table { border-collapse: collapse; width: 100%; margin-top: .4rem; }
th, td { text-align: right; padding: .15rem .4rem; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 500; color: var(--faint); }
"""


def number(value):
    if value >= 1e6:
        return f"{value / 1e6:,.2f} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def is_own(name):
    return name.startswith("tulp") or "<tulp" in name


def bars(runs, measure, unit):
    """One bar a contender, as long as its ratio to the reference, the first one; the thin line is the rounds' spread."""
    reference = next(iter(runs.values()))
    rows = [(name, ratios(own, reference, measure), median(own, measure)) for name, own in runs.items()]
    longest = min(MOST_RATIO, max(1.5, *(statistics.median(all_ratios) * 1.05 for _, all_ratios, _ in rows)))
    width, height = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH, ROW_HEIGHT * len(rows) + 24

    def at(ratio):
        return LABEL_WIDTH + BAR_WIDTH * min(ratio, longest) / longest
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Ratios, in {html.escape(unit)}">']
    for index, (name, all_ratios, value) in enumerate(rows):
        ratio, top = statistics.median(all_ratios), index * ROW_HEIGHT + 4
        middle = top + 9
        kind = "own" if is_own(name) else "other"
        weight = 600 if kind == "own" else 400
        parts.append(f'<text x="{LABEL_WIDTH - 8}" y="{middle + 5}" text-anchor="end" font-weight="{weight}">'
                     f'{html.escape(name)}</text>')
        parts.append(f'<rect class="{kind}" x="{LABEL_WIDTH}" y="{top}" width="{at(ratio) - LABEL_WIDTH:.1f}" height="18" rx="2"/>')
        if len(all_ratios) > 1 and max(all_ratios) > min(all_ratios):
            parts.append(f'<line class="spread" x1="{at(min(all_ratios)):.1f}" x2="{at(max(all_ratios)):.1f}" y1="{middle}" y2="{middle}"/>')
        arrow = " →" if ratio > longest else ""
        parts.append(f'<text x="{width - VALUE_WIDTH + 10}" y="{middle + 5}"><tspan font-weight="600">{ratio:.2f}{arrow}</tspan>'
                     f'<tspan class="faint" dx="6" fill="var(--faint)">{number(value)}</tspan></text>')
    parts.append(f'<line class="reference" x1="{at(1):.1f}" x2="{at(1):.1f}" y1="0" y2="{height - 20}"/>'
                 f'<text class="faint" x="{at(1):.1f}" y="{height - 6}" text-anchor="middle">1.00</text></svg>')
    return "".join(parts)


def table(runs, charts):
    headings = "".join(f"<th>{html.escape(unit)}</th><th>ratio</th><th>least</th><th>most</th>" for _, unit in charts)
    reference = next(iter(runs.values()))
    rows = []
    for name, own in runs.items():
        cells = ""
        for measure, _ in charts:
            all_ratios = ratios(own, reference, measure)
            cells += f"<td>{number(median(own, measure))}</td>" + "".join(
                f"<td>{value:.2f}</td>" for value in (statistics.median(all_ratios), min(all_ratios), max(all_ratios)))
        if "server_cpu_share" in own[0]:
            cells += f"<td>{number(median(own, 'messages_per_s'))}</td><td>{median(own, 'server_cpu_share'):.0%}</td>"
        rows.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    more = "<th>per s</th><th>server busy</th>" if "server_cpu_share" in reference[0] else ""
    return f"<table><tr><th></th>{headings}{more}</tr>{''.join(rows)}</table>"


def section(work, runs):
    figures = "".join(f"<figure>{bars(runs, measure, unit)}<figcaption>{html.escape(unit)}: ratio, and median</figcaption></figure>"
                      for measure, unit in work.charts)
    count = len(next(iter(runs.values())))
    return (f'<section id="{work.name}"><h2>{html.escape(work.title)}</h2><p class="how">{html.escape(work.how)}</p>{figures}'
            f'<details><summary>Numbers: medians of {count} round{"s" if count > 1 else ""}</summary>{table(runs, work.charts)}</details></section>')


def make_page(facts, results, left_out):
    """`facts` is {what: that}, `results` a list of works and their runs, `left_out` of what is not there and why."""
    described = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in facts.items())
    links = " ".join(f'<a href="#{work.name}">{html.escape(work.title)}</a>' for work, _ in results)
    missing = "".join(f"<p class='faint'>Left out: {html.escape(what)} ({html.escape(reason)})</p>" for what, reason in left_out)
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>tulp beside others</title><style>{STYLE}</style></head><body><h1>tulp beside others</h1>"
            "<p class='faint'>Shorter bars are better. Programs take turns; a ratio is taken within its round, a bar is the rounds' median, "
            "and the thin line in it reaches from the least to the greatest.</p>"
            f"<dl>{described}</dl><nav>{links}</nav><main>{''.join(section(*result) for result in results)}</main>{missing}</body></html>\n")
