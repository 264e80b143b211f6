"""`docs/tutorial.ipynb` runs from its first cell to its last."""

from pathlib import Path

import pytest

pytest.importorskip("ipykernel", reason="of the extra test")
pytest.importorskip("matplotlib", reason="extra 'recipe' is not installed")
pytest.importorskip("pystoi", reason="extra 'scoring' is not installed")
nbclient = pytest.importorskip("nbclient", reason="of the extra test")
nbformat = pytest.importorskip("nbformat", reason="of the extra test")

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"


@pytest.mark.slow
def test_every_cell_runs(tmp_path, monkeypatch):
    root = str(NOTEBOOK.parents[1])
    monkeypatch.setenv("PYTHONPATH", root)
    notebook = nbformat.read(NOTEBOOK, 4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs"
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    # What it says about the training that it ran, and the table at its end.
    texts = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(str(output.get("text", "")) for output in texts)
    shown = "".join(str(output.get("data", {}).get("text/markdown", "")) for output in texts)
    assert "4epoch" in printed and "| Tiny |" in shown and "| Small |" in shown
    difference = float(printed.partition("difference to Enhancer: ")[2].split()[0])
    assert difference < 1e-5
    assert (tmp_path / "tutorial_files/report/report.html").is_file()
