#!/usr/bin/env python3
"""Writes the dashboards: deploy/grafana/make.py [DIRECTORY]. The panels are in panels.py; here is what all have in common.

A test looks whether the files in dashboards/ are what this writes: change panels.py, run this, commit both."""

import json
import pathlib
import sys

sys.dont_write_bytecode = True
from panels import DASHBOARDS  # noqa: E402

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Pools are named by database and user; a choice of all takes the series that have neither, too.
INSTANCE = 'instance=~"$instance"'
POOL = INSTANCE + ',database=~"$database",user=~"$user"'


def variable(name, label, query, **more):
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


VARIABLES = [
    {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {"selected": True, "text": "Prometheus", "value": "prometheus"},
    },
    variable("instance", "Instance", "label_values(pgweir_build_info, instance)"),
    variable("database", "Database", f"label_values(pgweir_pool_size{{{INSTANCE}}}, database)"),
    variable("user", "User", f'label_values(pgweir_pool_size{{{INSTANCE},database=~"$database"}}, user)'),
]


def steps(limits):
    """Green below the first limit; limits that go down are about values that should be high."""
    colors = ["green", "yellow", "red"] if len(limits) == 2 else ["green", "red"]
    if len(limits) == 2 and limits[0] > limits[1]:
        limits, colors = limits[::-1], colors[::-1]
    values = [None, *limits]
    return {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in zip(colors, values)]}


def targets(kind, queries):
    for letter, (expr, legend) in zip("ABCDEFGH", queries):
        expr = expr.replace("$POOL", POOL).replace("$INSTANCE", INSTANCE)
        target = {"refId": letter, "datasource": SOURCE, "expr": expr, "legendFormat": legend, "editorMode": "code"}
        if kind == "stat":
            target |= {"instant": True, "range": False}
        else:
            target |= {"range": True, "format": "heatmap" if kind == "heatmap" else "time_series"}
        yield target


def look(kind, unit, limits, stacked):
    """Options and fieldConfig."""
    defaults = {"unit": unit, "min": 0, "thresholds": steps(limits), "mappings": []}
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if kind == "stat":
        options = {
            "reduceOptions": reduce,
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
        }
        defaults["color"] = {"mode": "thresholds"}
    elif kind == "heatmap":
        options = {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "reverse": False, "fill": "dark-orange"},
            "cellGap": 1,
            "yAxis": {"axisPlacement": "left", "unit": unit, "reverse": False},
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": False},
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "showValue": "never",
        }
        defaults = {"custom": {"scaleDistribution": {"type": "linear"}}}
    else:
        options = {
            # Some panels have a series for each reason there is: those that are 0 come last, not by the alphabet.
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
                "sortBy": "Max",
                "sortDesc": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if limits else "off"},
        }
    return {"options": options, "fieldConfig": {"defaults": defaults, "overrides": []}}


def panels(rows):
    """Each row has the height of its panels, which share its width."""
    top = 0
    for row in rows:
        width, height = 24 // len(row), 4 if row[0].kind == "stat" else 8
        for place, panel in enumerate(row):
            yield {
                "type": panel.kind,
                "title": panel.title,
                "description": panel.description,
                "datasource": SOURCE,
                "gridPos": {"h": height, "w": width, "x": place * width, "y": top},
                "targets": list(targets(panel.kind, panel.queries)),
            } | look(panel.kind, panel.unit, panel.limits, panel.stacked)
        top += height


def dashboard(name, title, description, rows):
    link = {
        "title": "pgweir",
        "type": "dashboards",
        "tags": ["pgweir"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": f"pgweir-{name}",
        "title": f"pgweir: {title}",
        "description": description,
        "tags": ["pgweir"],
        "schemaVersion": 41,
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [link],
        "templating": {"list": VARIABLES},
        "annotations": {"list": []},
        "panels": list(panels(rows)),
    }


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "dashboards"
    for name, title, description, rows in DASHBOARDS:
        text = json.dumps(dashboard(name, title, description, rows), indent=2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


main()
