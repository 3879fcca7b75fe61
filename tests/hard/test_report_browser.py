"""The pages of a run in a browser: no errors, no requests, tables that work, on a phone, in the dark, by keyboard."""

import json
import os
import shutil
import subprocess

import pandas as pd
import pytest

from learnability.simulated import annotation, write_checkpoint
from report.made_run import RUN, draw, invoke, write_results
from wced import tables

pytestmark = pytest.mark.hard

PAGES = ("index.html", "genes.html")
JOBS = 300
"""Jobs in the table of timings."""
PHONE = {"width": 390, "height": 844}


def chromium() -> str:
    """Return the path of Chromium. It is a system package: root gets it installed, everybody else is told."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-qq", *command], check=True, stdout=subprocess.DEVNULL)
        found = shutil.which("chromium")
    if found is None:
        pytest.fail(f"the tests of the report need a browser ({' or '.join(names)}): run `apt-get install chromium`")
    return found


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as driver:
        # Chromium refuses to put root into its sandbox.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Make the two pages of a run; return its folder."""
    folder = tmp_path_factory.mktemp("run")
    write_results(folder)
    jobs = [
        (f"rule_{i:03d}", round(i * 37 % 1013 + 0.5, 1), float("nan") if i % 10 == 0 else i, i) for i in range(JOBS)
    ]
    timings = pd.DataFrame(jobs, columns=tables.TIMINGS.names)
    tables.write(timings, tables.TIMINGS, folder / "tables" / "timings.tsv")
    draw(folder, folder / "report" / "figures")
    invoke("report", "--folder", folder, "--section", json.dumps(RUN), "--output", folder / "report" / "index.html")
    for seed, (name, decoder) in enumerate((("w", "wced"), ("m", "mlm"))):
        write_checkpoint(folder / name, annotation(600), decoder=decoder, seed=seed)
    section = {"bootstraps": 20, "permutations": 100, "simulation": {"repeats": 1}}
    invoke("learnability", folder / "w", folder / "m", "--section", json.dumps(section),
           "--all-epochs", folder / "errors.parquet", "--tables", folder / "genes",
           "--figures", folder / "genes" / "figures", "--run", "small",
           "--page", folder / "report" / "genes.html")  # fmt: skip
    return folder


