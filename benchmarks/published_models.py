"""What mitoscale answers with models of others, beside what their publishers' own code answers: the largest differences.

    python -m venv ENV
    ENV/bin/pip install -e . mobilesam-lite==0.1.2 empanada-napari==1.2.4 torch-em==0.10.9 bioimageio.core==0.11.0
    ENV/bin/python benchmarks/published_models.py VOLUME.tif --out benchmarks/results/published-models.json

ENV is to be thrown away: mitoscale needs none of these packages. ``empanada-napari`` brings ``empanada`` along; the package
``empanada-dl`` 0.1.7 holds the same networks and engines, but asks for a numpy that is too old for mitoscale. A part whose package
is missing is skipped, and says so.

The weights are random: files of the publishers' layout, which their own code makes in a temporary folder. The first slices of the
volume, uint8, are what the networks see. Everything is computed in float32 on the CPU by one thread. ``deviation`` is the standard
deviation of the publisher's answer, beside which a difference is to be read.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import yaml

from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings
from mitoscale.nets.checkpoint import load_sam
from mitoscale.nets.factories import make_detector, weights_digest
from mitoscale.nets.mask_decoding import BOX_START, BOX_STOP, PADDING, POSITIVE
from published_folder import PREPROCESSING, write_folder

Row = dict[str, Any]

SPACING = (5.0, 5.0, 5.0)
"""Voxel size in nm; no part resamples."""


def row(what: str, ours: Any, theirs: Any) -> Row:
    """The largest difference of two answers."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return {"what": what, "largest_difference": float(np.abs(a - b).max()), "deviation": float(b.std())}


def detected(name: str, slices: np.ndarray, **options: Any) -> np.ndarray:
    """(Z, Y, X) foreground by the detector that a name means."""
    settings = DetectSettings(detector=name, weights=weights_digest(name), options=options)
    return make_detector(settings, SPACING).foreground(slices, Region.of_shape(slices.shape))


def mobile_sam() -> torch.nn.Module:
    """MobileSAM with weights of which none is 0 or 1."""
    from mobilesam_lite.mobile_sam.build_sam import build_sam_vit_t

    torch.manual_seed(0)
    network: torch.nn.Module = build_sam_vit_t()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "attention_biases" in name:
                value.normal_(0, 0.5)
            elif name.endswith("bn.weight"):
                value.normal_(1, 0.2)
            elif name.endswith("bias"):
                value.normal_(0, 0.1)
        for name, statistic in network.named_buffers():
            if "running_mean" in name:
                statistic.normal_(0, 0.1)
            elif "running_var" in name:
                statistic.uniform_(0.5, 1.5)
    return network.train().eval()  # its attention gathers its biases when eval() is called


def vit_t(volume: np.ndarray, folder: Path) -> list[Row]:
    """MobileSAM's image encoder, and its decoder asked with a point, a box, and both."""
    from mobilesam_lite.mobile_sam.predictor import SamPredictor

    theirs = mobile_sam()
    torch.save(theirs.state_dict(), folder / "vit_t.pt")
    ours, _ = load_sam(str(folder / "vit_t.pt"))
    part = volume[0, :1024, :1024]
    picture = np.pad(part, [(0, 1024 - n) for n in part.shape], mode="symmetric")
    predictor = SamPredictor(theirs)
    predictor.set_image(np.repeat(picture[..., None], 3, axis=2))
    with torch.inference_mode():
        embedding = ours.encode(torch.from_numpy(picture)[None])
    rows = [row("image embedding", embedding, predictor.features)]
    point, box = [300, 400], [100, 150, 260, 300]  # (x, y) and (x, y, x, y)
    corners, meaning = [box[1::-1], box[3:1:-1]], [BOX_START, BOX_STOP]
    for what, points, labels in (
        ("a point", [point[::-1], [0, 0]], [POSITIVE, PADDING]),
        ("a box", [*corners, [0, 0]], [*meaning, PADDING]),
        ("a point and a box", [*corners, point[::-1]], [*meaning, POSITIVE]),
    ):
        one = np.array([point]) if POSITIVE in labels else None
        around = np.array(box) if BOX_START in labels else None
        _, iou, logits = predictor.predict(one, None if one is None else np.array([1]), box=around, multimask_output=around is None)
        if one is None:
            points, labels = points[:2], labels[:2]  # a box alone is not padded
        with torch.inference_mode():
            masks, ious = ours.decode(
                embedding, torch.zeros(1, dtype=torch.long), torch.tensor([points], dtype=torch.float32), torch.tensor([labels])
            )
        kept = slice(1, None) if around is None else slice(0, 1)
        rows += [row(f"mask logits from {what}", masks[0, kept], logits), row(f"predicted IoU from {what}", ious[0, kept], iou)]
    return rows


