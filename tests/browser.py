"""A headless Chromium that tests can look at a page with: its console, its requests, its layout, a picture of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
DESKTOP, PHONE = 1280, 390


def find_chromium() -> tuple[str, str] | None:
    """Paths of a Chromium and its driver; None where one of them is not installed."""
    browsers = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    browser, driver = next(filter(None, browsers), None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One page at a time, of a given width, in a light or a dark system."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def show(self, path: Path, *, width: int = DESKTOP, height: int = 900, dark: bool = False) -> None:
        """Open a file afresh; what was logged before is forgotten."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        # Without animation there is nothing to wait for.
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
        self.driver.get("about:blank")
        self.console()
        self.requests()
        self.driver.get(path.resolve().as_uri())

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """What a JavaScript expression is in the page."""
        return self.driver.execute_script(f"return ({script})", *arguments)

    def console(self) -> list[str]:
        """Everything the page said since the last call: errors, warnings, violations of its security policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that was asked for since the last call, the page itself and embedded data included."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def press(self, key: str) -> None:
        """Press one key where the focus is, as a person does."""
        self.driver.switch_to.active_element.send_keys(key)

    def downloaded(self, name: str, *, seconds: float = 5.0) -> str:
        """The text of a file that the page saved, as soon as it is there."""
        path = self.downloads / name
        deadline = time.monotonic() + seconds
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return path.read_text(encoding="utf-8")

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Save a picture of the whole page, or of what is in view."""
        options: dict[str, Any] = {}
        if whole:
            size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            options = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a Chromium with an empty profile; the test is skipped, with the reason, where there is none."""
    found = find_chromium()
    if found is None:
        pytest.skip("no Chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)")
    chromium, chromedriver = found
    with tempfile.TemporaryDirectory(prefix="meta_baseline_browser_") as folder:
        downloads = Path(folder) / "downloads"
        downloads.mkdir()
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={folder}/profile"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        service = Service(executable_path=chromedriver, env={**os.environ, "HOME": folder})
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield Browser(driver, downloads)
        finally:
            driver.quit()
