"""What is drawn for browsers, in a real one: headless Chromium. Screenshots go to build/screenshots/."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import swatcost
from swatcost.cli import main
from swatcost.report import estimate as content

from .test_explore import running
from .test_page import hostile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parent.parent / "build" / "screenshots"
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_PHONE, _DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    assert found, "there is no Chromium; `make browser` installs it where it can"  # nobody asks for these tests without
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found[0], args=_FLAGS)
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page, what it wrote to the console, what went wrong, and what it asked for."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))


def opened(browser: Browser, path: Path, viewport: Any = _DESK, **context: Any) -> Seen:
    """The file in a page of its own, once its charts are drawn."""
    seen = Seen(browser.new_page(viewport=viewport, **context))
    seen.page.goto(path.as_uri())
    for plot in seen.page.locator(".plot").all():
        plot.locator(".main-svg").first.wait_for()
    return seen


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "resnet50.html"
    assert main(["report", "resnet50", "--weights", "0.8", "--acts", "0.8", "--output", str(path)]) == 0
    return path


@pytest.fixture
def seen(browser: Browser, file: Path) -> Iterator[Seen]:
    seen = opened(browser, file)
    yield seen
    seen.page.close()


def column(page: Page, heading: str) -> list[str]:
    """The cells of a column of the layer table that are shown, from the top."""
    place = page.locator("#layer-table thead th").all_text_contents().index(heading)
    cells: list[str] = page.evaluate(
        "place => [...document.querySelectorAll('#layer-table tbody tr:not([hidden])')]"
        ".map(row => row.cells[place].textContent)",
        place,
    )
    return cells


def test_it_loads_without_console_messages_or_requests(seen: Seen, file: Path) -> None:
    seen.page.screenshot(path=SCREENSHOTS / "report-1280.png", full_page=True)
    assert seen.console == []
    assert seen.requests == [file.as_uri()]
    assert seen.page.title() == "resnet50: what it costs to train"


def test_every_chart_is_drawn(seen: Seen) -> None:
    marks = {
        plot.get_attribute("id"): (
            plot.locator(".barlayer .point path").count(),
            plot.locator(".scatterlayer .point, .scatterlayer .js-line").count(),
        )
        for plot in seen.page.locator(".plot").all()
    }
    assert marks == {
        "plot-work": (54 * 3 * 2, 0),  # layers × passes × dense and sparse
        "plot-reduction": (54, 1),
        "plot-remaining": (15 * 3, 15),
        "plot-period": (0, 4),  # both curves, where the ideal one breaks even, and the period that was asked for
    }
    for box in [plot.bounding_box() for plot in seen.page.locator(".plot").all()]:
        assert box
        assert box["width"] > 1000
        assert box["height"] > 300


def test_a_chart_shows_a_layers_details(seen: Seen) -> None:
    for name, mark, shown in (
        ("work", ".barlayer .point path", ["conv1 conv", "3×224×224", "forward: 118.014 MMAC, dense"]),
        ("reduction", ".barlayer .point path >> nth=1", ["layer1.0.", "down 80.00 %"]),
        ("remaining", ".barlayer .point path", ["conv1", "of remaining MACs"]),
        ("period", ".scatterlayer .point >> nth=1", ["every 1,000 iterations: ideal speedup 4.13×", "470.0 ms"]),
    ):
        plot = seen.page.locator(f"#plot-{name}")
        plot.scroll_into_view_if_needed()
        plot.locator(mark).first.hover(force=True)
        text = plot.locator(".hovertext")
        text.first.wait_for()
        for each in shown:
            assert each in "".join(text.all_text_contents())


def test_the_table_sorts_by_numbers_and_by_names(seen: Seen) -> None:
    page = seen.page
    names = column(page, "layer")
    assert names[0] == "conv1"
    for heading, in_order in (("params", lambda text: int(text.replace(",", ""))), ("forward dense [MMAC]", float)):
        before = column(page, heading)
        assert before != sorted(before, key=in_order)
        page.get_by_role("button", name=heading, exact=True).click()
        assert column(page, heading) == sorted(before, key=in_order)
        page.get_by_role("button", name=heading, exact=True).click()
        assert column(page, heading) == sorted(before, key=in_order, reverse=True)
    page.get_by_role("button", name="layer", exact=True).click()
    assert column(page, "layer").index("layer2.0.conv1") < column(page, "layer").index("layer3.0.conv1")
    page.get_by_role("button", name="#", exact=True).click()
    assert column(page, "layer") == names  # back in the order of execution


def test_missing_values_sort_last_in_both_directions(seen: Seen) -> None:
    for _ in range(2):
        seen.page.get_by_role("button", name="reduction", exact=True).click()
        assert column(seen.page, "layer")[-1] == "(other)"


def test_the_table_sorts_by_keyboard_and_says_how(seen: Seen) -> None:
    button = seen.page.get_by_role("button", name="params", exact=True)
    heading = seen.page.locator("#layer-table thead th", has=button)
    button.focus()
    seen.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    seen.page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "descending"
    assert seen.page.locator("#layer-table [aria-sort]").count() == 1


def test_the_search_leaves_what_it_finds(seen: Seen) -> None:
    seen.page.get_by_label("Find layers").fill("DOWNSAMPLE layer4")
    assert column(seen.page, "layer") == ["layer4.0.downsample.0"]
    assert seen.page.locator("#found").text_content() == "1 of 55 rows"
    seen.page.get_by_label("Find layers").fill("")
    assert len(column(seen.page, "layer")) == 55


def test_it_fits_a_phone(browser: Browser, file: Path) -> None:
    seen = opened(browser, file, _PHONE)
    seen.page.screenshot(path=SCREENSHOTS / "report-390.png", full_page=True)
    assert seen.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    for box in seen.page.locator("#numbers .box").all():
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth"), box.text_content()
    table = seen.page.locator("#layers .box")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")
    assert table.evaluate("box => { box.scrollLeft = 100; return box.scrollLeft }") == 100
    assert seen.console == []
    seen.page.close()


def test_it_follows_the_readers_dark_mode(browser: Browser, file: Path) -> None:
    seen = opened(browser, file, color_scheme="dark")
    seen.page.screenshot(path=SCREENSHOTS / "report-1280-dark.png", full_page=True)
    ink = seen.page.locator("#plot-work .xtick text").first.evaluate("text => getComputedStyle(text).fill")
    assert ink == seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(232, 234, 237)"
    seen.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_prints(browser: Browser, file: Path, scheme: Any) -> None:
    pypdf = pytest.importorskip("pypdf")
    seen = opened(browser, file, color_scheme=scheme)
    printed = SCREENSHOTS / f"report-print-{scheme}.pdf"
    widths = "[...document.querySelectorAll('.plot .main-svg')].map(each => each.getBoundingClientRect().width)"
    seen.page.evaluate(f"addEventListener('beforeprint', () => window.onPaper = {widths})")  # after the page's own
    seen.page.pdf(path=printed, prefer_css_page_size=True, print_background=True)
    assert 600 < max(seen.page.evaluate("onPaper")) <= 688  # A4 between its margins
    assert max(seen.page.evaluate(widths)) > 1000  # and as it was afterwards
    pages = [page.extract_text() for page in pypdf.PdfReader(printed).pages]
    assert len(pages) > 1
    assert all(page.strip() for page in pages)
    text = "\n".join(pages)
    for each in (
        "Training FLOPs −",
        "Speedup against the Top-K period",
        "Top-K period [iterations]",
        "layer4.2.conv3",
        "reduction",
    ):
        assert each in text
    seen.page.emulate_media(media="print", color_scheme=scheme)
    seen.page.set_viewport_size({"width": 688, "height": 973})
    seen.page.screenshot(path=SCREENSHOTS / f"report-print-{scheme}.png", full_page=True)
    assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    seen.page.close()


def test_names_with_markup_run_no_script(browser: Browser, tmp_path: Path) -> None:
    from swatcost.page import save

    save(
        hostile(swatcost.estimate("resnet50", weights=0.8)),
        tmp_path / "hostile.html",
        command="<script>alert(2)</script>",
    )
    alerts: list[str] = []
    page = browser.new_page()
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto((tmp_path / "hostile.html").as_uri())
    page.locator("#plot-period .main-svg").first.wait_for()
    assert alerts == []
    assert page.locator("#layer-table b, h1 b, .plot script, .plot a").count() == 0
    page.close()


def test_the_explorer_estimates_what_is_moved(browser: Browser) -> None:
    with running() as (address, _):
        seen = Seen(browser.new_page(viewport=_DESK))
        page = seen.page
        page.goto(address)
        headline = page.locator("#headline")
        headline.wait_for()
        before = swatcost.estimate("resnet18", weights=0.8, acts=0.8)
        assert shown(headline) == content.headline(before)
        page.locator("#plot-period .scatterlayer .point").first.wait_for()
        page.screenshot(path=SCREENSHOTS / "explorer-1280.png", full_page=True)

        page.locator("[aria-labelledby=label-weights] [role=slider]").press("ArrowRight")
        after = swatcost.estimate("resnet18", weights=0.81, acts=0.8)
        page.get_by_text(f"{100 * after.training_reduction:.2f}\N{NO-BREAK SPACE}%").first.wait_for()
        assert shown(headline) == content.headline(after)
        assert page.locator("#command").text_content() == "swatcost resnet18 --weights 0.81 --acts 0.8"

        page.locator("#method").click()
        page.get_by_role("option", name="rigl", exact=True).click()
        page.get_by_text("method 'rigl' has no sparse activations").wait_for()
        assert shown(headline) == content.headline(after)  # the last good one, marked
        assert page.locator("#results").get_attribute("class") == "stale"
        page.screenshot(path=SCREENSHOTS / "explorer-refused-1280.png")
        page.locator("[aria-labelledby=label-acts] [role=slider]").press("Home")
        page.get_by_text("rigl, uniform: weights 81").wait_for()
        assert page.locator("#results").get_attribute("class") == ""
        assert page.locator("#reason").text_content() == ""
        assert not page.locator("#chart-period").is_visible()  # it selects nothing

        phone = Seen(browser.new_page(viewport=_PHONE))
        phone.page.goto(address)
        phone.page.locator("#plot-period .scatterlayer .point").first.wait_for()
        phone.page.screenshot(path=SCREENSHOTS / "explorer-390.png", full_page=True)
        assert phone.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert_answer_stays_in_view(phone.page)
        phone.page.screenshot(path=SCREENSHOTS / "explorer-scrolled-390.png")
        for each in (seen, phone):
            assert each.console == []
            assert [url for url in each.requests if not url.startswith((address, "data:"))] == []
            each.page.close()


def assert_answer_stays_in_view(page: Page) -> None:
    """While the last of the controls that are always shown is moved, the figures change above it, and cover nothing."""
    figures = page.locator("#summary .figures")
    slider = page.locator("[aria-labelledby=label-batch_size]")
    slider.scroll_into_view_if_needed()
    page.evaluate(
        "top => scrollBy(0, top)", slider.evaluate("each => each.getBoundingClientRect().bottom - innerHeight")
    )
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(200)
    above, below = figures.bounding_box(), slider.bounding_box()
    assert above
    assert below
    assert above["y"] >= 0
    assert above["height"] < 200  # and leaves room for the controls
    assert above["y"] + above["height"] <= below["y"]
    before = figures.text_content()
    page.locator("[aria-labelledby=label-period] [role=slider]").press("Home")
    page.wait_for_function("before => document.querySelector('#summary .figures').textContent != before", arg=before)


def shown(text: Locator) -> str:
    return (text.text_content() or "").replace("\N{NO-BREAK SPACE}", " ")
