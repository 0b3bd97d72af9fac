"""Reports as a page of plots that needs no network and can be read in light and dark."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aios_lab.allocation.simulation.report import Report

if TYPE_CHECKING:
    import plotly.graph_objects as go

SHOWN_USERS = 8
# Told apart also by people who do not see all colours (Okabe and Ito 2008), on white and on black.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#a6761d", "#7570b3")
_REST = "#8c8c8c"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em;
  color: #1b1b1b; background: #fff; }}
pre {{ overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6e6e6; background: #161616; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<pre>{table}</pre>
{plots}
<script>
const dark = matchMedia('(prefers-color-scheme: dark)');
function paint() {{
  const [ink, grid] = dark.matches ? ['#e6e6e6', '#3c3c3c'] : ['#1b1b1b', '#dcdcdc'];
  for (const plot of document.querySelectorAll('.plotly-graph-div')) {{
    Plotly.relayout(plot, {{
      'font.color': ink, 'xaxis.gridcolor': grid, 'yaxis.gridcolor': grid,
      'xaxis.zerolinecolor': grid, 'yaxis.zerolinecolor': grid
    }});
  }}
}}
dark.addEventListener('change', paint);
paint();
</script>
</body>
</html>
"""


def page(reports: Mapping[str, Report], table: str, title: str) -> str:
    """A whole HTML page, scripts and all: how long jobs waited, how much that slowed them down, and what was
    in use and who had it over time, by policy. ``table`` stands above the plots."""
    figures = [waits(reports), slowdowns(reports), use(reports)]
    figures += [shares(policy, one) for policy, one in reports.items()]
    plots = [
        figure.to_html(full_html=False, include_plotlyjs=not place, config={"displaylogo": False})
        for place, figure in enumerate(figures)
    ]
    return _PAGE.format(title=html.escape(title), table=html.escape(table), plots="\n".join(plots))


def waits(reports: Mapping[str, Report]) -> go.Figure:
    """The part of the jobs that waited no longer than so many seconds, by policy."""
    figure = _figure("How long jobs waited", "wait, seconds (less than 1 counts as 1)", "part of the jobs")
    for colour, (policy, one) in _coloured(reports):
        parts = [place / (len(one.waits) - 1) for place in range(len(one.waits))]
        figure.add_scatter(
            x=[max(1.0, wait) for wait in one.waits],
            y=parts,
            name=policy,
            mode="lines",
            line={"color": colour, "shape": "hv"},
        )
    figure.update_xaxes(type="log")
    return _in_parts(figure)


def slowdowns(reports: Mapping[str, Report]) -> go.Figure:
    """Mean, median and 99th percentile of the bounded slowdown, by policy."""
    figure = _figure("How much waiting slowed jobs down", "", "bounded slowdown (1: not at all)")
    for colour, (policy, one) in _coloured(reports):
        figures = one.bounded_slowdown
        figure.add_bar(
            x=["mean", "median", "99th percentile"],
            y=[figures.mean, figures.p50, figures.p99],
            name=policy,
            marker={"color": colour},
        )
    figure.update_yaxes(type="log")
    return figure


def use(reports: Mapping[str, Report]) -> go.Figure:
    """The part of the cluster that was in use over time, of the resource of which most was, by policy."""
    figure = _figure("What was in use", "hours since the first job came", "part of the cluster")
    for colour, (policy, one) in _coloured(reports):
        busiest = max(one.utilisation, key=lambda name: one.utilisation[name], default=None)
        if busiest is not None:
            figure.add_scatter(
                x=_hours(one),
                y=[*one.in_use[busiest], one.in_use[busiest][-1]],
                name=f"{policy}, {busiest}",
                mode="lines",
                line={"color": colour, "shape": "hv"},
            )
    return _in_parts(figure)


def shares(policy: str, one: Report) -> go.Figure:
    """Who had which share of the cluster over time under one policy; those who had most by their names."""
    figure = _figure(f"Who had how much: {policy}", "hours since the first job came", "dominant share")
    most = sorted(one.shares, key=lambda user: (-sum(one.shares[user]), user))
    rest = [sum(column) for column in zip(*(one.shares[user] for user in most[SHOWN_USERS:]), strict=True)]
    rows: list[tuple[str, str, Any]] = [
        (user or "unknown", colour, one.shares[user])
        for user, colour in zip(most[:SHOWN_USERS], (c for c in COLOURS if c != _REST), strict=False)
    ]
    if rest:
        rows.append((f"{len(most) - SHOWN_USERS} others", _REST, rest))
    for user, colour, parts in rows:
        figure.add_scatter(
            x=_hours(one),
            y=[*parts, parts[-1]],
            name=user,
            mode="lines",
            line={"color": colour, "shape": "hv", "width": 0.5},
            stackgroup="users",
        )
    return _in_parts(figure)


def _figure(title: str, x: str, y: str) -> go.Figure:
    import plotly.graph_objects as go

    clear = "rgba(0,0,0,0)"
    return go.Figure(
        layout={
            "title": title,
            "xaxis": {"title": x},
            "yaxis": {"title": y},
            "template": "none",
            "paper_bgcolor": clear,
            "plot_bgcolor": clear,
            # Until the page's script knows whether it is light or dark.
            "font": {"color": "#808080"},
            "showlegend": True,
        }
    )


def _in_parts(figure: go.Figure) -> go.Figure:
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def _hours(one: Report) -> list[float]:
    return [seconds / 3600 for seconds in one.times]


def _coloured(reports: Mapping[str, Report]) -> list[tuple[str, tuple[str, Report]]]:
    return [(COLOURS[place % len(COLOURS)], item) for place, item in enumerate(reports.items())]
