"""Pages of a real Chromium that write down what they ask for and what is wrong with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    WebError,
    async_playwright,
    expect,
)

# To a browser this is no loopback address: what a page does on a user's host, it does here.
HOST = "looma.test"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_MS = 20_000  # for one step, on a busy machine


class Watched:
    """`asked` has the host of everything that was asked for, `complaints` what went wrong: errors,
    dialogs, and what the page's policy stopped.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        context = page.context
        context.on("request", self._note_request)
        context.on("console", self._note_console)
        context.on("weberror", self._note_error)
        context.on("dialog", self._note_dialog)

    def assert_clean(self) -> None:
        """Nothing went wrong, and no host but the page's own was asked for anything."""
        assert self.complaints == []
        assert set(self.asked) == {HOST}

    def _note_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme != "data":
            self.asked.append(address.hostname or request.url)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _note_error(self, error: WebError) -> None:
        self.complaints.append(str(error.error))

    async def _note_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser to whom this machine is HOST; the test is skipped where there is none."""
    program = _program()
    expect.set_options(timeout=_PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=[f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def watched(
    browser: Browser, url: str, path: str, headers: dict[str, str] | None = None
) -> AsyncIterator[Watched]:
    """A new profile's page at `path` of what listens at `url` on 127.0.0.1.

    `headers` are added to all that it asks for, as a proxy may.
    """
    context = await browser.new_context(
        base_url=f"http://{HOST}:{urlsplit(url).port}", extra_http_headers=headers
    )
    context.set_default_timeout(_PATIENCE_MS)
    seen = Watched(await context.new_page())
    try:
        await seen.page.goto(path)
        yield seen
    finally:
        await context.close()


def _program() -> str:
    """The program at TEST_CHROMIUM, or one in PATH."""
    named = os.environ.get("TEST_CHROMIUM")
    found = [shutil.which(name) for name in ([named] if named else _NAMES)]
    program = next(filter(None, found), None)
    if program is None and named:
        pytest.fail(f"TEST_CHROMIUM: {named} is no program")
    if program is None:
        pytest.skip("no Chromium in PATH: install one, or name it in TEST_CHROMIUM")
    return program
