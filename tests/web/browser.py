"""A headless Chromium on the page, which records every request."""

import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
DESKTOP = {"viewport": {"width": 1100, "height": 860}}


def require_browser():
    """Skip the test where Playwright or Chromium is missing."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")


@contextmanager
def opened_browser(microphone):
    """Chromium whose microphone plays a WAV file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--autoplay-policy=no-user-gesture-required",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
            ],
        )
        yield browser
        browser.close()


class Visitor:
    """A page in a context of its own: nothing is shared with another visitor."""

    def __init__(self, browser, url, *, size=DESKTOP, scheme="light", **options):
        self.url, self.requests, self.errors = url, [], []
        self.context = browser.new_context(**size, color_scheme=scheme, permissions=["microphone"], **options)
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.context.set_default_timeout(120_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        self.page.goto(url)
        self.page.wait_for_selector("#question textarea")

    def other_hosts(self):
        """Addresses of requests that left the server of the page."""
        here = urlsplit(self.url).netloc
        return [
            one
            for one in self.requests
            if urlsplit(one).scheme not in ("data", "blob") and urlsplit(one).netloc != here
        ]

    def attach(self, *paths):
        before = self.page.locator("#question .thumbnail-item").count()
        self.page.set_input_files("#question input[type=file]", [str(path) for path in paths])
        self.page.wait_for_function(
            "count => document.querySelectorAll('#question .thumbnail-item').length >= count",
            arg=before + len(paths),
        )

    def ask(self, text):
        self.page.fill("#question textarea", text)
        self.page.press("#question textarea", "Enter")

    def answers(self):
        return self.page.locator(".turn.answer").all_inner_texts()

    def wait_for_answer(self):
        """Text of the last answer, when it is complete."""
        self.page.wait_for_selector(".turn.answer:last-child:not(.open)")
        return self.answers()[-1]

    def players(self):
        """Position of each audio element, and whether it is paused."""
        return self.page.evaluate(
            "[...document.querySelectorAll('.clip audio')].map(one => [one.currentTime, one.paused])"
        )
