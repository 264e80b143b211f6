"""The page in a real browser: upload, enhance, play, change an option, download, a wrong file."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from espnet_hybridse.demo.examples import OWN, find_examples

if not find_spec("gradio"):
    pytest.skip("gradio is of the extra demo", allow_module_level=True)
if not find_spec("playwright"):
    pytest.skip("playwright, which drives the browser, is not installed", allow_module_level=True)

NOISY = OWN / "hiss_and_hum.flac"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here; Debian and Ubuntu have it as 'chromium'"
)
MAX_MB = 2.0


@pytest.fixture(scope="module")
def url():
    # Imported here, not above: gradio takes seconds, which all processes of a run would pay.
    from espnet_hybridse.demo.page import Page
    from espnet_hybridse.demo.studio import Studio

    page = Page(Studio(max_mb=MAX_MB), find_examples(OWN))
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    page.close()
    assert not page.folder.exists()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, url):
    outside = []
    tab = browser.new_page(viewport={"width": 1240, "height": 900})
    tab.set_default_timeout(120_000)
    tab.on("request", lambda request: outside.append(request.url))
    tab.goto(url)
    tab.wait_for_selector("#hs-go")
    yield tab
    tab.close()
    hosts = {urlsplit(one).hostname for one in outside if one.startswith("http")}
    assert hosts == {"127.0.0.1"}, "the page fetches from outside"


def upload(page, path):
    page.set_input_files("#hs-file input[type=file]", path)


def enhance(page, comes="hybridse-player"):
    page.click("#hs-go")
    page.wait_for_selector(comes)


def test_wrong_use_is_told_before_the_page_is_made():
    command = [sys.executable, "-m", "espnet_hybridse.cli.main", "demo", "--port", "70000"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "hybridse demo: --port 70000 must lie in 1 to 65535" in done.stderr


@pytest.mark.slow
@needs_browser
def test_upload_enhance_play_and_download(page, tmp_path):
    upload(page, NOISY)
    page.wait_for_selector("#hs-file >> text=hiss_and_hum")
    enhance(page)
    rows = page.locator("hybridse-player .hs-row[data-track]")
    assert rows.evaluate_all("rows => rows.map(row => row.dataset.track)") == [
        "noisy",
        "disc",
        "gen",
        "hybrid",
    ]
    assert page.locator(".hs-mask img").count() == 1
    assert "takes 100 % of the enhancement" in page.inner_text(".hs-facts")

    page.click(".hs-play")
    page.wait_for_function("document.querySelector('.hs-seek').value > 0.3")
    page.click("[data-track=noisy] .hs-track")
    audios = "[...document.querySelectorAll('hybridse-player audio')]"
    assert page.evaluate(f"{audios}.map(audio => audio.muted)") == [False, True, True, True]
    places = page.evaluate(f"{audios}.map(audio => audio.currentTime)")
    assert min(places) > 0.3 and np.ptp(places) < 0.3, "one play position"

    with page.expect_download() as waiting:
        page.click("[data-track=hybrid] .hs-save")
    assert waiting.value.suggested_filename == "hiss_and_hum_hybrid.flac"
    waiting.value.save_as(tmp_path / "got.flac")
    want, got = soundfile.info(NOISY), soundfile.info(tmp_path / "got.flac")
    assert (got.frames, got.samplerate) == (want.frames, want.samplerate)


@pytest.mark.slow
@needs_browser
def test_an_option_changes_the_result(page):
    upload(page, NOISY)
    page.wait_for_selector("#hs-file >> text=hiss_and_hum")
    page.click("#hs-branches >> text=Gen.")
    page.click("#hs-branches >> text=Hybrid")
    page.click("#hs-gate >> text=off")
    enhance(page)
    assert page.locator("hybridse-player .hs-row[data-track]").count() == 2
    assert "off: takes all of the enhancement" in page.inner_text(".hs-facts")


@pytest.mark.slow
@needs_browser
def test_an_example_is_one_click(page):
    page.click("#hs-examples >> text=room and rumble")
    page.wait_for_selector("hybridse-player")
    assert "room_and_rumble" in page.inner_text(".hs-facts")


@pytest.mark.slow
@needs_browser
def test_a_wrong_file_says_why_and_the_page_goes_on(page, tmp_path):
    text = tmp_path / "notes.wav"
    text.write_text("no audio at all")
    upload(page, text)
    page.wait_for_selector("#hs-file >> text=notes")
    enhance(page, ".hs-wrong")
    message = page.inner_text(".hs-wrong")
    assert "This recording cannot be enhanced" in message and len(message) > 60
    page.click("#hs-examples >> text=hiss and hum")
    page.wait_for_selector("hybridse-player")


@pytest.mark.slow
@needs_browser
def test_a_large_file_is_refused_by_its_size(page, tmp_path):
    large = tmp_path / "large.wav"
    soundfile.write(large, np.zeros(int(MAX_MB * 1e6)), 16000)
    upload(page, large)
    page.wait_for_selector("text=/exceeds|size/i")


@pytest.mark.slow
@needs_browser
def test_a_long_recording_shows_progress_and_stops(page, tmp_path):
    wav, fs = soundfile.read(NOISY)
    long = tmp_path / "long.flac"
    soundfile.write(long, np.tile(wav, 12)[: int(0.9 * MAX_MB * 1e6)], fs)
    upload(page, long)
    page.wait_for_selector("#hs-file >> text=long")
    page.click("#hs-go")
    page.wait_for_selector(".hs-progress")
    page.wait_for_selector("text=/Enhancing: [1-9]/")
    page.click("#hs-stop")
    page.wait_for_selector("text=Stopped.")
