"""The page: what is chosen on the left, what came of it on the right; built with gradio."""

import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from espnet_hybridse.demo import player
from espnet_hybridse.demo.studio import TITLES, Outcome, Stopped, Studio, Wish
from espnet_hybridse.inference.gate import GATES

# Before gradio is imported: nothing is told to anybody, and nothing is fetched.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

try:
    import gradio as gr
except ImportError as error:
    raise RuntimeError(
        f"the page is built with gradio ({error}): pip install 'espnet_hybridse[demo]'"
    ) from error

NO_LIMIT_DB = 60
"""Right end of the slider of the attenuation limit, where it sets none."""
KEPT_S = 3600
"""Uploads are deleted after so long; results when their page is left or makes others."""
FILES = "gradio_api/file="
"""Gradio's address of files, relative to the page: a Space has a path of its own."""
WELCOME = (
    "Drop a recording or record one, then press Enhance; or take one of the examples. "
    "Everything is computed where this page comes from, and nothing is sent elsewhere."
)
FONTS = ("system-ui", "-apple-system", "Segoe UI", "sans-serif")


class Page:
    """The page of one :class:`Studio`.

    Args:
        studio: what enhances.
        examples: name -> noisy recording, offered as buttons.

    Attributes:
        folder: where results are while somebody looks at them; :meth:`close` deletes it.
    """

    def __init__(self, studio: Studio, examples: dict[str, Path]):
        self.studio, self.examples = studio, examples
        self.folder = Path(tempfile.mkdtemp(prefix="hybridse-demo-"))
        self._stops: dict[str, threading.Event] = {}
        self._results: dict[str, Path] = {}

    def close(self) -> None:
        """Stop what runs and delete what it made."""
        for stop in list(self._stops.values()):
            stop.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def blocks(self) -> "gr.Blocks":
        """Build the page."""
        names = [(TITLES[name], name) for name in self.studio.branches]
        with gr.Blocks(
            analytics_enabled=False, title="hybridse demo", delete_cache=(KEPT_S, KEPT_S)
        ) as page:
            gr.HTML(HEAD, elem_id="hs-head", padding=False)
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    file = gr.File(
                        label=f"Recording, up to {self.studio.max_mb:g} MB",
                        type="filepath",
                        height=130,
                        elem_id="hs-file",
                    )
                    voice = gr.Audio(
                        sources=["microphone"],
                        type="filepath",
                        format="wav",
                        label="or a microphone",
                        elem_id="hs-voice",
                    )
                    branches = gr.CheckboxGroup(
                        names,
                        value=list(self.studio.branches),
                        label="Hear",
                        elem_id="hs-branches",
                        visible=len(names) > 1,
                    )
                    mix = gr.Slider(
                        0,
                        100,
                        100,
                        step=1,
                        label="Strength (%)",
                        info="0 is the recording itself",
                        elem_id="hs-mix",
                    )
                    limit = gr.Slider(
                        0,
                        NO_LIMIT_DB,
                        NO_LIMIT_DB,
                        step=1,
                        label="Limit (dB)",
                        info=f"most that anything is taken down by; {NO_LIMIT_DB}: no limit",
                        elem_id="hs-limit",
                    )
                    gate = gr.Radio(
                        list(GATES),
                        value=GATES[0],
                        label="Gate",
                        info="auto leaves clean speech as it is",
                        elem_id="hs-gate",
                    )
                    with gr.Row():
                        go = gr.Button("Enhance", variant="primary", min_width=120, elem_id="hs-go")
                        halt = gr.Button("Stop", min_width=80, elem_id="hs-stop", interactive=False)
                with gr.Column(scale=3, min_width=420):
                    if self.examples:
                        with gr.Row(elem_id="hs-examples"):
                            shown = [
                                gr.Button(name.replace("_", " "), size="sm")
                                for name in self.examples
                            ]
                    result = gr.HTML(player.note(WELCOME), elem_id="hs-result", padding=False)
            options, outputs = [branches, mix, limit, gate], [result, go, halt]
            quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
            # The later of file and microphone is what is meant.
            file.upload(lambda: None, None, voice, **quiet)
            voice.input(lambda: None, None, file, **quiet)
            go.click(self._chosen, [file, voice, *options], outputs, **quiet)
            if self.examples:
                for button, path in zip(shown, self.examples.values(), strict=True):
                    button.click(lambda p=str(path): (p, None), None, [file, voice], **quiet).then(
                        self._chosen, [file, voice, *options], outputs, **quiet
                    )
            halt.click(self._stop, None, halt, queue=False, **quiet)
            page.unload(self._leave)
        return page.queue(default_concurrency_limit=1)

    def launch(self, **options: Any) -> tuple[Any, str, str]:
        """Serve the page; options as of gradio's `launch`."""
        theme = gr.themes.Soft(font=FONTS, font_mono=("ui-monospace", "monospace"))
        return self.blocks().launch(
            allowed_paths=[str(self.folder)],
            max_file_size=int(self.studio.max_mb * 1e6),
            head=f"<script>{player.SCRIPT.read_text(encoding='utf-8')}</script>",
            css_paths=player.STYLE,
            theme=theme,
            footer_links=[],
            ssr_mode=False,
            **options,
        )

    def _chosen(
        self,
        file: str | None,
        voice: str | None,
        branches: list[str],
        mix: float,
        limit: float,
        gate: str,
        request: gr.Request,
    ) -> Iterator[tuple[str, dict, dict]]:
        """The right side while a recording is enhanced, and both buttons."""
        idle = (gr.update(interactive=True), gr.update(interactive=False))
        busy = (gr.update(interactive=False), gr.update(interactive=True))
        source = file or voice
        if source is None:
            yield player.note("Drop a file, record something or take an example.", NOTHING), *idle
            return
        wish = Wish(
            Path(source),
            tuple(branches),
            mix / 100,
            None if limit >= NO_LIMIT_DB else float(limit),
            gate,
        )
        session = str(request.session_hash)
        stop = self._stops[session] = threading.Event()
        folder = self._fresh_folder(session)
        try:
            for step in self.studio.enhance(wish, folder, stop):
                if isinstance(step, Outcome):
                    missing = self.studio.score.missing
                    yield player.player(step, _address, missing), *idle
                else:
                    yield player.progress(step), *busy
        except Stopped:
            yield player.note("Stopped.", wish.source.name), *idle
        except (ValueError, OSError, RuntimeError) as error:
            yield player.note(str(error), CANNOT, wrong=True), *idle
        except Exception as error:  # the page goes on, whatever happened
            logging.exception("%s", wish.source.name)
            yield player.note(f"{type(error).__name__}: {error}", CANNOT, wrong=True), *idle

    def _fresh_folder(self, session: str) -> Path:
        if session in self._results:
            shutil.rmtree(self._results[session], ignore_errors=True)
        folder = self._results[session] = Path(tempfile.mkdtemp(dir=self.folder))
        return folder

    def _stop(self, request: gr.Request) -> dict:
        if stop := self._stops.get(str(request.session_hash)):
            stop.set()
        return gr.update(interactive=False)

    def _leave(self, request: gr.Request) -> None:
        session = str(request.session_hash)
        if stop := self._stops.pop(session, None):
            stop.set()
        if folder := self._results.pop(session, None):
            shutil.rmtree(folder, ignore_errors=True)


