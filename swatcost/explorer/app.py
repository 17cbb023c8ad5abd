"""The page: controls beside their results, laid out and wired with Dash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dash import Dash, Input, Output, dcc, html, no_update
from dash.exceptions import PreventUpdate

from swatcost.common.errors import SwatcostError
from swatcost.estimate import Estimate
from swatcost.explorer.controls import EXPLORING, Control, Controls, answered, controls_from
from swatcost.explorer.requests import refuse_malformed
from swatcost.network import Network
from swatcost.page import CHARTS, charts, key_figures, style
from swatcost.report import estimate as content
from swatcost.report.numbers import held_together
from swatcost.report.sheet import Table
from swatcost.setting import command_line

if TYPE_CHECKING:
    from flask import Response

_FIRST = ("weights", "acts", "grads", "period", "batch_size", "method", "distribution", "convention", "device")
"""The controls that are always shown; the others unfold."""

_SLIDERS: dict[str, Callable[[Any], str]] = {"sparsity": lambda value: f"{100 * value:.4g} %", "count": "{:,}".format}
"""How the value of a slider is written, by its kind."""

_WORDS: dict[Any, str] = {True: "yes", False: "no"}
_FINEST = 0.01  # a slider's step of sparsity [-]
_LARGEST = 0.99
_MARKS = (0, 0.25, 0.5, 0.75, 0.9)
_CONFIG: Any = {"displaylogo": False, "responsive": True, "modeBarButtons": [["toImage"]]}
_POLICY = (  # nothing is asked of other machines, and no other page holds this one in a frame
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'none'"
)
_EMPTY: dict[str, Any] = {"data": [], "layout": {}}


def explorer(network: Network, settings: Mapping[str, Any], *, model: Sequence[str]) -> Dash:
    """The page as an application that starts from settings of `estimate`.

    model is how a command line names the network, with the options that load it. Raises SwatcostError where what it
    starts from cannot be estimated.
    """
    controls = controls_from(settings)
    if reason := answered(network, controls, controls.values(controls.sent)).reason:
        raise SwatcostError(reason)
    app = Dash(
        "swatcost.explorer",
        title=f"{network.name}: explore what it costs to train",
        update_title="",
        assets_folder="no-assets",  # the package's own folder would be served otherwise
        serve_locally=True,
        compress=False,
        add_log_handler=False,
        enable_mcp=False,
    )
    app.index_string = _frame(style() + files("swatcost.explorer").joinpath("explorer.css").read_text(encoding="utf-8"))
    app.layout = html.Div([_header(network), html.Div([_controls(controls), _results()], className="explorer")])

    @app.callback(
        Output("reason", "children"),
        Output("results", "className"),
        Output("summary", "children"),
        Output("details", "children"),
        *(Output(f"said-{each.name}", "children") for each in controls.each if each.kind in _SLIDERS),
        *(Output(f"words-{name}", "children") for name in CHARTS),
        *(Output(f"plot-{name}", "figure") for name in CHARTS),
        *(Output(f"chart-{name}", "hidden") for name in CHARTS),
        *(Input(each.name, "value") for each in controls.each),
    )
    def update(*sent: Any) -> tuple[Any, ...]:
        return answer(network, controls, sent, model=model)

    def keep_at_home(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    app.server.after_request(keep_at_home)
    refuse_malformed(app, [each.name for each in controls.each])
    return app


def answer(network: Network, controls: Controls, sent: Sequence[Any], *, model: Sequence[str]) -> tuple[Any, ...]:
    """What the page shows for what it sent, a value for each control in order.

    In order: the reason why there is nothing new, the class of the results, summary, details, the sliders' values,
    the figures' titles, the figures, and which of them are hidden. Without an estimate the last valid one stays, marked
    as such. Values that no control can have are not answered.
    """
    try:
        values = controls.values(sent)
        said = [_SLIDERS[each.kind](values[each.name]) for each in controls.each if each.kind in _SLIDERS]
    except (TypeError, ValueError, LookupError, OverflowError):
        raise PreventUpdate from None
    found = answered(network, controls, values)
    if found.estimate is None:
        kept = f"{found.reason}. Shown is the last valid estimate."
        return (kept, "stale", no_update, no_update, *said, *[no_update] * 3 * len(CHARTS))
    drawn = {chart.name: chart for chart in charts(found.estimate)}
    return (
        "",
        "",
        _summary(found.estimate, command_line(model, found.estimate.setting)),
        _details(found.estimate),
        *said,
        *(_words(drawn[name].title, drawn[name].caption) if name in drawn else no_update for name in CHARTS),
        *(drawn[name].figure if name in drawn else _EMPTY for name in CHARTS),
        *(name not in drawn for name in CHARTS),
    )


def _header(network: Network) -> html.Header:
    return html.Header([html.H1(f"{network.name}: explore what it costs to train"), html.P(content.title(network))])


def _controls(controls: Controls) -> html.Section:
    first = [_control(each) for each in controls.each if each.name in _FIRST]
    more = [_control(each) for each in controls.each if each.name not in _FIRST]
    title, hint = (
        html.H2("Settings", className="unseen"),
        html.P("Sparsities are fractions of zeros; 0 is dense."),
    )
    return html.Section([title, hint, *first, html.Details([html.Summary("More"), *more])], className="controls")


def _control(control: Control) -> html.Div:
    """A slider with its value beside its name, or a list."""
    label: Any = control.label
    if control.kind in _SLIDERS:
        label = [f"{control.label}: ", html.Output(id=f"said-{control.name}")]
        scale: dict[str, Any] = (
            {"max": _LARGEST, "step": _FINEST, "marks": {each: f"{each:g}" for each in _MARKS}}
            if control.kind == "sparsity"
            else {"max": len(control.offered) - 1, "step": 1, "marks": _decades(control.offered)}
        )
        moved: Any = dcc.Slider(
            id=control.name, min=0, updatemode="drag", allow_direct_input=False, value=control.sent, **scale
        )
    else:
        options = [
            {"label": _WORDS.get(each, str(each)), "value": each} for each in control.offered if each is not None
        ]
        clearable = None in control.offered
        moved = dcc.Dropdown(
            options, control.start, id=control.name, clearable=clearable, searchable=False,
            placeholder=EXPLORING.options[control.name].default_is,
        )  # fmt: skip
    named: dict[str, Any] = {"role": "group", "aria-labelledby": f"label-{control.name}"}
    return html.Div([html.Label(label, id=f"label-{control.name}"), moved], **named)


def _decades(counts: Sequence[int]) -> dict[int, str]:
    """Marks of a slider over these counts: at the powers of ten."""
    powers = {1: "1", 10: "10", 100: "100", 1000: "1k", 10_000: "10k", 100_000: "100k", 1_000_000: "1M"}
    return {place: powers[count] for place, count in enumerate(counts) if count in powers}


def _results() -> html.Main:
    plots = [
        html.Div(
            [
                html.Div(_words(title, caption), id=f"words-{name}"),
                dcc.Graph(id=f"plot-{name}", className="plot", config=_CONFIG),
            ],
            id=f"chart-{name}",
            className="chart",
            hidden=True,
        )
        for name, (title, caption) in CHARTS.items()
    ]
    return html.Main(
        [
            html.P(id="reason", role="status"),
            html.Div([html.Section(id="summary"), html.Section(plots), html.Section(id="details")], id="results"),
        ]
    )


def _words(title: str, caption: str) -> list[Any]:
    return [html.H3(title), html.P(caption, className="setting")]


def _summary(estimate: Estimate, command: str) -> list[Any]:
    figures = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in key_figures(estimate)]
    return [
        html.P(held_together(content.headline(estimate)), className="headline", id="headline"),
        html.Dl(figures, className="figures"),
        html.P(
            [held_together(content.setting(estimate)), html.Br(), html.Code(command, id="command")], className="setting"
        ),
    ]


def _details(estimate: Estimate) -> list[Any]:
    return [
        html.Div(
            [html.Div(_lay_out(table), className="box") for table in content.tables(estimate)], className="tables"
        ),
        html.H3("Assumptions"),
        html.Ul([html.Li(held_together(note)) for note in content.notes(estimate)]),
    ]


def _lay_out(table: Table) -> html.Table:
    def row(kind: Any, cells: list[str]) -> html.Tr:
        return html.Tr([kind(cell, className=side) for cell, side in zip(cells, table.alignment, strict=True)])

    body = html.Tbody([row(html.Td, cells) for cells in table.rows])
    return html.Table([html.Thead(row(html.Th, table.header)), body], className="plain")


def _frame(css: str) -> str:
    """The document around the page, which Dash fills in at {%…%}."""
    return (
        '<!DOCTYPE html><html lang="en"><head>{%metas%}<meta name="viewport" content="width=device-width, '
        'initial-scale=1"><link rel="icon" href="data:,"><title>{%title%}</title>{%css%}<style>'
        f"{css}</style></head><body>{{%app_entry%}}<footer>{{%config%}}{{%scripts%}}{{%renderer%}}</footer></body></html>"
    )
