"""`hybridse report`: one page that holds everything, heard and seen in a real browser."""

import json
import queue
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from espnet_hybridse.cli.main import main
from espnet_hybridse.fileio.lists import read_list, write_list

pytest.importorskip("matplotlib", reason="extra 'recipe' is not installed")
pytest.importorskip("jinja2", reason="extra 'recipe' is not installed")

LOG = """[h] 2026-11-22 22:17:21,005 (trainer:392) INFO: 1epoch results: [train] loss=2.799, \
total_count=200, [valid] loss=2.447, total_count=23
[h] 2026-11-22 22:22:02,571 (trainer:392) INFO: 2epoch results: [train] loss=2.58, [valid] loss=2.2
"""
PROBE = """<script>addEventListener('load', async () => {
  const seen = {played: 0, broken: 0, outside: 0};
  for (const image of document.images) if (!image.naturalWidth) seen.broken++;
  for (const audio of document.querySelectorAll('audio')) {
    audio.muted = true;
    await audio.play().catch(() => {});
    for (let i = 0; i < 100 && !audio.currentTime; i++)
      await new Promise(done => setTimeout(done, 50));
    if (audio.duration > 0.5 && audio.currentTime > 0) seen.played++;
  }
  for (const entry of performance.getEntriesByType('resource'))
    if (!entry.name.startsWith('data:')) seen.outside++;
  const reach = 'a[href], audio[controls], summary, [tabindex="0"]';
  seen.focusable = document.querySelectorAll(reach).length;
  seen.overflow = document.documentElement.scrollWidth - innerWidth;
  await fetch('/seen', {method: 'POST', body: JSON.stringify(seen)});
});</script>"""


