"""The gate before Completed: is what came out all that went in? Pure; every failure is a sentence for people."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from streamsrv.errors import BadParameter, DiskFull, EncoderKilled, InternalError, Problem, UnusableFile
from streamsrv.media.arguments import Encoding
from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.ffmpeg import NO_SPACE, Outcome
from streamsrv.media.fmp4 import check_init, count_samples, is_empty
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.loss import STRICT, Terms, check_loss, clock
from streamsrv.media.integrity.structure import NO_DAMAGE, Damage
from streamsrv.media.mpegts import BrokenSegment, count_frames
from streamsrv.media.probe import Measured

# A resampler keeps a few samples back and rounds; more than this is loss.
_RESAMPLER_SECONDS = 0.05
_HEADER_FRAMES = 4
# By the number of the signal. What a decoder dies of by itself is in the file.
_BREAKS_DOWN = "The program that decodes sound breaks down over this file."
_LIMITS: Mapping[int, str] = {
    signal.SIGXCPU: "Decoding this file takes too long.",
    signal.SIGXFSZ: "What this file decodes to is too large.",
    **dict.fromkeys((signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL), _BREAKS_DOWN),
}
# The resampler says so and goes on, without the silence.
_NOT_FILLED = "Failed to compensate for timestamp delta"
NOT_NUMBERS = "There are samples in this file that aren't numbers."
_REASONS: tuple[tuple[tuple[str, ...], type[Problem], str], ...] = (
    (
        ("Failed to configure output pad",),
        UnusableFile,
        "The file's channels or its sample rate are of a kind that can't be converted.",
    ),
    (
        ("Cannot allocate memory",),
        UnusableFile,
        "Decoding this file takes too much memory.",
    ),
    (
        ("Input contains (near) NaN/+-Inf",),
        UnusableFile,
        NOT_NUMBERS,
    ),
    (
        ("Error while opening decoder",),
        UnusableFile,
        "The sound is of a kind that isn't taken here.",
    ),
    (
        ("Error while opening encoder",),
        BadParameter,
        "The encoder doesn't take this combination of bitrate, sample rate and channels.",
    ),
    (
        (
            "Invalid data found when processing input",
            "does not contain any stream",
            "matches no streams",
            "End of file",
            "not found for input stream",
            "Cannot determine format of input stream",
            "not found for decoding",
        ),
        UnusableFile,
        "The file can't be decoded: its sound is damaged or of a kind that isn't known.",
    ),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a finished segment really holds: packets of the codec and samples of sound."""

    packets: int
    samples: int

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(self.packets + other.packets, self.samples + other.samples)


class SegmentSum:
    """What the segments of one encoder hold, which are read in their order; `counted` is the sum."""

    def __init__(self, encoding: Encoding) -> None:
        self.counted = Counted(0, 0)
        self._encoding = encoding
        self._is_over = False

    def add(self, data: bytes) -> Counted | None:
        """Read a segment through; None for one with nothing in it, which only the last one may be.

        Raises InternalError where it isn't whole.
        """
        counted = count_segment(data, self._encoding)
        if self._is_over:
            raise InternalError("A segment was not written completely.")
        self._is_over = not counted.packets
        self.counted += counted
        return None if self._is_over else counted


def count_segment(data: bytes, encoding: Encoding) -> Counted:
    """Read a segment through; only the last one may hold nothing.

    InternalError where it isn't whole: a full disk leaves such files without a word.
    """
    try:
        if encoding.codec.segments == "fmp4":
            if is_empty(data):
                return Counted(0, 0)
            packets, samples = count_samples(data)
            return Counted(packets, samples)
        packets = count_frames(data, encoding.codec.name)
        return Counted(packets, packets * encoding.frame_samples)
    except BrokenSegment as error:
        raise InternalError("A segment was not written completely.") from error


def check_init_section(data: bytes) -> None:
    try:
        check_init(data)
    except BrokenSegment as error:
        raise InternalError("The initialisation section was not written completely.") from error


def check_outcome(
    outcome: Outcome,
    *,
    encoding: Encoding,
    declared: Declared | None,
    max_seconds: float,
    most_samples: int | None = None,
    cut: Cut = WHOLE,
    damage: Damage = NO_DAMAGE,
    terms: Terms = STRICT,
) -> float:
    """Did ffmpeg end well, and was all the sound of the cut decoded and encoded?

    No more than `most_samples` can be decoded if the header is right. Gives the seconds that are lost by these `terms`.
    UnusableFile for the input's fault, BadParameter for a cut or an encoding that isn't possible, DiskFull,
    InternalError for ours.
    """
    lost_seconds = check_decoded(
        outcome, declared=declared, max_seconds=max_seconds, cut=cut, damage=damage, terms=terms
    )
    if most_samples is not None and outcome.decoded_samples > most_samples:
        raise InternalError("There is more sound than the header counts.")
    if cut.start_seconds and cut.start_seconds >= outcome.heard_seconds:
        raise BadParameter(f"start lies behind the end of the sound, which is {clock(outcome.heard_seconds)} long.")
    if outcome.encoded_samples == 0 and cut.duration_seconds is not None:
        raise BadParameter("duration is too short: there is no sample in it.")
    if outcome.encoded_samples == 0:
        raise UnusableFile(f"The sound is too short for this format: {outcome.decoded_samples} samples.")
    _check_kept(outcome.encoded_samples / encoding.sample_rate, cut.seconds_of(outcome.heard_seconds))
    return lost_seconds


