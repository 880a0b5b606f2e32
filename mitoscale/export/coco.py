"""COCO: pictures of the slices and one mask for each object in each, for programs that learn or score in 2D.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import os

from mitoscale.export.exported import Content, check_grey
from mitoscale.export.kind import Kind
from mitoscale.ops.coco_rle import slice_masks
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.png import write_png

_CATEGORY = 1


def write(content: Content, path: str) -> None:
    """Write ``images`` and ``annotations.json``, a slice at a time; slices have their numbers in the volume.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The folder.
    """
    labels, image = content.labels[0], content.image[0]
    window = read_grey(content.plan).normalisation
    depth, height, width = labels.shape
    first = labels.part.start[0]
    os.makedirs(os.path.join(path, "images"))
    with open(os.path.join(path, "annotations.json"), "w", encoding="utf-8") as file:
        about = {"description": "mitochondria", "run": content.plan.run, "region": str(content.region), "level": content.first}
        file.write(json.dumps({"info": {**about, "voxel_size_nm": labels.spacing}})[:-1])
        file.write(f', "categories": [{{"id": {_CATEGORY}, "name": "mitochondrion"}}],\n"images": [\n')
        for z in range(first, first + depth):
            entry = {"id": z, "file_name": f"{z:06d}.png", "height": height, "width": width}
            file.write(("" if z == first else ",\n") + json.dumps(entry))
        file.write('\n],\n"annotations": [')
        number = 0
        for z, (plane, grey) in enumerate(zip(labels.planes(), image.planes(), strict=True), start=first):
            write_png(os.path.join(path, "images", f"{z:06d}.png"), window.apply(grey))
            for mask in slice_masks(plane):
                number += 1
                entry = {"id": number, "image_id": z, "category_id": _CATEGORY, "iscrowd": 0, "area": mask.area, "bbox": mask.box}
                entry |= {"segmentation": {"size": [height, width], "counts": mask.counts}, "object": mask.label}
                file.write(("\n" if number == 1 else ",\n") + json.dumps(entry))
        file.write("\n]}\n")


KIND = Kind(name="coco", endings=(".coco",), write=write, check=check_grey, folder=True)
