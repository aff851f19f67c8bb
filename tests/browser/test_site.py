"""The report in a real browser, as a reader meets it: `nox -s browser`. Screenshots are kept in results/browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.data.catalogue import StoredSettings
from bench.experiment import Data
from bench.record import Result, point_folder, read_result, result_files
from reports.published.points import published_points
from reports.site import write_site
from tests.reports import records as made

DRIVER = shutil.which("chromedriver")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(DRIVER is None, reason="no chromedriver")]
selenium = pytest.importorskip("selenium")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

SHOTS = Path(__file__).resolve().parents[2] / "results" / "browser"
QUIET = "--disable-background-networking --disable-component-update --disable-sync --no-first-run --disable-quic"
PAGE = "data-digits-in-motion.html"


@pytest.fixture(scope="module")
def site(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    write_site([runs], out)
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for option in ["--headless", "--no-sandbox", "--disable-gpu", *QUIET.split()]:
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    SHOTS.mkdir(parents=True, exist_ok=True)
    yield driver
    driver.quit()


def see(browser: webdriver.Chrome, path: Path, *, scheme: str = "light", width: int = 1200) -> None:
    """Open a page of the site, without a word on the console."""
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    wait(browser, lambda: browser.execute_script("return document.readyState") == "complete")
    if path.name.startswith(("data-", "method-", "question-")):
        wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".scatterlayer .trace .points path"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def wait(browser: webdriver.Chrome, what: Callable[[], object]) -> None:
    WebDriverWait(browser, 20).until(lambda _: what())


def records(runs: Path) -> dict[str, Result]:
    return {path.parent.name: read_result(path) for path in result_files(runs)}


def field(browser: webdriver.Chrome, name: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, f"form.controls [name={name}]")


def across(browser: webdriver.Chrome) -> str:
    """What the horizontal axis says."""
    return browser.find_element(By.CSS_SELECTOR, ".xtitle").text


def points(browser: webdriver.Chrome) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, ".scatterlayer .trace .points path")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_and_is_drawn_in_its_scheme(site: Path, browser: webdriver.Chrome, scheme: str) -> None:
    for path in sorted(site.glob("*.html")):
        see(browser, path, scheme=scheme)
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
        pictures = "return [...document.images].filter(each => each.loading !== 'lazy' && !each.naturalWidth).length"
        assert browser.execute_script(pictures) == 0
        browser.save_screenshot(str(SHOTS / f"{path.stem}-{scheme}.png"))


@pytest.mark.parametrize("name", [PAGE, "index.html", "environment.html"])
def test_a_phone_scrolls_down_alone(site: Path, browser: webdriver.Chrome, name: str) -> None:
    see(browser, site / name, width=375)
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) <= 0
    browser.save_screenshot(str(SHOTS / f"{Path(name).stem}-phone.png"))


def test_a_point_under_the_mouse_says_what_its_record_says(runs: Path, site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE)
    values = {name: result.values for name, result in records(runs).items()}
    for point in points(browser):
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
        ActionChains(browser).move_by_offset(0, 0).move_to_element(point).perform()
        wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".hoverlayer .hovertext"))
        said = browser.find_element(By.CSS_SELECTOR, ".hoverlayer .hovertext").get_attribute("textContent") or ""
        top1, gflops = (float(re.search(rf"{word} ([\d.]+)", said)[1]) for word in ("top-1", "GFLOPs"))  # type: ignore[index]
        frames = int(re.search(r"evaluation: .*?frames (\d+)", said)[1])  # type: ignore[index]
        assert any(
            top1 == pytest.approx(each["metrics"]["top1"], rel=1e-3)
            and gflops == pytest.approx(each["metrics"]["macs"] / 1e9, rel=1e-3)
            and frames == each["experiment"]["evaluation"]["frames"]
            and f"batch {each['experiment']['training']['batch']}" in said
            for each in values.values()
        ), said


def test_what_is_said_under_the_mouse_stays_on_a_phone(site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE, width=390)
    point_at = "Plotly.Fx.hover(document.querySelector('.chart'), [{curveNumber: arguments[0], pointNumber: 0}])"
    traces = browser.execute_script("return document.querySelector('.chart').data.map(trace => trace.mode)")
    for number in (number for number, mode in enumerate(traces) if mode == "markers"):
        browser.execute_script(point_at, number)
        wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".hoverlayer .hovertext"))
        said = browser.find_element(By.CSS_SELECTOR, ".hoverlayer .hovertext")
        place = "const box = arguments[0].getBoundingClientRect(); return [box.left, box.right]"
        left, right = browser.execute_script(place, said)
        assert left >= 0 and right <= 390, said.get_attribute("textContent")


def test_published_figures_stand_beside_ours_where_a_reader_wants_them(
    runs: Path, tmp_path: Path, browser: webdriver.Chrome
) -> None:
    source = next(path for path in result_files(runs) if "/tsn/" in str(path))
    data = Data("something-something-v1", 64, 100, 60, 174, "f" * 12, settings=StoredSettings())
    write = made.Writer(json.loads(source.read_text()), tmp_path / "runs")
    ours = write(replace(made.point(), data=data), made.answers(0.4), gmacs=30)
    shutil.copy(source.with_name("clips.jpg"), point_folder(tmp_path / "runs", ours))
    see(browser, write_site([tmp_path / "runs"], tmp_path / "site").with_name("data-something-something-v1.html"))
    traces = "return document.querySelector('.chart').data.map(trace => [trace.name, trace.x.length, trace.text])"
    name, count, texts = browser.execute_script(traces)[-1]
    figures = published_points("something-something-v1")
    assert name == "published" and count == len(figures) > 10
    row = figures.iloc[0]
    assert (
        row["method"] in texts[0] and f"GFLOPs {row['gflops']:.4g}" in texts[0] and f"{row['value']:.4g}%" in texts[0]
    )
    assert field(browser, "log").is_selected(), "as in the figure"
    browser.save_screenshot(str(SHOTS / "published.png"))
    field(browser, "published").click()
    assert [name for name, *_ in browser.execute_script(traces)] == ["TSN"]
    field(browser, "published").click()
    Select(field(browser, "x")).select_by_value("videos_per_second")
    assert [name for name, *_ in browser.execute_script(traces)] == ["TSN"], "they have no times"


def test_a_chart_can_be_uploaded_nowhere(site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE)
    buttons = browser.find_elements(By.CSS_SELECTOR, ".modebar-btn")
    titles = [str(button.get_attribute("data-title") or button.get_attribute("aria-label")) for button in buttons]
    assert titles and not [title for title in titles if re.search("share|cloud|edit", title, re.IGNORECASE)]
    assert browser.execute_script("return document.querySelector('.chart')._context.plotlyServerURL") == ""


def test_each_method_has_its_marker_beside_its_name(site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE)
    marks = browser.find_elements(By.CSS_SELECTOR, "form.controls .mark")
    drawn = {point.value_of_css_property("fill") for point in points(browser)}
    assert marks and all(mark.text for mark in marks)
    assert {mark.value_of_css_property("color").replace("rgba", "rgb").replace(", 1)", ")") for mark in marks} == drawn


def test_the_caption_of_a_wide_table_is_seen_whole(site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE, width=390)
    size = "const box = arguments[0].getBoundingClientRect(); return [box.left, box.right]"
    for caption in browser.find_elements(By.TAG_NAME, "caption"):
        left, right = browser.execute_script(size, caption)
        assert left >= 0 and right <= 390


def test_axes_are_switched_also_by_keyboard(site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE)
    assert across(browser).startswith("GFLOPs per video")
    Select(field(browser, "x")).select_by_visible_text("latency")
    wait(browser, lambda: across(browser).startswith("latency p90"))
    field(browser, "y").send_keys(Keys.ARROW_DOWN)
    wait(browser, lambda: browser.find_element(By.CSS_SELECTOR, ".ytitle").text == "top-5 (%)")
    field(browser, "log").send_keys(Keys.SPACE)
    kind = "return document.querySelector('.chart')._fullLayout.xaxis.type"
    wait(browser, lambda: browser.execute_script(kind) == "log")


def test_a_method_is_taken_away_and_comes_back(runs: Path, site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE)
    assert len(points(browser)) == len(records(runs))
    (tsn,) = (box for box in browser.find_elements(By.NAME, "method") if box.get_attribute("value") == "TSN")
    tsn.click()
    wait(browser, lambda: len(points(browser)) == len(records(runs)) - 2)
    tsn.click()
    wait(browser, lambda: len(points(browser)) == len(records(runs)))


def test_a_click_on_a_point_opens_its_page(runs: Path, site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE)
    point = points(browser)[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).click().perform()
    wait(browser, lambda: "/points/" in browser.current_url)
    name = Path(browser.current_url).stem
    result = records(runs)[name]
    text = browser.find_element(By.TAG_NAME, "main").text
    assert f"{result.metrics['top1']:.6g} %" in text and result.values["training_id"] not in ("", None)


def test_tables_are_sorted_by_their_headings(site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / PAGE)
    headings = browser.find_elements(By.CSS_SELECTOR, "table.sortable th")
    place = [heading.text for heading in headings].index("GFLOPs executed")

    def column() -> list[float]:
        cells = browser.find_elements(By.CSS_SELECTOR, f"table.sortable td:nth-child({place + 1})")
        return [float(cell.text) for cell in cells]

    button = headings[place].find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    assert column() == sorted(column(), reverse=True) and headings[place].get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.ENTER)
    assert column() == sorted(column()) and headings[place].get_attribute("aria-sort") == "ascending"


def test_links_lead_to_pages(site: Path, browser: webdriver.Chrome) -> None:
    see(browser, site / "index.html")
    names = [link.text for link in browser.find_elements(By.CSS_SELECTOR, "nav a")]
    for name in names:
        browser.find_element(By.LINK_TEXT, name).click()
        WebDriverWait(browser, 20).until(
            lambda driver, name=name: driver.find_element(By.CSS_SELECTOR, "[aria-current]").text == name  # type: ignore[misc]
        )
        assert browser.find_element(By.TAG_NAME, "h1").text


def test_without_scripts_pictures_and_tables_are_there(site: Path, browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((site / PAGE).as_uri())
        assert not browser.find_element(By.CSS_SELECTOR, "form.controls").is_displayed()
        assert len(browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr")) == 4
        assert len(browser.find_elements(By.CSS_SELECTOR, "figure img")) >= 4
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_names_that_are_markup_stay_text(runs: Path, tmp_path: Path, browser: webdriver.Chrome) -> None:
    """In pages, scripts and what is said under the mouse; whatever a stranger's folder holds."""
    shutil.copytree(runs, tmp_path / "runs")
    evil = "</script><img src=x onerror=\"document.title='run'\">&amp;"
    for path in result_files(tmp_path / "runs"):
        values = json.loads(path.read_text())
        values["timing"]["device"]["name"] = evil
        values["warnings"] = [evil]
        path.write_text(json.dumps(values))
    out = tmp_path / "out"
    write_site([tmp_path / "runs"], out)
    for name in (PAGE, "index.html", "environment.html", f"points/{path.parent.name}.html"):
        see(browser, out / name)
        assert browser.title != "run" and not browser.find_elements(By.CSS_SELECTOR, "img[src=x]")
