"""Folder layouts and odd files as found in practice: each changes a plain folder of three classes of grey levels.

Those in ``WORKS`` must give the right labels; their numbers say how many more (or fewer) images ``train`` and ``val``
then have than the plain folder's 36 and 15. Those in ``REFUSED`` must be refused by ``check``.
"""

import io
import os
import shutil
import struct
import unicodedata

import numpy as np
from PIL import Image

CLASSES = ("ape", "bee", "cat")
LEVELS = (40, 110, 200)
PER_CLASS = {"train": 12, "val": 5}
SIZE = 16


def picture(level, seed=0, mode="RGB"):
    """A noisy grey image whose level tells its class."""
    noise = np.random.default_rng(seed).integers(-8, 9, (SIZE, SIZE))
    return Image.fromarray((level + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def plain(root, classes=CLASSES, suffix="png", parts=("train", "val")):
    for part, name_of_part in zip(("train", "val"), parts, strict=True):
        for k, name in enumerate(classes):
            folder = root / name_of_part / name
            folder.mkdir(parents=True)
            for i in range(PER_CLASS[part]):
                picture(LEVELS[k], seed=100 * k + i + (0 if part == "train" else 50)).save(folder / f"{i}.{suffix}")


def each(root, part="*"):
    """(file, class number) of every image in a plain folder."""
    for path in sorted(root.glob(f"{part}/*/*.*")):
        yield path, CLASSES.index(path.parent.name)


def saved_as(suffix, mode="RGB", **options):
    """Save every image in another format or mode."""

    def change(root):
        for path, k in list(each(root)):
            path.unlink()
            picture(LEVELS[k], int(path.stem), mode).save(path.with_suffix(f".{suffix}"), **options)

    return change


def made_by(array, suffix):
    """Make every image from ``array(8-bit grey)``, as Pillow saves such an array."""

    def change(root):
        for path, k in list(each(root)):
            path.unlink()
            Image.fromarray(array(np.asarray(picture(LEVELS[k], int(path.stem), "L")))).save(
                path.with_suffix(f".{suffix}")
            )

    return change


def renamed(rename):
    """Rename every file."""

    def change(root):
        for i, (path, _) in enumerate(list(each(root))):
            target = path.parent / rename(path, i)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)

    return change


def added(name, content, where="train/ape"):
    """Add a file with these bytes, or with those that a function returns."""

    def change(root):
        path = root / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content() if callable(content) else content)

    return change


def classes_named(*names):
    def change(root):
        for part in ("train", "val"):
            for old, new in zip(CLASSES, names, strict=True):
                (root / part / old).rename(root / part / new)

    return change


def jpeg(level=LEVELS[0], **options):
    buffer = io.BytesIO()
    picture(level).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def link(target, name):
    def change(root):
        (root / name).symlink_to(target, target_is_directory=True)

    return change


def together(*changes):
    def change(root):
        for one in changes:
            one(root)

    return change


def remove(*names):
    def change(root):
        for name in names:
            shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()

    return change


def emptied(name):
    def change(root):
        for path in (root / name).iterdir():
            path.unlink()

    return change


def moved(old, new):
    def change(root):
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return change


def cut(share):
    """Cut off the file of one training image of ape."""

    def change(root):
        path = root / "train/ape/0.png"
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return change


def accents_apart(root):
    """``é`` is one character in train/, and a letter plus an accent in val/, as macOS writes it."""
    for part, form in (("train", "NFC"), ("val", "NFD")):
        (root / part / "bee").rename(root / part / unicodedata.normalize(form, "bée"))


def animated(suffix):
    def change(root):
        for path, k in list(each(root)):
            path.unlink()
            frames = [picture(LEVELS[(k + n) % 3], int(path.stem)) for n in range(3)]
            frames[0].save(path.with_suffix(f".{suffix}"), save_all=True, append_images=frames[1:])

    return change


def wide_png(root):
    """16-bit RGB, which Pillow cannot write, so the chunks are written by hand."""
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for path, k in list(each(root)):
        grey = np.asarray(picture(LEVELS[k], int(path.stem), "L")).astype(">u2") * 257
        rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in grey)
        head = struct.pack(">IIBBBBB", SIZE, SIZE, 16, 2, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        )


def wide_pgm(root):
    for path, k in list(each(root)):
        grey = np.asarray(picture(LEVELS[k], int(path.stem), "L")).astype(">u2") * 257
        path.unlink()
        path.with_suffix(".pgm").write_bytes(f"P5 {SIZE} {SIZE} 65535\n".encode() + grey.tobytes())


