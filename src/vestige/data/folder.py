"""`folder:PATH`: images in one folder a class, or all in one folder, read with limits on size and number.

A label is the place of a folder among the names of all, so that a folder which is left out would shift the others: what
cannot be read as a class is refused by name, and only what systems and editors leave behind is passed over.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vestige.data.dataset import DataSet
from vestige.data.other_kinds import kind_of
from vestige.data.source import DataError

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no format that calls another program (EPS)
LARGEST_FILE, LARGEST_SIDE, LARGEST_TOTAL = 50 * 2**20, 4096, 2 * 2**30
LEFT_BEHIND = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", "__pycache__"}
UNREAD = {".avif", ".heic", ".heif", ".jxl", ".jp2", ".svg", ".psd", ".tga", ".exr", ".dcm"}  # images all the same
BESIDE = {".txt", ".md", ".json", ".db", ".ini", ".csv", ".xml"}  # files that nobody takes for images
PARTS = {"train", "test", "val", "valid", "validation", "dev"}
REACH = 0.26  # 14 of 16 bits; where no pixel reaches further, the depth of a file may not be that of its numbers
DEEP = ("I", "I;16", "I;16B", "I;16L")  # modes of 16 bits a pixel
ORIENTATION = 0x0112  # the EXIF tag


def load_folder(root: Path, name: str) -> DataSet:
    """Read the images below `root`; each sub-folder is a class, in the order of the names.

    All images must have the same size; gray only if all are gray, color otherwise, transparency on white. Hidden
    files and folders, and those of systems, are passed over.

    Raises:
        DataError: no such folder, no images, a class that is empty, a link or has folders inside, a file that is no
            image, too large, or of another size or depth than the first.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; folder:PATH names one with images, or with one sub-folder a class")
    groups = _classes(root) or [root]
    files = [(file, label) for label, group in enumerate(groups) for file in _images_in(group)]
    if not files:
        raise DataError(
            f"{root} holds no images ({', '.join(sorted(SUFFIXES))}), neither itself nor its sub-folders{_held(root)}"
        )
    pixels, total, first, notes = [], 0, None, set()
    for file, _ in files:
        image = _read(file, notes)
        first = first or image.size
        if image.size != first:
            raise DataError(f"{file} is {image.size}, {files[0][0].name} is {first}; resize them to one size")
        total += 3 * image.size[0] * image.size[1]
        if total > LARGEST_TOTAL:
            raise DataError(f"{root} unpacks to more than {LARGEST_TOTAL:,} bytes; use fewer or smaller images")
        pixels.append(image)
    x = _stacked(pixels, root)
    if float(x.max()) < REACH:
        notes.add(f"no pixel is brighter than {float(x.max()):.2g} of what its depth holds")
    y = torch.tensor([label for _, label in files])
    classes = tuple(group.name for group in groups)
    if all(name.isdecimal() for name in classes) and list(classes) != sorted(classes, key=int):
        notes.add(f"folders named by numbers are classes in the order of the names as text: {', '.join(classes[:4])}")
    if odd := [p for group in groups for p in _plain_files(group) if p.suffix.lower() not in SUFFIXES | BESIDE]:
        notes.add(f"{len(odd)} files that are no images by their names were left out, such as {odd[0].name}")
    told = "; ".join([f"{len(files)} image files in {root.name}".replace(";", ","), *sorted(notes)])
    return DataSet(name=name, x=x, y=y, classes=classes, provenance=told)


def _classes(root: Path) -> list[Path]:
    """The folders of the classes; none where the images stand in the root itself."""
    found = _folders(root)
    for group in found:
        if group.is_symlink():
            raise DataError(f"{group} is a link, which is not followed; copy the images, or remove it")
        if (inside := _folders(group)) and group.name.lower() in PARTS:
            raise DataError(
                f"{root} is parted into {', '.join(g.name for g in found[:4])}; give one part: folder:{group}"
            )
        if inside:
            raise DataError(f"{group} has folders inside, such as {inside[0].name}; a class is one folder of images")
        if not _images_in(group):
            raise DataError(f"{group} holds no images; a class without samples would be left out: remove the folder")
    if found and _images_in(root):
        raise DataError(f"{root} holds images beside the folders of its classes; move or remove them")
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name not in LEFT_BEHIND)


