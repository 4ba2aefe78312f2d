"""The inspector in a real browser: Chromium draws every page, small and large, light and dark."""

import os
import shutil
from urllib.parse import quote

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make browser")

from tests.serve.test_inspector import HOSTILE  # noqa: E402
from tests.serve.test_server import SETTINGS_FILE, Process  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATHS = (
    "/",
    "/?q=red+robot+vacuum&country=DE&exclude=pan",
    "/?q=%E7%BA%A2%E8%89%B2+%E6%B0%B4%E5%A3%B6&vs_channel=dense&vs_beams=2",
    "/?q=red&k=none",
    "/ads/robot?q=red+robot",
    "/ads/hostile0",
    "/ads/none",
    "/live",
)
# What of a page's text has too little contrast with what lies behind it (WCAG 2.2, 1.4.3), and by how much.
PALE = """() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => { const [r, g, b] = rgb.slice(0, 3).map(v => v / 255)
      .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
  const behind = element => { for (let at = element; at; at = at.parentElement) {
      const rgb = channels(getComputedStyle(at).backgroundColor); if (rgb.length < 4 || rgb[3] === 1) return rgb }
    return channels(getComputedStyle(document.body).backgroundColor) };
  const wrong = [];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length || ['OPTION', 'title'].includes(element.tagName)) continue;
    const style = getComputedStyle(element), text = element instanceof SVGElement ? style.fill : style.color;
    const pair = [light(channels(text)), light(behind(element))].sort((a, b) => b - a);
    const contrast = (pair[0] + .05) / (pair[1] + .05);
    if (contrast < 4.5) wrong.push([element.tagName, element.textContent.slice(0, 30), contrast]);
  }
  return wrong }"""
# What a keyboard cannot be seen on.
UNSEEN = """() => { const at = document.activeElement, style = getComputedStyle(at);
  return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 ? '' : at.outerHTML }"""
# Targets below 24 pixels that do not stand in a line of text (WCAG 2.2, 2.5.8).
SMALL = """() => [...document.querySelectorAll('input:not([type=hidden]), select, button, summary')]
  .filter(each => each.getClientRects().length && each.getBoundingClientRect().height < 24)
  .map(each => each.outerHTML)"""


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium is installed: make browser")
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(engine_directory, tmp_path_factory):
    settings = tmp_path_factory.mktemp("settings") / "serve.toml"
    settings.write_text(SETTINGS_FILE)
    process = Process(engine_directory, settings)
    import httpx2

    with httpx2.Client(base_url=process.address) as http:
        for at, text in enumerate(HOSTILE):
            ad = {"title": f"red {text}", "description": text, "payload": {"url": text}}
            assert http.put(f"/v1/ads/hostile{at}", json=ad).status_code < 300
    yield process
    assert process.end() == 0


class Visit:
    """A page that is open, and everything that went wrong on it."""

    def __init__(self, browser, address: str, **more) -> None:
        self.wrong: list[str] = []
        self.expected = 200
        self.address = address
        self.context = browser.new_context(base_url=address, **more)
        self.context.set_default_timeout(120_000)  # a busy machine is no fault of the pages
        self.page = self.context.new_page()
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", self._asked)

    def _logged(self, message) -> None:
        if message.type in ("error", "warning") and f"status of {self.expected}" not in message.text:
            self.wrong.append(message.text)

    def _asked(self, request) -> None:
        if not request.url.startswith(self.address):
            self.wrong.append(f"asked {request.url}")

    def go(self, path: str, expected: int = 200):
        self.expected = expected
        assert self.page.goto(path).status == expected
        return self.page


@pytest.fixture
def visit(chromium, service):
    opened = []

    def make(**more) -> Visit:
        opened.append(Visit(chromium, service.address, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.context.close()
        assert not each.wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_pages_fit_and_can_be_read(visit, scheme, width):
    seen = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for path in PATHS:
        page = seen.go(path, 404 if "none" in path and "k=" not in path else 400 if "k=none" in path else 200)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        sizes = page.evaluate("[document.scrollingElement.scrollWidth, window.innerWidth]")
        assert sizes[0] <= sizes[1], path
        assert page.evaluate(PALE) == [], path
        assert page.evaluate(SMALL) == [], path
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_query_is_asked_with_the_keyboard_and_without_scripts(visit):
    seen = visit(java_script_enabled=False)
    page = seen.go("/")
    page.keyboard.press("Tab")
    assert page.get_by_text("Skip to the content").evaluate("each => each === document.activeElement")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("红色 robot")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=*")
    assert page.get_by_label("Query, in any language").input_value() == "红色 robot"
    assert page.get_by_role("heading", level=1).inner_text() == "Why these ads?"
    for name in ("How the query was read", "The search for intentions", "Fusion", "Taken out by a rule", "Time"):
        assert page.get_by_role("heading", name=name).is_visible(), name
    assert page.get_by_role("img", name="From the place in each channel").is_visible()
    page.get_by_role("table").first.get_by_role("link").first.click()
    page.wait_for_url("**/ads/*")
    assert page.get_by_role("status").inner_text().startswith("Shown")


def test_everything_that_is_focused_is_seen(visit):
    page = visit().go("/?q=red+robot+vacuum")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        assert page.evaluate(UNSEEN) == ""
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "INPUT", "SELECT", "BUTTON", "SUMMARY", "DIV"} <= reached


def test_every_field_and_region_has_a_name(visit):
    seen = visit()
    for path in PATHS[:5]:
        page = seen.go(path, 400 if "k=none" in path else 200)
        for role in ("textbox", "searchbox", "combobox", "button", "region", "navigation", "form", "search"):
            for each in page.get_by_role(role).all():
                assert each.evaluate(NAME), (path, role, each.evaluate("each => each.outerHTML"))
        assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1


NAME = """each => each.getAttribute('aria-label') || each.innerText || (each.labels && each.labels[0].innerText)
  || document.getElementById(each.getAttribute('aria-labelledby'))?.innerText"""


@pytest.mark.parametrize("at", range(len(HOSTILE)))
def test_hostile_titles_and_queries_do_nothing(visit, at):
    seen = visit()
    text = quote(HOSTILE[at])
    for path in (f"/?q={text}", f"/ads/hostile{at}?q={text}"):
        page = seen.go(path)
        assert page.get_by_role("heading", level=1).is_visible()
        assert page.evaluate("document.scripts.length") == 0
    assert page.get_by_label("Query, in any language").input_value().split() == HOSTILE[at].split()


def test_live_figures_come_again_by_themselves(visit):
    seen = visit()
    page = seen.go("/live?every=2")
    with page.expect_navigation():
        pass
    assert page.get_by_role("heading", level=1).inner_text() == "Live"
    page.get_by_role("link", name="Stop").click()
    assert page.locator("meta[http-equiv]").count() == 0


def test_a_browser_asks_for_the_key(chromium, engine_directory, tmp_path):
    from intently.serve.keys import digest_of

    settings, keys = tmp_path / "serve.toml", tmp_path / "keys.toml"
    settings.write_text(SETTINGS_FILE)
    keys.write_text(f'[[key]]\nname = "people"\nsha256 = "{digest_of("secret")}"\n')
    process = Process(engine_directory, settings, "--keys", str(keys))
    try:
        for password, expected in (("wrong", 401), ("secret", 200)):
            credentials = {"username": "me", "password": password}
            seen = Visit(chromium, process.address, http_credentials=credentials)
            page = seen.go("/?q=red", expected)
            assert page.get_by_text("Red pan").first.is_visible() == (expected == 200)
            seen.context.close()
    finally:
        assert process.end() == 0