NOTHING = "There is no recording yet"
CANNOT = "This recording cannot be enhanced"
HEAD = (
    "<h1>hybridse</h1><p>Universal speech enhancement: noise, reverberation, clipping, lost "
    "packets, narrow bands, codecs and wind.</p>"
)


def _address(path: Path) -> str:
    return FILES + quote(str(path))


def serve(
    model: str | None = None,
    *,
    device: str = "cpu",
    examples: dict[str, Path] | None = None,
    max_mb: float = 100.0,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    open_browser: bool = False,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        model, device, max_mb: as of :class:`Studio`.
        examples: as of :class:`Page`.
        host: address to listen at; the default is reached from this machine alone.
        port: None takes the first free one from 7860.
        share: whether gradio's servers give it a public address.
        open_browser: whether to open it here.

    Raises:
        ValueError: as of :class:`Studio`, or the port is taken.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio asks itself whether it is there
    page = Page(Studio(model, device, max_mb), examples or {})
    try:
        _, here, public = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
        print(f"Open {public or here} in a browser; Ctrl-C ends it.", flush=True)
        threading.Event().wait()
    except OSError as error:
        raise ValueError(f"--port {port}: {error}; name another, or none") from error
    except KeyboardInterrupt:
        print("ended")
    finally:
        page.close()