def _images_in(folder: Path) -> list[Path]:
    seen = _plain_files(folder)
    if odd := next((p for p in seen if p.suffix.lower() in UNREAD), None):
        raise DataError(f"{odd} is an image of a kind that is not read; convert it to PNG, or move it away")
    return [p for p in seen if p.suffix.lower() in SUFFIXES]


def _plain_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file())


def _held(root: Path) -> str:
    """What lies there instead."""
    files = sorted(p for p in root.iterdir() if p.is_file() and not p.name.startswith("."))
    kinds = [(file, kind) for file in files[:20] if (kind := kind_of(file))]
    if kinds:
        best = next((pair for pair in kinds if "JSON" not in pair[1]), kinds[0])
        return f"; {best[0].name} is {best[1]}"
    return f"; it holds {', '.join(p.name for p in files[:3])}" if files else ""


def _stacked(images: list[Image.Image], root: Path) -> torch.Tensor:
    """(n, channels, height, width) in [0, 1], whatever the depth."""
    deep = [image.mode in DEEP for image in images]
    if any(deep):
        if not all(deep):
            raise DataError(f"{root} holds images of 8 and of 16 bits; convert them to one depth")
        x = np.stack([np.asarray(image) for image in images]).astype(np.int64)
        if x.min() < 0 or x.max() > 65_535:
            raise DataError(f"{root}: pixels from {x.min()} to {x.max()}; 16 bits hold 0 to 65535")
        return torch.tensor(x[:, None], dtype=torch.get_default_dtype()) / 65_535
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    x = np.stack([np.asarray(image.convert(mode)) for image in images])
    x = np.moveaxis(x, 3, 1) if mode == "RGB" else x[:, None]
    return torch.tensor(np.ascontiguousarray(x), dtype=torch.get_default_dtype()) / 255


def _depth(file: Path) -> int:
    """Bits of one value, in the 25th byte of a PNG."""
    with file.open("rb") as stream:
        return stream.read(25)[24]


def _read(file: Path, notes: set[str]) -> Image.Image:
    """A decoded image in mode L, RGB or of 16 bits; dimensions are checked before any pixel is decoded."""
    if file.stat().st_size > LARGEST_FILE:
        raise DataError(f"{file} has {file.stat().st_size:,} bytes; at most {LARGEST_FILE:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns before it unpacks a decompression bomb
            with Image.open(file, formats=FORMATS) as image:
                if max(image.size) > LARGEST_SIDE:
                    raise DataError(f"{file} is {image.size} pixels; at most {LARGEST_SIDE} a side are read")
                if image.mode == "F":
                    raise DataError(f"{file} holds floating-point pixels, whose range nobody can tell; give an npz")
                if getattr(image, "n_frames", 1) > 1:
                    notes.add("of files with several frames the first is read")
                if image.format == "PNG" and image.mode in ("RGB", "RGBA") and _depth(file) == 16:
                    notes.add("colors of 16 bits are read with 8")
                if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
                    notes.add(f"{image.mode} is shown as RGB")
                if image.getexif().get(ORIENTATION, 1) != 1:
                    notes.add("some files ask to be turned (EXIF), and pixels are read as they are stored")
                if image.mode in DEEP:
                    return image.copy()
                if image.mode in ("L", "1"):
                    return image.convert("L")
                if image.mode == "LA":
                    notes.add("transparent pixels are shown on white")
                    white = Image.new("LA", image.size, (255, 255))
                    white.paste(image, mask=image.getchannel("A"))
                    return white.getchannel("L")
                colored = image.convert("RGBA")
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on damaged bytes
        raise DataError(f"{file} cannot be read as an image ({error}); remove or repair it") from error
    lowest, _ = colored.getchannel("A").getextrema()
    if float(str(lowest)) < 255:
        notes.add("transparent pixels are shown on white")
    white = Image.new("RGBA", colored.size, "white")
    return Image.alpha_composite(white, colored).convert("RGB")
