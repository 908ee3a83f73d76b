"""The page in a real browser, headless Chromium: it loads nothing, its switches switch, all can read and use it.

Without Playwright's package or a browser the tests are skipped with a sentence.
"""

import shutil
from pathlib import Path

import pytest
from page_results import ANALYSIS, make_run

from speechladder.report.page import build, compare

pytestmark = pytest.mark.xdist_group("browser")
WIDTHS, THEMES = (390, 1400), ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 120_000  # ms, of a machine that does other things too

# Texts that lie over one another: every line of visible text against every other, wherever it is drawn.
OVERLAPS = """() => {
  const found = [], range = document.createRange();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest("script,style,noscript,.unseen,.skip,#vg-tooltip-element")) continue;
    if (!parent.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    if (parent.closest("nav,.scroll,pre")) continue; // scrolls sideways
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width > 1 && box.height > 1) found.push({ text: node.textContent.trim(), box });
    }
  }
  const over = [];
  for (let a = 0; a < found.length; a++) for (let b = a + 1; b < found.length; b++) {
    const [p, q] = [found[a].box, found[b].box];
    const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    // boxes of lines hold their leading, which neighbours may share
    if (wide > 1 && high > 0.35 * Math.min(p.height, q.height)) over.push(`${found[a].text} / ${found[b].text}`);
  }
  return over;
}"""
# Texts of a chart that are cut off at its edge.
CUT = """() => [...document.querySelectorAll(".plot text")].filter((text) => {
  const box = text.getBoundingClientRect();
  return box.width && (box.left < -0.5 || box.right > document.documentElement.clientWidth + 0.5);
}).map((text) => text.textContent)"""
NUMBERS = """() => [...document.querySelectorAll("#ladder-swuggy text")].map((text) => text.textContent)"""
FOCUSED = "(({ id, className, value, tagName }) => id || className || value || tagName)(document.activeElement)"
COLOURS = """() => [getComputedStyle(document.body).backgroundColor,
  getComputedStyle(document.querySelector("#ladder-swuggy text")).fill,
  getComputedStyle(document.querySelector("#ladder-swuggy .mark-symbol path")).fill]"""


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium here: apt-get install chromium, or playwright install chromium")
        one = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The page of a run, and that of two runs."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [make_run(folder / name / "results", said=said) for name, said in (("one", ""), ("two", ""))]
    build.write_page(runs[0], folder / "report.html")
    compare.write_comparison(runs, ANALYSIS, folder / "compare.html")
    return {name: folder / f"{name}.html" for name in ("report", "compare")}


@pytest.fixture
def show(browser, files):
    """Open a page and wait for its charts; at the end nothing may have failed and nothing may have been asked for."""
    opened, said = [], []

    def opener(name="report", width=1400, theme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: said.append(request.url) if request.url != address else None)
        address = files[name].as_uri()
        page.goto(address)
        page.wait_for_function("document.documentElement.dataset.ready === 'true'")
        opened.append(page)
        return page

    yield opener
    for page in opened:
        page.close()
    assert said == []


@pytest.mark.parametrize("name", ["report", "compare"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_lies_over_another_and_none_is_cut_off(show, name, width):
    page = show(name, width)
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    charts = page.locator(".plot svg")
    assert charts.count() == page.locator(".chart").count() > 6
    assert all(charts.nth(n).bounding_box()["width"] > 250 for n in range(charts.count()))


def test_the_overlap_is_seen(show):
    """The test above can fail."""
    page = show()
    page.evaluate("document.querySelector('#ladder h2').style.marginBottom = '-2rem'")
    assert page.evaluate(OVERLAPS)
    page.evaluate("document.querySelector('#ladder-swuggy svg').style.width = '4000px'")
    page.evaluate("document.querySelector('#ladder-swuggy svg').style.maxWidth = 'none'")
    assert page.evaluate(CUT)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["report", "compare"])
def test_an_accessibility_checker_finds_nothing(show, name, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = show(name, 1400, theme)
    for details in page.locator("details > summary").all():
        details.click()
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = axe.Axe().run(page, options=rules).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"][:3]]) for rule in found] == []


def test_the_norm_switches_every_chart_and_every_switch(show):
    page = show()
    before = page.evaluate(NUMBERS)
    page.locator("input[data-signal=norm][value=mean]").nth(1).check(force=True)
    page.wait_for_function(f"(before) => String(({NUMBERS})()) !== String(before)", arg=before)
    assert page.locator("input[data-signal=norm][value=mean]").count() > 2
    every = page.evaluate("[...document.querySelectorAll('input[value=mean]')].every((input) => input.checked)")
    assert every and page.evaluate(NUMBERS) != before
    page.locator("input[data-signal=norm][value=sum]").first.check(force=True)
    page.wait_for_function(f"(before) => String(({NUMBERS})()) === String(before)", arg=before)


def test_the_papers_values_can_be_hidden(show):
    page = show()
    opacity = "Number(getComputedStyle(document.querySelector('#ladder-swuggy .mark-symbol path')).opacity)"
    assert page.evaluate(opacity) > 0.5
    page.locator("input[data-signal=paper]").first.uncheck()
    page.wait_for_function(f"{opacity} === 0")
    assert not page.locator("input[data-signal=paper]").nth(1).is_checked()


def test_the_theme_follows_the_system_and_the_button(show):
    light, dark = show(), show(theme="dark")
    assert len({str(page.evaluate(COLOURS)) for page in (light, dark)}) == 2
    button = light.get_by_role("button", name="Dark theme")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true" and light.evaluate(COLOURS) == dark.evaluate(COLOURS)
    light.reload()
    light.wait_for_function("document.documentElement.dataset.ready === 'true'")
    assert light.evaluate(COLOURS) == dark.evaluate(COLOURS)  # it is remembered


def test_all_can_be_reached_and_used_by_keys(show):
    page = show()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
    assert seen[0] == "skip" and "theme" in seen and "sum" in seen and "SUMMARY" in seen
    page.locator("input[data-signal=norm][value=sum]").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("input[data-signal=norm][value=mean]").first.is_checked()
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.locator("#theme").focus()
    page.keyboard.press("Space")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_hovering_shows_the_figures(show):
    page = show()
    mark = page.locator("#ladder-swuggy .mark-symbol").last.locator("path").first
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "accuracy" in page.locator("#vg-tooltip-element").inner_text()


def test_it_prints(show):
    """In light colours, without the controls, and within the width of the paper."""
    page = show(theme="dark")
    page.emulate_media(media="print")
    assert page.locator(".pair summary").first.is_visible() and not page.locator("audio").first.is_visible()
    assert not page.locator(".bar").is_visible() and not page.locator(".switches").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 700, "height": 1000})  # A4 with its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert len(page.pdf(format="A4")) > 20_000