class Trainable(torch.nn.Module):
    """Holds a SAM under the name by which micro-sam's training holds it."""

    def __init__(self, sam: torch.nn.Module) -> None:
        super().__init__()
        self.sam = sam


def torch_em(volume: np.ndarray, folder: Path) -> list[Row]:
    """A checkpoint as torch-em's trainer writes it, with optimizer, loss and loaders in it."""
    from torch.utils.data import DataLoader, TensorDataset
    from torch_em.loss import DiceLoss
    from torch_em.trainer import DefaultTrainer

    model = Trainable(mobile_sam())
    loader: Any = DataLoader(TensorDataset(torch.from_numpy(volume[:, None, :8, :8]), torch.zeros(len(volume), 1, 8, 8)))
    loader.shuffle = False
    optimizer = torch.optim.AdamW(model.parameters())
    trainer = DefaultTrainer(
        name="peer",
        train_loader=loader,
        val_loader=loader,
        model=model,
        loss=DiceLoss(),
        metric=DiceLoss(),
        optimizer=optimizer,
        lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
        device=torch.device("cpu"),
        mixed_precision=False,
        compile_model=False,
        logger=None,
        save_root=str(folder),
    )
    trainer._initialize(1, None)
    trainer.save_checkpoint("best", np.float64(0.3), np.float64(0.2))
    ours = load_sam(str(folder / "checkpoints" / "peer" / "best.pt"))[0].state_dict()
    theirs = model.sam.state_dict()
    assert ours, "no parameter was read"
    flat = [torch.cat([values[name].flatten().float() for name in sorted(ours)]) for values in (ours, theirs)]
    return [row("parameters", *flat) | {"parameters": sum(v.numel() for v in ours.values())}]


def mitonet(volume: np.ndarray, folder: Path) -> list[Row]:
    """MitoNet and its mini: the foreground of slices, as empanada-napari's settings and empanada's engine give it."""
    from empanada.inference.engines import PanopticDeepLabRenderEngine3d
    from empanada.models import quantization

    slices = np.ascontiguousarray(volume[:, :128, :144])
    height, width = slices.shape[1:]
    found = importlib.util.find_spec("empanada_napari")
    assert found is not None and found.origin is not None  # its version is known
    here = Path(found.origin).parent
    preprocessor = alone(here / "utils.py").Preprocessor
    rows = []
    for name, layout, kind in (
        ("MitoNet_v1", "pdl_model", "QuantizablePanopticDeepLabPR"),
        ("MitoNet_v1_mini", "bifpn_model", "QuantizablePanopticBiFPNPR"),
    ):
        settings = yaml.safe_load((here / "configs" / f"{name}.yaml").read_text())
        shape = yaml.safe_load((here / "training" / f"{layout}.yaml").read_text()) | {"num_classes": 1, "quantize": False}
        shape.pop("arch")
        torch.manual_seed(0)
        network = getattr(quantization, kind)(**shape)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # its statistics become those of the one batch that follows
        prepared = [preprocessor(**settings["norms"])(z)["image"][None] for z in slices]
        seen = torch.cat([prepared[0][..., :128, :128], prepared[1][..., :128, :128]])
        with torch.no_grad():
            network.train()(seen, 2, False)
        torch.jit.save(torch.jit.script(network.eval()), folder / f"{name}.pth")
        network = torch.jit.load(folder / f"{name}.pth")
        answers = {}
        for median in (1, 3):
            engine = PanopticDeepLabRenderEngine3d(
                network, settings["thing_list"], median_kernel_size=median, padding_factor=settings["padding_factor"]
            )
            answers[median] = recorded(engine, prepared, (height, width))
        single = detected(str(folder / f"{name}.pth"), slices, median=1)
        queue = single.copy()
        for z in range(1, len(queue) - 1):
            queue[z] = np.median(np.stack([queue[z - 1], single[z], single[z + 1]]), axis=0)
        rows += [
            row(f"{name}, foreground without the median", single, answers[1]),
            row(f"{name}, median of 3 slices", detected(str(folder / f"{name}.pth"), slices, median=3), answers[3]),
            row(f"{name}, median of 3 taken over earlier medians, as empanada's queue takes it", queue, answers[3]),
        ]
    return rows


