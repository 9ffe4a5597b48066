"""Files that people have and no encoder writes: headers by hand, sizes that can't be true, samples that are none."""

import math
import struct

RATE = 44100


def samples(seconds: float, *, rate: int = RATE, channels: int = 2) -> bytes:
    """440 Hz as 16 bit PCM."""
    wave = (int(9000 * math.sin(2 * math.pi * 440 * number / rate)) for number in range(round(seconds * rate)))
    return b"".join(struct.pack("<h", each) * channels for each in wave)


def fmt(
    *,
    rate: int = RATE,
    channels: int = 2,
    bits: int = 16,
    tag: int = 1,
    block_align: int | None = None,
    order: str = "<",
) -> bytes:
    """The body of a WAV's `fmt ` chunk."""
    align = channels * -(-bits // 8) if block_align is None else block_align
    return struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * align, align, bits)


def extensible(*, bits: int, valid_bits: int, mask: int, channels: int = 2, rate: int = RATE) -> bytes:
    """The same with a mask of loudspeakers and the bits of 32 that count."""
    guid = bytes.fromhex("000000001000800000aa00389b71")
    body = struct.pack("<HHIH", 22, valid_bits, mask, 1) + guid
    return fmt(rate=rate, channels=channels, bits=bits, tag=0xFFFE) + body


def wav(data: bytes, form: bytes | None = None, *, size: int | None = None, riff_size: int | None = None) -> bytes:
    """A WAV whose header states any sizes."""
    form = fmt() if form is None else form
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", (len(body) if riff_size is None else riff_size) & 0xFFFFFFFF) + body


def long_wav(data: bytes, *, name: bytes = b"RF64", size: int | None = None) -> bytes:
    """RF64 or BW64, which have their sizes in 64 bits."""
    size = len(data) if size is None else size
    sizes = struct.pack("<IQQQI", 28, size + 72, size, size // 4, 0)
    form = fmt()
    head = name + b"\xff\xff\xff\xffWAVEds64" + sizes + b"fmt " + struct.pack("<I", len(form)) + form
    return head + b"data\xff\xff\xff\xff" + data


def rifx(data: bytes) -> bytes:
    """A WAV with the large byte first, its samples, too."""
    swapped = bytearray(data)
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    form = fmt(order=">")
    body = (
        b"WAVEfmt " + struct.pack(">I", len(form)) + form + b"data" + struct.pack(">I", len(swapped)) + bytes(swapped)
    )
    return b"RIFX" + struct.pack(">I", len(body)) + body


def au(data: bytes, *, size: int) -> bytes:
    """Sun's AU, of 16 bit samples."""
    swapped = bytearray(data)
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    return b".snd" + struct.pack(">5I", 24, size, 3, RATE, 2) + bytes(swapped)


def dsf(seconds: float, *, channels: int = 2, rate: int = 64 * RATE) -> bytes:
    """DSD in blocks of 4096 bytes for each channel: silence, by its usual pattern."""
    blocks = round(seconds * rate / 8 / 4096)
    data = b"\x69" * (blocks * 4096 * channels)
    form = struct.pack("<IIIIIIQII", 1, 0, 2, channels, rate, 1, blocks * 4096 * 8, 4096, 0)
    chunk = b"fmt " + struct.pack("<Q", 12 + len(form)) + form
    size = 28 + len(chunk) + 12 + len(data)
    return b"DSD " + struct.pack("<QQQ", 28, size, 0) + chunk + b"data" + struct.pack("<Q", 12 + len(data)) + data


def dff(seconds: float, *, channels: int = 2, rate: int = 64 * RATE) -> bytes:
    """DSDIFF."""
    data = b"\x69" * (round(seconds * rate / 8) * channels)

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack(">Q", len(body)) + body + bytes(len(body) % 2)

    properties = (
        b"SND " + chunk(b"FS  ", struct.pack(">I", rate)) + chunk(b"CHNL", struct.pack(">H", channels) + b"SLFTSRGT")
    )
    properties += chunk(b"CMPR", b"DSD \x0enot compressed")
    return chunk(
        b"FRM8", b"DSD " + chunk(b"FVER", bytes.fromhex("01050000")) + chunk(b"PROP", properties) + chunk(b"DSD ", data)
    )


def module(rows: int = 64) -> bytes:
    """A tune of ProTracker's: a pattern of so many rows, each 0.12 s, with a square wave at each eighth."""
    wave = b"".join(struct.pack("b", 80 if number // 16 % 2 else -80) for number in range(4096))
    head = b"square".ljust(20, b"\0")
    for number in range(31):
        is_first = number == 0
        shape = struct.pack(">HBBHH", is_first * len(wave) // 2, 0, is_first * 64, 0, len(wave) // 2 if is_first else 1)
        head += b"sample".ljust(22, b"\0") + shape
    pattern = bytearray(1024)
    for row in range(0, rows, 8):
        pattern[row * 16 : row * 16 + 4] = (428).to_bytes(2) + b"\x10\0"
    if rows < 64:
        pattern[rows * 16 - 2 : rows * 16] = b"\x0d\0"  # the pattern ends here
    return head + bytes([1, 127]) + bytes(128) + b"M.K." + bytes(pattern) + wave