class Page(HTMLParser):
    """Tags with their attributes, and ids."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def report(rendered):
    """Folder of a report on noisy files and on a system that makes nearly all of them clean."""
    raw, root = rendered / "dump/raw/train", rendered / "report_test"
    (root / "exp").mkdir(parents=True)
    (root / "exp" / "train.log").write_text(LOG)
    noisy, clean = read_list(raw / "wav.scp"), read_list(raw / "spk1.scp")
    first, *others = sorted(noisy)
    # A perfect system, but that it leaves one file as it is.
    write_list(root / "ours.scp", {first: noisy[first], **{uid: clean[uid] for uid in others}})
    lists = {"noisy": raw / "wav.scp", "ours": root / "ours.scp"}
    for name, scp in lists.items():
        given = ["--ref", f"{raw}/spk1.scp", "--inf", str(scp), "--out", f"{root}/{name}"]
        assert main(["score", *given, "--metrics", "SI-SDR", "LSD", "--nj", "0"]) == 0
    scores = ["--scores", f"Noisy={root}/noisy", f"Ours <b>={root}/ours"]
    more = ["--meta", f"{raw}/meta.tsv", "--losses", f"Dis.={root}/exp", "--fact", "seed=7"]
    out = root / "out"
    assert main(["report", "--out", str(out), *scores, *more, "--pictures", "2"]) == 0
    return out


@pytest.mark.slow
def test_page_holds_everything_itself(report):
    text = (report / "report.html").read_text()
    page = Page(text)
    sources = [attrs["src"] for attrs in page.all("img") + page.all("audio")]
    assert sources and all(src.startswith("data:") for src in sources)
    assert not re.search(
        r"(?:src|href)=.?(?:https?:)?//|url\(|@import|<script|<link (?!rel=.icon. href=.data:)",
        text,
    )
    assert "Ours &lt;b&gt;" in text and "<b>" not in text
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    for attrs in page.all("a"):
        assert attrs["href"][1:] in ids, "a link leads nowhere"
    for needed in ("results", "harm", "breakdown", "scatter", "training", "utterances", "versions"):
        assert needed in ids
    assert "seed: 7" in text and "command: hybridse" in text and "torch" in text


def test_page_can_be_read_without_eyes_or_mouse(report):
    page = Page((report / "report.html").read_text())
    assert page.all("html")[0]["lang"] == "en" and len(page.all("h1")) == 1
    for attrs in page.all("img"):
        assert len(attrs["alt"]) > 20
    assert len({attrs["aria-label"] for attrs in page.all("audio")}) == len(page.all("audio")) == 6
    regions = [attrs for attrs in page.all("div") if "scroll" in attrs.get("class", "")]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)


def test_markdown_and_latex_have_the_same_numbers(report):
    text = (report / "RESULTS.md").read_text()
    page = (report / "report.html").read_text()
    for heading in ("## Do no harm", "## By distortion", "## By SNR", "## By language", "## Notes"):
        assert heading in text
    mean = re.search(r"\| Noisy \| (\S+ ± \S+) \|", text).group(1)
    assert f"<td>{mean}</td>" in page
    latex = (report / "table.tex").read_text()
    assert f"Noisy & {mean.split(' ')[0]} & " in latex and r"\textbf{" in latex
    for name in ("losses.png", "spectrograms.png"):
        assert (report / name).read_bytes().startswith(b"\x89PNG")


def test_report_needs_something_to_report(tmp_path, capsys):
    assert main(["report", "--out", str(tmp_path)]) == 2
    assert "--scores NAME=DIR" in capsys.readouterr().err
    assert main(["report", "--out", str(tmp_path), "--scores", f"A={tmp_path}"]) == 2
    assert "no scores in" in capsys.readouterr().err


def test_unknown_utterance_is_named(report, tmp_path, capsys):
    scores = ["--scores", f"Noisy={report.parent}/noisy", "--uids", "nobody"]
    assert main(["report", "--out", str(tmp_path), *scores]) == 2
    assert "--uids nobody: no system was scored on it" in capsys.readouterr().err


def test_report_says_that_no_file_could_be_read(tmp_path, capsys, caplog):
    scores = tmp_path / "scores"
    scores.mkdir()
    row = {"uid": "u0", "stamp": "s", "fs": 16000, "seconds": 1.0, "scores": {"PESQ": 2.0}}
    row.update(failed={}, weights={}, notes={}, cost_s={})
    (scores / "scores.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "wav.scp").write_text("u0 elsewhere/u0.wav\n")
    settings = {"ref_scp": None, "inf_scp": f"{tmp_path}/wav.scp"}
    (scores / "scoring.json").write_text(json.dumps(settings))
    given = ["report", "--out", f"{tmp_path}/out", "--scores", f"A={scores}"]
    assert main(given) == 0
    assert "A of u0 is not shown: unreadable" in caplog.text
    assert "None of the files can be read here" in (tmp_path / "out/report.html").read_text()
    assert main([*given, "--losses", f"D={tmp_path}"]) == 2
    assert f"--losses D={tmp_path}: no train.log there" in capsys.readouterr().err
    twice = [*given, "--scores", f"A={scores}"]
    assert main(twice) == 2
    assert "--set is given 0 times and --scores 2 times" in capsys.readouterr().err
    assert main([*twice, "--set", "One", "--set", "Two", "--meta", "m.tsv"]) == 2
    assert "--meta is given 1 times and --scores 2 times" in capsys.readouterr().err


@pytest.mark.slow
def test_two_test_sets_have_sections_and_tables_of_their_own(report, tmp_path):
    root, meta = report.parent, report.parent.parent / "dump/raw/train/meta.tsv"
    first = ["--set", "Simulated", "--scores", f"Noisy={root}/noisy", f"Ours={root}/ours"]
    second = ["--set", "Real", "--scores", f"Noisy={root}/noisy", f"Theirs={root}/ours"]
    metas = ["--meta", str(meta), "--meta", str(meta)]
    out = tmp_path / "out"
    more = ["--losses", f"Dis.={root}/exp", "--cores", "2", "--pictures", "1"]
    assert main(["report", "--out", str(out), *first, *second, *metas, *more]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"report.html", "RESULTS.md", "table.tex", "table_2.tex", "losses.png",
                     "spectrograms.png"}  # fmt: skip
    text = (out / "RESULTS.md").read_text()
    assert text.index("# Simulated") < text.index("| Ours |") < text.index("# Real")
    assert text.index("# Real") < text.index("| Theirs |")
    page = Page((out / "report.html").read_text())
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) and {"harm", "harm-2", "breakdown-2"} <= set(ids)
    assert all(attrs["href"][1:] in ids for attrs in page.all("a"))


class Probe(ThreadingHTTPServer):
    """Serves the page with the probe in it and keeps what the browser reports."""

    def __init__(self, text):
        super().__init__(("127.0.0.1", 0), Handler)
        self.page = text.replace("</body>", PROBE + "</body>").encode()
        self.seen = queue.Queue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/" else 404)
        self.end_headers()
        self.wfile.write(self.server.page if self.path == "/" else b"")

    def do_POST(self):
        self.server.seen.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("width", [1200, 500])  # Chromium's windows are 500 wide at least
def test_page_opens_and_plays_in_a_browser(report, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium here; Debian and Ubuntu have it as 'chromium'")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    flags += ["--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"]
    with Probe((report / "report.html").read_text()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with open(tmp_path / "browser.log", "w") as log:
            process = subprocess.Popen([browser, *flags, url], stdout=log, stderr=log)
        try:
            seen = server.seen.get(timeout=240)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
    assert seen["played"] == 6 and seen["broken"] == 0 and seen["outside"] == 0, seen
    assert seen["focusable"] > 20 and seen["overflow"] <= 0, seen
