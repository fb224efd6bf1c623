"""`folder:PATH`: images in one folder a class, or all in one folder, read with limits on size and number."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vestige.data.arrays import samples_tensor
from vestige.data.dataset import DataError, DataSet

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no format that calls another program (EPS)
LARGEST_FILE, LARGEST_SIDE, LARGEST_TOTAL = 50 * 2**20, 4096, 2 * 2**30


def load_folder(root: Path, name: str) -> DataSet:
    """Read the images below `root`; each sub-folder is a class, in the order of the names.

    All images must have the same size; gray only if all are gray, color otherwise, transparency on white.

    Raises:
        DataError: no such folder, no images, a file that is no image, too large, or of another size than the first.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; folder:PATH names one with images, or with one sub-folder a class")
    groups = sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink() and _images_in(p)) or [root]
    files = [(file, label) for label, group in enumerate(groups) for file in _images_in(group)]
    if not files:
        raise DataError(f"{root} holds no images ({', '.join(sorted(SUFFIXES))}), neither itself nor its sub-folders")
    pixels, total, first = [], 0, None
    for file, _ in files:
        image = _read(file)
        first = first or image.size
        if image.size != first:
            raise DataError(f"{file} is {image.size}, {files[0][0].name} is {first}; resize them to one size")
        total += 3 * image.size[0] * image.size[1]
        if total > LARGEST_TOTAL:
            raise DataError(f"{root} unpacks to more than {LARGEST_TOTAL:,} bytes; use fewer or smaller images")
        pixels.append(image)
    mode = "L" if all(image.mode == "L" for image in pixels) else "RGB"
    x = np.stack([np.asarray(image.convert(mode)) for image in pixels])
    x = np.moveaxis(x, 3, 1) if mode == "RGB" else x
    y = torch.tensor([label for _, label in files])
    classes = tuple(group.name for group in groups)
    return DataSet(name, samples_tensor(x, root), y, classes, provenance=f"{len(files)} image files in {root.name}")


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def _read(file: Path) -> Image.Image:
    """A decoded image in mode L or RGB; dimensions are checked before any pixel is decoded."""
    if file.stat().st_size > LARGEST_FILE:
        raise DataError(f"{file} has {file.stat().st_size:,} bytes; at most {LARGEST_FILE:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns before it unpacks a decompression bomb
            with Image.open(file, formats=FORMATS) as image:
                if max(image.size) > LARGEST_SIDE:
                    raise DataError(f"{file} is {image.size} pixels; at most {LARGEST_SIDE} a side are read")
                if image.mode in ("L", "1", "I;16"):
                    return image.convert("L")
                colored = image.convert("RGBA")
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on damaged bytes
        raise DataError(f"{file} cannot be read as an image ({error}); remove or repair it") from error
    white = Image.new("RGBA", colored.size, "white")
    return Image.alpha_composite(white, colored).convert("RGB")