def big_endian_tiff(root):
    for path, k in list(each(root)):
        grey = np.asarray(picture(LEVELS[k], int(path.stem), "L")).astype(np.uint16) * 257
        path.unlink()
        image = Image.frombytes("I;16B", (SIZE, SIZE), grey.astype(">u2").tobytes())
        image.save(path.with_suffix(".tif"))


def tiff_as_the_file_says(bits, white_is_zero):
    """Grey TIFF files of 12 or 16 bits, which Pillow does not write, so the tags are written by hand."""

    def change(root):
        for path, k in list(each(root)):
            path.unlink()
            white = (1 << bits) - 1
            grey = np.asarray(picture(LEVELS[k], int(path.stem), "L")).astype(np.uint32) * white // 255
            values = (white - grey if white_is_zero else grey).ravel()
            if bits == 12:  # two values in three bytes
                a, b = values[::2], values[1::2]
                data = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], 1).astype(np.uint8).tobytes()
            else:
                data = values.astype("<u2").tobytes()
            tags = ((256, SIZE), (257, SIZE), (258, bits), (259, 1), (262, int(not white_is_zero)), (273, 8),
                    (277, 1), (278, SIZE), (279, len(data)))  # fmt: skip
            listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
            ending = struct.pack("<H", len(tags)) + listed + bytes(4)
            path.with_suffix(".tif").write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + ending)

    return change


def transparent_palette(root):
    for path, k in list(each(root)):
        image = picture(LEVELS[k], int(path.stem)).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
        image.save(path, transparency=bytes([255] * 15 + [128]))


def extra_class(part):
    def change(root):
        (root / part / "dog").mkdir()
        for i in range(6):
            picture(150, i).save(root / part / "dog" / f"{i}.png")

    return change


def bomb(root):
    """An image of 400 megapixels of one level, in a few bytes."""
    Image.new("1", (20_000, 20_000)).save(root / "train/ape/bomb.png")


def pipe(root):
    os.mkfifo(root / "train/ape/pipe.jpg")


TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
TEXT = b"not a picture at all\n" * 40