def check_decoded(
    outcome: Outcome,
    *,
    declared: Declared | None,
    max_seconds: float,
    cut: Cut = WHOLE,
    damage: Damage = NO_DAMAGE,
    terms: Terms = STRICT,
) -> float:
    """The first half of `check_outcome`: did ffmpeg end well, and was all that the file promises of the cut decoded?

    A promise is about time: silence that went in counts, too. Gives the seconds that are lost by these `terms`.
    """
    errors = "\n".join(outcome.errors)
    if NO_SPACE in errors:
        raise DiskFull
    if outcome.not_numbers:
        raise UnusableFile(NOT_NUMBERS)
    if outcome.returncode != 0:
        raise _failure(outcome, errors)
    heard_seconds = outcome.heard_seconds
    if outcome.decoded_samples == 0:
        raise UnusableFile("There is no sound in this file.")
    if heard_seconds > max_seconds:
        raise UnusableFile(f"The sound is longer than {clock(max_seconds)}, the most this server takes.")
    if _NOT_FILLED in errors:
        raise UnusableFile("The sound begins so late, or pauses for so long, that its silence takes too much memory.")
    if outcome.changes:
        # Filters begin anew there, and lose what they held; times and lengths mean nothing any more.
        raise UnusableFile("The sound changes its sample rate or its channels in the middle of the file.")
    return check_loss(outcome, declared=declared, cut=cut, damage=damage, terms=terms)


def check_heard(outcome: Outcome, seconds: float) -> None:
    """Raw samples of so many `seconds` are all that went on from the decoder, no less and no more."""
    _check_kept(seconds, outcome.heard_seconds)


def _check_kept(seconds: float, heard_seconds: float) -> None:
    if seconds < heard_seconds - _RESAMPLER_SECONDS:
        raise InternalError("Less sound was encoded than was decoded.")
    if seconds > heard_seconds + _RESAMPLER_SECONDS:
        raise InternalError("More sound was encoded than was decoded.")


def check_published(outcome: Outcome, counted: Counted, encoding: Encoding) -> None:
    """All that the encoder handed over is in the segments, of which `counted` is the sum."""
    # FLAC's encoder ends with an empty packet, which isn't written; but its samples are exact.
    if encoding.codec.lossless:
        whole = counted.samples == outcome.encoded_samples
    else:
        whole = counted.packets == outcome.packets
    if not whole:
        raise InternalError("Segments are missing.")


def check_file(measured: Measured | None, outcome: Outcome, encoding: Encoding) -> None:
    """All that the encoder handed over is in the file, and its header tells how long that is."""
    # FLAC's encoder ends with an empty packet, which isn't written. PCM has no packets, but its length is exact.
    packets = 0 if encoding.codec.is_pcm else outcome.packets - (encoding.codec.name == "flac")
    if measured is None or measured.packets < packets:
        if outcome.encoded_samples < encoding.frame_samples:
            raise UnusableFile(f"The sound is too short for this format: {outcome.encoded_samples} samples.")
        raise InternalError("The file was not written completely.")
    seconds = outcome.encoded_samples / encoding.sample_rate
    # A header counts whole frames, with those that the encoder puts before and behind the sound.
    tolerance_seconds = _HEADER_FRAMES * encoding.frame_samples / encoding.sample_rate
    if abs(measured.duration_seconds - seconds) > tolerance_seconds:
        raise InternalError(f"The file states {measured.duration_seconds:.3f} s and holds {seconds:.3f} s.")


def check_samples(declared: Declared | None, sample_rate: int, channels: int, max_samples: int) -> None:
    """Refuse what has more samples, of all channels together, before any work is done on it."""
    if declared is not None and declared.seconds * sample_rate * channels > max_samples:
        raise UnusableFile(
            f"The sound is {clock(declared.seconds)} of {channels} channels at {sample_rate} Hz, more than this server"
            " takes. Send it in parts."
        )


def check_declared_length(declared: Declared | None, max_seconds: float) -> None:
    """Refuse what is too long before any work is done on it."""
    if declared is not None and declared.seconds > max_seconds:
        raise UnusableFile(
            f"The sound is {clock(declared.seconds)} long; this server takes {clock(max_seconds)} at most."
        )


def _failure(outcome: Outcome, errors: str) -> Problem:
    if outcome.returncode < 0:
        words = _LIMITS.get(-outcome.returncode)
        return (
            UnusableFile(words) if words else EncoderKilled(f"The encoder was ended by signal {-outcome.returncode}.")
        )
    for signs, problem, words in _REASONS:
        if any(sign in errors for sign in signs):
            return problem(words)
    if not outcome.decoded_samples and outcome.complainers:
        # Nothing came out of the file at all, and what reads it has complained.
        return UnusableFile("The file can't be decoded: its sound is damaged or of a kind that isn't known.")
    failure = InternalError("The encoder failed.")
    # For the log: it names files of this machine.
    failure.add_note(f"Status {outcome.returncode}: {errors[-2000:]}")
    return failure
