"""An estimate as one HTML file that needs nothing else: no network, no server."""

from importlib.resources import files
from pathlib import Path

from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.estimate import Estimate
from swatcost.page.layer_table import layers_of
from swatcost.page.plotly_charts import CHARTS, Chart, charts
from swatcost.report import estimate as content
from swatcost.report.numbers import change, held_together
from swatcost.report.speedups import figures
from swatcost.version import __version__

__all__ = ["CHARTS", "Chart", "charts", "key_figures", "save", "settings", "style", "to_page"]


def key_figures(estimate: Estimate) -> list[tuple[str, str]]:
    """The few numbers that are shown large, each with its name."""
    if not estimate.plan.asks_for_sparsity:
        return []
    return [
        ("training FLOPs", change(estimate.training_reduction)),
        ("inference FLOPs", change(estimate.inference_reduction)),
        ("activation elements", change(estimate.activation_reduction)),
        ("weight compression", f"{estimate.model_compression:.1f}×"),
        *((f"{each.label} on {content.machine(estimate.device)}", each.value) for each in figures(estimate)),
    ]


def settings(estimate: Estimate) -> list[tuple[str, str]]:
    """Everything that was chosen, by its name."""
    plan = estimate.plan
    targets = {"weights": plan.weights, "acts": plan.acts, "grads": plan.grads}
    asked = ", ".join(f"{name} {value:g}" for name, value in targets.items() if value is not None)
    return [
        ("method", f"{plan.method.name}: {plan.method.title}"),
        ("target sparsity", asked or "none"),
        ("distribution", f"{plan.distribution.name}: {plan.distribution.title}"),
        ("convention", f"{estimate.convention.name}: {estimate.convention.title}"),
        ("device", f"{content.machine(estimate.device)}: {estimate.device.title}"),
        ("batch size", str(estimate.batch_size)),
        ("Top-K period", str(estimate.topk_period) if plan.method.selects else "none: the method has no Top-K"),
        ("steps per run", f"{estimate.steps:,}"),
        ("default activation sparsity", f"{estimate.default_act_sparsity:g}"),
        ("kept dense", ", ".join(f"{name} ({why})" for name, why in plan.kept_dense.items()) or "none"),
        ("traced with torch", estimate.network.torch_version or "unknown"),
    ]


def to_page(estimate: Estimate, *, command: str | None = None) -> str:
    """The estimate as an HTML document: numbers, figures, layers, assumptions, and the command that made it.

    Raises SwatcostError where jinja2 or plotly, the extra `report`, is not installed.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise SwatcostError("reports need jinja2 and plotly: pip install 'swatcost[report]'") from None

    rooms = jinja2.PackageLoader("swatcost.page", package_path="")
    environment = jinja2.Environment(
        loader=rooms, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["held"] = held_together
    return environment.get_template("template.html.jinja").render(
        title=content.title(estimate.network),
        network=estimate.network.name,
        setting=content.setting(estimate),
        headline=content.headline(estimate),
        key_figures=key_figures(estimate),
        tables=content.tables(estimate),
        charts=charts(estimate),
        layers=layers_of(estimate),
        settings=settings(estimate),
        assumptions=estimate.assumptions,
        uncounted=estimate.uncounted,
        command=command,
        version=__version__,
        style=style(),
        script=_read("page.js"),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
    )


def save(estimate: Estimate, path: str | Path, *, command: str | None = None) -> None:
    """Writes the page; an interrupted write leaves nothing behind."""
    write_atomically(Path(path), to_page(estimate, command=command))


def style() -> str:
    """The style sheet, which the explorer shares."""
    return _read("page.css")


def _read(name: str) -> str:
    return files("swatcost.page").joinpath(name).read_text(encoding="utf-8")
