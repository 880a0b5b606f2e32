"""napari finds the reader by its manifest, and gets a run's layers; without a screen, and without napari."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Finished, Stack, labels_of

import mitoscale as package
from mitoscale.api.napari_reader import get_reader
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table

MANIFEST = Path(package.__file__).with_name("napari.yaml")


def test_the_manifest_is_valid_and_found_by_its_entry_point() -> None:
    npe2 = pytest.importorskip("npe2", reason="npe2 is not installed: pip install npe2")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    text = (MANIFEST.parents[1] / "pyproject.toml").read_text()
    assert '[project.entry-points."napari.manifest"]\nmitoscale = "mitoscale:napari.yaml"' in text


def test_npe2_reads_a_run(finished: Finished, tmp_path: Path) -> None:
    npe2 = pytest.importorskip("npe2", reason="npe2 is not installed: pip install npe2")
    manager = npe2.PluginManager.instance()
    manager.register(npe2.PluginManifest.from_file(MANIFEST))
    try:
        layers, reader = npe2.read_get_reader([finished.run], stack=False)
    finally:
        manager.unregister("mitoscale")
    assert reader.command == "mitoscale.read_run"
    (image, look, kind), (labels, settings, second), (points, _, third) = layers
    assert (kind, second, third) == ("image", "labels", "points")
    assert look["scale"] == settings["scale"] == (10.0, 10.0, 10.0)
    np.testing.assert_array_equal(np.asarray(labels), labels_of(finished.run))
    assert image.shape == labels.shape
    objects = read_table(RunFolder(finished.run).objects)
    features = settings["features"].set_index("index")
    assert features.loc[3].volume_nm3 == objects["volume_nm3"][objects["label"] == 3][0]
    z, y, x = np.rint(points[0]).astype(int)
    assert labels[z, y, x].compute() > 0  # a detection lies in an object


def test_other_folders_are_left_to_others_and_a_run_at_work_shows_its_image(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    assert get_reader(str(tmp_path)) is None and get_reader([str(tmp_path / "nothing")]) is None
    run = str(tmp_path / "run")
    assert mitoscale("convert", stack.image, run, *stack.exact()).code == 0
    reader = get_reader(run)
    assert reader is not None
    ((image, _, kind),) = reader(run)
    assert kind == "image"
    np.testing.assert_array_equal(np.asarray(image), stack.phantom.image)


def test_napari_s_windows_are_not_imported() -> None:
    code = "import sys, mitoscale.api.napari_reader; assert not {'napari', 'qtpy', 'vispy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