WORKS = {
    "plain": (lambda root: None, 0, 0),
    # where files are
    "nested in one folder": (renamed(lambda p, i: f"images/{p.name}"), 0, 0),
    "nested two deep": (renamed(lambda p, i: f"a/b/{p.name}"), 0, 0),
    "nested unevenly": (renamed(lambda p, i: f"day{i % 3}/{p.name}" if i % 2 else p.name), 0, 0),
    "nested in folders named as other classes": (renamed(lambda p, i: f"{CLASSES[i % 3]}/{p.name}"), 0, 0),
    "an image next to the class folders": (added("overview.jpg", jpeg, "train"), 0, 0),
    "an image next to the class folders of val": (added("overview.jpg", jpeg, "val"), 0, 0),
    "a readme and a table beside the parts": (added("README.md", TEXT, "."), 0, 0),
    "a folder of something else beside the parts": (added("x.json", b"{}", "annotations"), 0, 0),
    "a folder test beside val, not by class": (added("0.jpg", jpeg, "test"), 0, 0),
    "the test part is called valid": (moved("val", "valid"), 0, 0),
    "the test part is called validation": (moved("val", "validation"), 0, 0),
    "the test part is called test": (moved("val", "test"), 0, 0),
    # what is not an image
    "AppleDouble": (added("._0.png", b"\x00\x05\x16\x07" + bytes(200)), 0, 0),
    "a hidden picture": (added(".hidden.jpg", jpeg), 0, 0),
    ".DS_Store everywhere": (together(*(added(".DS_Store", b"\0\0\0\1Bud1", p) for p in (".", "train", "val/ape"))), 0, 0),
    "Thumbs.db and desktop.ini": (
        together(added("Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(500)), added("desktop.ini", TEXT)), 0, 0
    ),
    "hidden folder .ipynb_checkpoints as a class": (added("0.jpg", jpeg, "train/.ipynb_checkpoints"), 0, 0),
    "hidden folder in a class": (added("0.jpg", lambda: jpeg(LEVELS[2]), "train/ape/.thumbs"), 0, 0),
    "__MACOSX as a class": (added("._0.png", bytes(100), "train/__MACOSX/ape"), 0, 0),
    "@eaDir in a class": (added("SYNOPHOTO_THUMB_M.jpg", lambda: jpeg(LEVELS[2]), "train/ape/@eaDir/0.png"), 0, 0),
    "a text file in a class": (added("notes.txt", TEXT), 0, 0),
    "a text that is called jpg": (added("notes.jpg", TEXT), 0, 0),
    "a page of HTML called jpg": (added("404.jpg", b"<!DOCTYPE html><html>" + TEXT), 0, 0),
    "an SVG": (added("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"), 0, 0),
    "an EPS": (added("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"), 0, 0),
    "an npy file": (added("a.npy", b"\x93NUMPY\x01\x00" + bytes(300)), 0, 0),
    "zeros called png": (added("a.png", bytes(4000)), 0, 0),
    "an empty file": (added("a.jpg", b""), 0, 0),
    "a PNG cut in half": (cut(0.5), -1, 0),
    "a PNG cut in its header": (cut(0.05), -1, 0),
    "a JPEG cut off": (added("cut.jpg", lambda: jpeg(quality=95)[:400]), 0, 0),
    "a JPEG with bytes after its end": (added("more.jpg", lambda: jpeg() + bytes(999)), 1, 0),
    "a picture too large to be safe": (bomb, 0, 0),
    "a pipe called jpg": (pipe, 0, 0),
    "a broken link": (link("nowhere.jpg", "train/ape/x.jpg"), 0, 0),
    "a link that leads to itself": (link("x.jpg", "train/ape/x.jpg"), 0, 0),
    # links
    "a link to the class itself": (link(".", "train/ape/again"), 0, 0),
    "a link to train": (link("..", "train/ape/all"), 0, 0),
    "a link to the folder above the parts": (link("../..", "train/ape/all"), 0, 0),
    "a link to the root of the machine's data": (link("../../..", "train/ape/all"), 0, 0),
    "a class that is a link": (together(moved("train/bee", "elsewhere"), link("../elsewhere", "train/bee")), 0, 0),
    "a part that is a link": (together(moved("val", "store/v"), link("store/v", "val")), 0, 0),
    # endings
    "upper-case endings": (renamed(lambda p, i: f"{p.stem}.PNG"), 0, 0),
    "mixed endings": (renamed(lambda p, i: f"{p.stem}{('.png', '.JPG', '.Jpeg', '.webp', '')[i % 5]}"), 0, 0),
    "no ending": (renamed(lambda p, i: p.stem), 0, 0),
    "an ending nobody knows": (renamed(lambda p, i: f"{p.stem}.photo"), 0, 0),
    "names with spaces, quotes and signs": (renamed(lambda p, i: f"{p.stem} 'é' [{i}] #%.png"), 0, 0),
    "names that end in a superscript": (renamed(lambda p, i: f"{p.stem}²"), 0, 0),
    "names with a line break": (renamed(lambda p, i: f"{p.stem}\n.png"), 0, 0),
    "names that are no UTF-8": (renamed(lambda p, i: os.fsdecode(b"\xff\xfe" + p.name.encode())), 0, 0),
    "long names": (renamed(lambda p, i: "x" * 240 + p.name), 0, 0),
    # formats and modes
    "jpeg": (saved_as("jpg", quality=95), 0, 0),
    "progressive jpeg": (saved_as("jpg", quality=95, progressive=True), 0, 0),
    "grey jpeg": (saved_as("jpg", "L", quality=95), 0, 0),
    "CMYK jpeg": (saved_as("jpg", "CMYK", quality=95), 0, 0),
    "CMYK tiff": (saved_as("tif", "CMYK"), 0, 0),
    "webp": (saved_as("webp", lossless=True), 0, 0),
    "webp with alpha": (saved_as("webp", "RGBA", lossless=True), 0, 0),
    "bmp": (saved_as("bmp"), 0, 0),
    "grey bmp": (saved_as("bmp", "L"), 0, 0),
    "gif": (saved_as("gif", "L"), 0, 0),
    "tiff": (saved_as("tiff"), 0, 0),
    "lzw tiff": (saved_as("tif", compression="tiff_lzw"), 0, 0),
    "jpeg 2000": (saved_as("jp2"), 0, 0),
    "avif": (saved_as("avif", quality=95), 0, 0),
    "ppm": (saved_as("ppm"), 0, 0),
    "tga": (saved_as("tga"), 0, 0),
    "ico": (saved_as("ico", sizes=[(SIZE, SIZE)]), 0, 0),
    "png with alpha": (saved_as("png", "RGBA"), 0, 0),
    "grey png with alpha": (saved_as("png", "LA"), 0, 0),
    "palette png": (saved_as("png", "P"), 0, 0),
    "palette png with transparency": (transparent_palette, 0, 0),
    "animated gif": (animated("gif"), 0, 0),
    "animated webp": (animated("webp"), 0, 0),
    "animated png": (animated("png"), 0, 0),
    "16-bit grey png": (made_by(lambda a: a.astype(np.uint16) * 257, "png"), 0, 0),
    "16-bit grey tiff": (made_by(lambda a: a.astype(np.uint16) * 257, "tif"), 0, 0),
    "16-bit big-endian tiff": (big_endian_tiff, 0, 0),
    "16-bit tiff with white as 0": (tiff_as_the_file_says(16, white_is_zero=True), 0, 0),
    "12-bit tiff": (tiff_as_the_file_says(12, white_is_zero=False), 0, 0),
    "16-bit grey pgm": (wide_pgm, 0, 0),
    "16-bit grey jpeg 2000": (made_by(lambda a: a.astype(np.uint16) * 257, "jp2"), 0, 0),
    "16-bit colour png": (wide_png, 0, 0),
    "32-bit float tiff beside others": (
        lambda root: Image.fromarray(np.full((SIZE, SIZE), 0.2, np.float32)).save(root / "train/ape/f.tif"), 0, 0
    ),
    "turned by EXIF": (saved_as("jpg", quality=95, exif=TURNED), 0, 0),
    # classes
    "numbered classes": (classes_named("2", "10", "33"), 0, 0),
    "numbered classes with zeros": (classes_named("002", "010", "033"), 0, 0),
    "classes named as ImageNet's": (classes_named("n01440764", "n01443537", "n01484850"), 0, 0),
    "unicode classes": (classes_named("äffin", "蜂", "кот"), 0, 0),
    "classes with superscripts and other digits": (classes_named("m²", "٣", "x"), 0, 0),
    "classes that are superscripts": (classes_named("10²", "²", "x³"), 0, 0),
    "classes with spaces and dots": (classes_named("an ape", "bee.v2", "cat, small"), 0, 0),
    "classes that differ in capitals": (classes_named("Ape", "ape", "cat"), 0, 0),
    "a class called train": (classes_named("train", "val", "test"), 0, 0),
    "accents encoded in two ways": (accents_apart, 0, 0),
}  # fmt: skip


def parts_within_classes(root):
    """Folders ``<class>/train`` and ``<class>/val``, nested the wrong way round."""
    for part in ("train", "val"):
        for name in CLASSES:
            (root / name).mkdir(exist_ok=True)
            (root / part / name).rename(root / name / part)
        (root / part).rmdir()


REFUSED = {
    "no val": remove("val"),
    "parts within the classes": parts_within_classes,
    "both parts one folder deeper": together(moved("train", "inner/train"), moved("val", "inner/val")),
    "parts with capitals": together(moved("train", "Train"), moved("val", "Val")),
    "no train": remove("train"),
    "train is a file": together(remove("train"), added("train", b"", ".")),
    "val is empty": together(remove("val"), lambda root: (root / "val").mkdir()),
    "a class is empty in val": emptied("val/bee"),
    "a class is empty in train": emptied("train/bee"),
    "a class of val holds no picture": together(emptied("val/bee"), added("a.jpg", TEXT, "val/bee")),
    "a class is missing in val": remove("val/cat"),
    "a class is missing in train": remove("train/cat"),
    "val has one more class": extra_class("val"),
    "train has one more class": extra_class("train"),
    "an empty folder beside the classes": lambda root: (root / "train/dog").mkdir(),
    "classes spelt with other capitals in val": moved("val/ape", "val/Ape"),
    "only one class": together(*(remove(f"{p}/{c}") for p in ("train", "val") for c in ("bee", "cat"))),
    "all pictures directly in the parts": lambda root: (
        [path.rename(root / path.parts[-3] / f"{path.parent.name}{path.name}") for path, _ in list(each(root))]
        and [shutil.rmtree(p) for p in root.glob("*/*") if p.is_dir()]
    ),
    "both valid and test, no val": together(
        moved("val", "valid"), lambda root: shutil.copytree(root / "valid", root / "test")
    ),
    "32-bit floats": made_by(lambda a: a.astype(np.float32) / 255, "tif"),
    "32-bit integers": made_by(lambda a: a.astype(np.int32) * 65537, "tif"),
}