def alone(path: Path) -> Any:
    """A module of a package without the package itself, which would open a window's libraries."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # of a file that is there
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded(engine: Any, prepared: list[torch.Tensor], size: tuple[int, int]) -> np.ndarray:
    """(Z, Y, X) foreground probability that an engine of empanada goes on with."""
    found, go_on = [], engine.postprocess

    def postprocess(probability: torch.Tensor, cells: torch.Tensor) -> Any:
        found.append(probability[0, 0, : size[0], : size[1]].clone().numpy())
        return go_on(probability, cells)

    engine.postprocess = postprocess
    for image in prepared:
        engine(image, size)
    engine.end()
    return np.stack(found)


def bioimageio(volume: np.ndarray, folder: Path) -> list[Row]:
    """A model folder of slices, with each kind of preprocessing, without a halo and with one."""
    from bioimageio.core import Sample, Tensor, create_prediction_pipeline
    from bioimageio.spec import load_description

    picture = np.ascontiguousarray(volume[:1, :128, :192])
    rows = []
    for halo in (0, 4):
        for label, steps in PREPROCESSING.items():
            model = write_folder(folder / f"{label} {halo}", steps, halo, picture)
            described: Any = load_description(model / "rdf.yaml", perform_io_checks=False)
            with create_prediction_pipeline(described, weight_format="torchscript", devices=["cpu"]) as pipeline:
                given = Tensor(picture[None].astype(np.float32), dims=("batch", "channel", "y", "x"))
                sample = Sample(members={pipeline.input_ids[0]: given}, stat={}, id="picture")
                answer = pipeline.predict_sample_without_blocking(sample)
                theirs = np.asarray(answer.members[pipeline.output_ids[0]].data)[0, 1]
            ours = detected(f"bioimageio:{model}", picture, channel="mito")[0]
            what = f"{label}, halo of {halo}"
            rows.append(row(what, ours, theirs))
            if halo:
                inside = (slice(2, -2),) * 2  # what the network's two convolutions of 3 x 3 see of the border
                rows.append(row(f"{what}, without the outermost 2 pixels", ours[inside], theirs[inside]))
                around = np.pad(picture, [(0, 0), (halo, halo), (halo, halo)], mode="symmetric")
                mirrored = detected(f"bioimageio:{model}", around, channel="mito")[0, halo:-halo, halo:-halo]
                rows.append(row(f"{what}, given a picture mirrored by the halo", mirrored, theirs))
    return rows


PARTS: Mapping[str, tuple[Callable[[np.ndarray, Path], list[Row]], tuple[str, ...]]] = {
    "vit_t": (vit_t, ("mobilesam-lite",)),
    "torch_em": (torch_em, ("torch-em", "mobilesam-lite")),
    "mitonet": (mitonet, ("empanada-napari",)),
    "bioimageio": (bioimageio, ("bioimageio.core",)),
}
"""What is compared, and the packages it is held against."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", help="a TIFF of uint8 with at least 4 slices of 128 x 192")
    parser.add_argument("--only", choices=list(PARTS))
    parser.add_argument("--out")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    volume = tifffile.imread(arguments.volume, key=range(4))
    result: dict[str, Any] = {"volume": Path(arguments.volume).stem, "shape": volume.shape, "torch": torch.__version__, "parts": {}}
    for name, (compare, packages) in PARTS.items():
        if arguments.only not in (None, name):
            continue
        try:
            versions = {package: metadata.version(package) for package in packages}
        except metadata.PackageNotFoundError as missing:
            print(f"{name}: skipped, there is no package {missing.name}; see --help")
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows = compare(volume, Path(folder))
        result["parts"][name] = {"held_against": versions, "rows": rows}
        print(name, *(f"{package} {version}" for package, version in versions.items()))
        for r in rows:
            print(f"  {r['largest_difference']:8.1e} of a deviation of {r['deviation']:8.1e}  {r['what']}", flush=True)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