def test_it_is_light(files):
    assert all(path.stat().st_size < 12_000_000 for path in files.values())


def test_charts_without_scripts_leave_their_figures(browser, files):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["report"].as_uri())
    assert "tables" in page.locator(".noscript").inner_text() and page.locator("table").count() > 5
    context.close()


# --- what one hears ---

DURATIONS = """() => Promise.all([...document.querySelectorAll("audio")].map((audio) => new Promise((done) => {
  const told = () => done([audio.duration, Number(audio.dataset.seconds), audio.getAttribute("aria-label")]);
  audio.addEventListener("loadedmetadata", told, { once: true });
  audio.addEventListener("error", () => done([0, 1, audio.getAttribute("aria-label")]), { once: true });
  audio.preload = "metadata";
  if (audio.readyState) told(); else audio.load();
})))"""


def test_all_audio_can_be_played(show):
    found = show().evaluate(DURATIONS)
    assert len(found) > 50 and len({name for *_, name in found}) == len(found)
    assert [(name, got, said) for got, said, name in found if not abs(got - said) < 0.06] == []


def test_a_line_moves_with_the_sound_and_one_sound_plays_at_a_time(show):
    page = show()
    page.locator("#prompt-1 .wave").first.click()
    left = "Number.parseFloat(document.querySelector('{} .playhead').style.left)"
    page.wait_for_function(f"{left.format('#prompt-1')} > 60")
    page.locator("#timeline").click(position={"x": 100, "y": 60})
    first = page.evaluate(left.format("#timeline"))
    page.wait_for_function(f"{left.format('#timeline')} > {max(first, 5)} + 5")
    playing = page.evaluate("[...document.querySelectorAll('audio')].filter((a) => !a.paused).map((a) => a.id)")
    assert playing in (["moment-audio"], [])


def test_another_prompt_can_be_chosen(show):
    page = show()
    assert page.locator(".prompt:visible").count() == 1
    page.locator("input[name=prompt]").nth(1).check(force=True)
    assert page.locator(".prompt:visible").get_attribute("id") == "prompt-2"


def test_pairs_are_filtered_by_task_rung_answer_and_norm(show):
    page = show()
    shown = page.locator(".pair:visible")
    every = shown.count()
    page.select_option("#items-task", "sblimp")
    assert 0 < shown.count() < every
    assert set(shown.evaluate_all("(pairs) => pairs.map((pair) => pair.dataset.task)")) == {"sblimp"}
    assert page.locator(".task:visible").count() == 1
    page.select_option("#items-rung", "speech-hubert")
    counts = {}
    for answer in ("right", "wrong"):
        page.select_option("#items-answer", answer)
        rungs = shown.evaluate_all(f"(pairs) => pairs.map((pair) => pair.getAttribute('data-{answer}-sum'))")
        assert rungs and all("speech-hubert" in names.split() for names in rungs)
        counts[answer] = len(rungs)
    page.select_option("#items-answer", "")
    assert sum(counts.values()) == shown.count()
    assert page.locator("#items-count").inner_text() == f"{shown.count()} of {every} pairs"
    shown.first.locator("summary").click()
    assert page.locator(".bar-of[data-norm=sum]:visible").count() == page.locator(".bar-of:visible").count() > 0
    page.locator("#ladder input[data-signal=norm][value=mean]").check(force=True)
    assert page.locator(".bar-of[data-norm=mean]:visible").count() == page.locator(".bar-of:visible").count() > 0


def test_all_is_heard_without_scripts(browser, files):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["report"].as_uri())
    assert page.locator(".prompt:visible").count() == 2 and not page.locator(".choose").is_visible()
    page.locator(".pair summary").first.click()
    assert page.locator(".pair audio:visible").count() == 2
    context.close()
