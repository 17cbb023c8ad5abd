"""`swatcost explore`: an estimate in the browser, with controls that change it."""

from typing import Any

import click

from swatcost.cli.options import MODEL, Loading, loaded, loading_options, setting_options
from swatcost.cli.progress import say
from swatcost.common.errors import SwatcostError
from swatcost.loading import loading_words


@click.command("explore")
@MODEL
@setting_options()
@loading_options
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8050, show_default=True, metavar="N", help="0: any free one."
)
@click.option("--no-browser", is_flag=True, help="Print the URL, do not open a browser.")
def command(model: str, loading: Loading, port: int, no_browser: bool, **settings: Any) -> None:
    """Shows an estimate in the browser, with controls that change it at once.

    It starts from the options, or from 80 % of what the method makes sparse. Only this machine can see it.

    Example: swatcost explore resnet50 --method rigl
    """
    try:
        from swatcost.explorer.app import explorer
    except ImportError:
        raise SwatcostError("exploring needs dash and plotly: pip install 'swatcost[explore]'") from None
    from swatcost.explorer.serving import listening, serve

    network = loaded(model, **loading)
    app = explorer(network, settings, model=[model, *loading_words(**loading)])

    def started(address: str) -> None:
        click.echo(address)
        say("press Ctrl-C to stop")

    serve(app, listening(port), started=started, browse=not no_browser)