@pytest.fixture
def opened(browser, run):
    """Give a function that opens a page; when the test ends, there was neither an error nor a request."""
    contexts, troubles = [], []

    def open_page(name="index.html", **options):
        context = browser.new_context(offline=True, accept_downloads=True, **options)
        contexts.append(context)
        context.set_default_timeout(300_000)  # a busy machine is slow, not wrong
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        own = (run / "report").as_uri()
        page.on("request", lambda asked: None if asked.url.startswith((own, "data:", "blob:"))
                else troubles.append(asked.url))  # fmt: skip
        page.goto((run / "report" / name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def column(page, table: str, place: int) -> list[str]:
    """Return the texts of a column of the rows that are shown."""
    return page.eval_on_selector_all(
        f"#table-{table} tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{place}].textContent)"
    )


@pytest.mark.parametrize("name", PAGES)
def test_opens_without_errors_and_requests(opened, name):
    page = opened(name)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    broken = "all => all.filter(one => !one.complete || one.naturalWidth === 0).map(one => one.alt)"
    images = page.locator("img")
    for i in range(images.count()):
        images.nth(i).scroll_into_view_if_needed()
    assert images.count() > 5 and page.eval_on_selector_all("img", broken) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_table_can_be_sorted_searched_and_downloaded(opened, name):
    page = opened(name)
    made = page.evaluate(
        """() => [...document.querySelectorAll("main table")].map((table) => {
             const box = table.closest(".table"), n = (place, what) => place.querySelectorAll(what).length;
             return [table.tHead.rows[0].cells.length, n(table.tHead, "th[aria-sort=none] > button"),
                     n(box, "input[type=search][aria-label]"), n(box, ".tools button[aria-label]")];
           })"""
    )
    assert len(made) > 5
    assert all(columns == buttons and (searches, gets) == (1, 1) for columns, buttons, searches, gets in made)


def test_numbers_sort_by_size_and_gaps_come_last(opened):
    page = opened()
    header = page.locator("#table-timings th").nth(1)
    before = column(page, "timings", 1)
    orders = []
    for state in ("ascending", "descending", "none"):
        header.locator("button").click()
        assert header.get_attribute("aria-sort") == state
        orders.append([float(text.replace(",", "")) for text in column(page, "timings", 1)])
    assert orders[0] == sorted(orders[0]) != orders[2] and orders[1] == orders[0][::-1]
    assert column(page, "timings", 1) == before
    memory = page.locator("#table-timings th").nth(2)
    for _ in range(2):
        memory.locator("button").click()
        assert column(page, "timings", 2)[-JOBS // 10 :] == ["–"] * (JOBS // 10)


def test_scores_sort_by_their_values(opened):
    page = opened()
    page.locator("#table-zero-shot-integration-1 th button").nth(1).click()
    order = page.eval_on_selector_all(
        "#table-zero-shot-integration-1 tbody th", "all => all.map(one => one.firstChild.textContent)"
    )
    assert order == ["one", "untrained", "two", "hvg"]


def test_sorting_works_by_keyboard(opened):
    page = opened()
    page.locator("#table-timings th button").nth(0).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert page.locator("#table-timings th").nth(0).get_attribute("aria-sort") == "descending"
    assert column(page, "timings", 0)[0] == f"rule_{JOBS - 1}"
    assert page.locator("#table-timings th button").nth(0).evaluate("b => getComputedStyle(b).outlineStyle") != "none"


def test_searching_shows_the_rows_with_all_words(opened):
    page = opened()
    field = page.locator("#table-timings input[type=search]")
    field.fill(" RULE_01")
    assert column(page, "timings", 0) == [f"rule_{i:03d}" for i in range(10, 20)]
    assert page.locator("#table-timings [role=status]").text_content() == f"10 of {JOBS} rows"
    field.fill("rule_295 rule_2")
    assert column(page, "timings", 0) == ["rule_295"]
    field.fill("no such rule")
    assert column(page, "timings", 0) == []
    field.fill("")
    assert len(column(page, "timings", 0)) == JOBS


def test_the_download_has_the_rows_shown_in_their_order_and_in_full(opened, tmp_path):
    page = opened()
    page.locator("#table-timings input[type=search]").fill("rule_02")
    page.locator("#table-timings th button").nth(0).click()
    page.locator("#table-timings th button").nth(0).click()
    with page.expect_download() as got:
        page.get_by_label("Download TSV of the rows shown: Jobs").click()
    assert got.value.suggested_filename == "timings.tsv"
    got.value.save_as(tmp_path / "timings.tsv")
    frame = pd.read_csv(tmp_path / "timings.tsv", sep="\t")
    assert frame["job"].tolist() == [f"rule_{i:03d}" for i in range(29, 19, -1)]
    assert frame["max rss mb"].isna().sum() == 1 and frame["seconds"].dtype == float
    with page.expect_download() as got:
        page.locator("#table-zero-shot-integration-1 .tools button").click()
    got.value.save_as(tmp_path / "scores.tsv")
    scores = pd.read_csv(tmp_path / "scores.tsv", sep="\t").set_index("model")
    assert scores.loc["untrained", ["AvgBio", "AvgBio interval"]].tolist() == [0.04, "0.020 to 0.060"]


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_does_not_scroll_sideways(opened, name):
    page = opened(name, viewport=PHONE)
    assert not page.evaluate("document.querySelector('nav details').open")
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    frames = page.eval_on_selector_all(".plate", "all => all.filter(one => one.scrollWidth > one.clientWidth + 1)"
                                       ".map(one => one.tabIndex)")  # fmt: skip
    assert frames and set(frames) == {0}
    assert page.locator("#table-timings .scroll" if name == "index.html" else ".table .scroll").first.is_visible()


CONTRASTS = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], ground) => [r, g, b].map((c, i) => a * c + (1 - a) * ground[i]);
  const ground = (element) => {
    const color = channels(getComputedStyle(element).backgroundColor);
    return (color[3] ?? 1) === 1 || !element.parentElement ? over(color, [255, 255, 255])
      : over(color, ground(element.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = {};
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!own || !element.checkVisibility() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const back = ground(element), text = over(channels(getComputedStyle(element).color), back);
    const [low, high] = [light(back), light(text)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05), what = `${element.tagName}.${element.className} ${text} on ${back}`;
    if (ratio < 4.5) found[what] = ratio;
  }
  return found;
}"""


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(opened, name, scheme):
    page = opened(name, color_scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate(CONTRASTS) == {}
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    # Figures are drawn on white in both.
    assert page.locator(".plate img").first.evaluate("i => getComputedStyle(i).backgroundColor") == "rgb(255, 255, 255)"


def test_the_first_tab_leads_past_the_contents(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_links_of_the_contents_lead_to_their_sections(opened):
    page = opened()
    links = page.locator("nav a")
    for i in range(links.count()):
        links.nth(i).click()
        place = page.evaluate("document.getElementById(location.hash.slice(1)).getBoundingClientRect().top")
        at_the_end = page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert -2 <= place < 100 or at_the_end, links.nth(i).text_content()


def test_a_link_into_folded_details_opens_them(opened):
    page = opened()
    assert not page.locator("#table-outputs").is_visible()
    page.evaluate("location.hash = '#table-outputs'")
    page.locator("#table-outputs").wait_for(state="visible")


def test_the_page_reads_without_scripts(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("#table-timings tbody tr").count() == JOBS
    assert page.locator("nav a").first.is_visible()


def test_a_gene_is_found(opened):
    page = opened("genes.html")
    page.locator("#gene").fill("gene59")
    assert page.locator("#found h3").first.text_content() == "GENE59 (ENSG00000000059)"
    assert page.locator("#found tbody tr").count() == 2 * page.locator("#found h3").count()
