"""What can be read: all that an input may make ffmpeg open, and a verdict on each thing that ffmpeg could open.

What has no verdict is refused, and `doctor` names it: a newer ffmpeg may read more than anybody has looked at here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Demuxers that inputs may open, by ffmpeg's names. None reads another file: no playlists, no scripts, no devices.
DEMUXERS = _names(
    """
    3dostr 4xm aac aax ac3 ace acm act adp ads adx aea afc aiff aix alp amr amrnb amrwb apc ape apm argo_asf
    argo_brp argo_cvg asf ast au avi avr avs bethsoftvid bfi bfstm bink binka bit bmv boa brstm c93 caf cdxl
    daud dcstr derf dhav dsf dsicin dss dts dtshd dv dxa ea ea_cdata eac3 epaf film_cpk flac flv fsb fwse gdv
    genh gsm gxf hca hcom idcin iff ifv ilbc ipmovie ircam iss ivr jv kux kvag lmlm4 loas lvf lxf matroska mca
    mgsts mlp mm mmf mods moflex mov mp3 mpc mpc8 mpeg mpegts msf mtaf mtv musx mv mvi mxf mxg nistsphere nsp
    nsv nut nuv ogg oma paf pmp pp_bnk psxstr pva pvf qcp r3d redspark rl2 rm roq rpl rsd s337m scd sds sdx
    sga shn siff smjpeg smk smush sol sox spdif svag svs swf tak thp tiertexseq tmv truehd tta ty vag vividas
    vivo vmd voc vpk vqf w64 wav wc3movie wsaud wsd wsvqa wtv wv wve xa xmv xvag xwma yop
    """
)

# Nothing in these files tells what they are; they are taken where the name's suffix does (`raw`).
RAW_DEMUXERS = _names("alaw dfpwm g722 g723_1 g729 mulaw sbc sln")

# So are these, which large foreign libraries read, and only where a sandbox stands.
FOREIGN_DEMUXERS = ("libopenmpt",)

# Decoders that inputs may open: sound only. Video decoders stay closed, even while probing.
AUDIO_DECODERS = _names(
    """
    8svx_exp 8svx_fib aac aac_fixed aac_latm ac3 ac3_fixed acelp.kelvin adpcm_4xm adpcm_adx adpcm_afc adpcm_agm
    adpcm_aica adpcm_argo adpcm_ct adpcm_dtk adpcm_ea adpcm_ea_maxis_xa adpcm_ea_r1 adpcm_ea_r2 adpcm_ea_r3
    adpcm_ea_xas g722 g726 g726le adpcm_ima_acorn adpcm_ima_alp adpcm_ima_amv adpcm_ima_apc adpcm_ima_apm
    adpcm_ima_cunning adpcm_ima_dat4 adpcm_ima_dk3 adpcm_ima_dk4 adpcm_ima_ea_eacs adpcm_ima_ea_sead
    adpcm_ima_iss adpcm_ima_moflex adpcm_ima_mtf adpcm_ima_oki adpcm_ima_qt adpcm_ima_rad adpcm_ima_smjpeg
    adpcm_ima_ssi adpcm_ima_wav adpcm_ima_ws adpcm_ms adpcm_mtaf adpcm_psx adpcm_sbpro_2 adpcm_sbpro_3
    adpcm_sbpro_4 adpcm_swf adpcm_thp adpcm_thp_le adpcm_vima adpcm_xa adpcm_yamaha adpcm_zork alac amrnb amrwb
    ape aptx aptx_hd atrac1 atrac3 atrac3al atrac3plus atrac3plusal atrac9 on2avc binkaudio_dct binkaudio_rdft
    bmv_audio cook derf_dpcm dfpwm dolby_e dsd_lsbf dsd_lsbf_planar dsd_msbf dsd_msbf_planar dsicinaudio dss_sp
    dst dca dvaudio eac3 evrc fastaudio flac g723_1 g729 gremlin_dpcm gsm libgsm gsm_ms libgsm_ms hca hcom iac
    ilbc imc interplay_dpcm interplayacm mace3 mace6 metasound mlp mp1 mp1float mp2 mp2float mp3float mp3
    mp3adufloat mp3adu mp3on4float mp3on4 als msnsiren mpc7 mpc8 nellymoser opus libopus paf_audio pcm_alaw
    pcm_bluray pcm_dvd pcm_f16le pcm_f24le pcm_f32be pcm_f32le pcm_f64be pcm_f64le pcm_lxf pcm_mulaw pcm_s16be
    pcm_s16be_planar pcm_s16le pcm_s16le_planar pcm_s24be pcm_s24daud pcm_s24le pcm_s24le_planar pcm_s32be
    pcm_s32le pcm_s32le_planar pcm_s64be pcm_s64le pcm_s8 pcm_s8_planar pcm_sga pcm_u16be pcm_u16le pcm_u24be
    pcm_u24le pcm_u32be pcm_u32le pcm_u8 pcm_vidc qcelp qdm2 qdmc real_144 real_288 ralf roq_dpcm s302m sbc
    sdx2_dpcm shorten sipr siren smackaud sol_dpcm speex libspeex tak truehd truespeech tta twinvq vmdaudio
    vorbis libvorbis wavpack ws_snd1 wmalossless wmapro wmav1 wmav2 wmavoice xan_dpcm xma1 xma2
    """
)

# Cover art goes along as it is; these only tell its size.
PICTURE_DECODERS = ("mjpeg", "png")

# Why others are refused.
REFUSED_DEMUXERS: Mapping[str, tuple[str, ...]] = {
    "It opens other files or addresses.": _names(
        """
        concat dash hls image2 imf mlv rtp rtsp sap sdp vobsub webm_dash_manifest
        """
    ),
    "It is a script that makes sound.": ("lavfi", "sbg"),
    "It is a device of this machine.": _names(
        """
        alsa fbdev iec61883 jack kmsgrab libcdio libdc1394 openal oss pulse video4linux2 x11grab
        """
    ),
    "It is a picture.": _names(
        """
        alias_pix apng bmp_pipe brender_pix cri_pipe dds_pipe dpx_pipe exr_pipe fits gem_pipe gif gif_pipe ico
        image2pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe msp pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe
        pgmyuv_pipe pgx_pipe phm_pipe photocd_pipe pictor_pipe png_pipe ppm_pipe psd_pipe qdraw_pipe qoi_pipe
        sgi_pipe sunrast_pipe svg_pipe tiff_pipe txd vbn_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe
        """
    ),
    "It is text.": _names(
        """
        adf aqtitle ass bin dvbsub dvbtxt ffmetadata idf jacosub lrc mcc microdvd mpl2 mpsub pjs realtext sami
        scc srt stl subviewer subviewer1 sup tedcaptions tty vplayer webvtt xbin
        """
    ),
    "It is video without sound.": _names(
        """
        anm av1 avs2 avs3 bitpacked cavsvideo cdg cine dfa dirac dnxhd filmstrip flic frm h261 h263 h264 hevc
        hnm ingenient ipu iv8 ivf luodat m4v mjpeg mjpeg_2000 mpegvideo mpjpeg msnwctcp nc obu rawvideo sdr2 ser
        simbiosis_imx v210 v210x vc1 vc1test yuv4mpegpipe
        """
    ),
    "Nothing in it tells how it is to be read.": _names(
        """
        aptx aptx_hd codec2raw data f32be f32le f64be f64le g726 g726le s16be s16le s24be s24le s32be s32le s8 rso
        u16be u16le u24be u24le u32be u32le u8 vidc
        """
    ),
    "Another demuxer reads the same.": ("asf_o", "live_flv", "mpegtsraw"),
    "It is protected (DRM).": ("aa",),
    "A large foreign library reads it.": ("codec2", "libgme"),
}
REFUSED_DECODERS: Mapping[str, tuple[str, ...]] = {
    "It makes sound of its own.": ("comfortnoise", "wavesynth"),
    "Its format was never settled.": ("sonic",),
    "A large foreign library decodes it.": ("libcodec2",),
}


def without_verdict(demuxers: Iterable[str], decoders: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of an ffmpeg's demuxers and decoders of sound on which nobody has decided. Pure."""
    known_demuxers = {*DEMUXERS, *RAW_DEMUXERS, *FOREIGN_DEMUXERS, *chain(*REFUSED_DEMUXERS.values())}
    known_decoders = {*AUDIO_DECODERS, *chain(*REFUSED_DECODERS.values())}
    return sorted({*demuxers} - known_demuxers), sorted({*decoders} - known_decoders)


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of input file, told from its first bytes. `pipeable`: it can be decoded from a pipe, in order."""

    name: str
    demuxer: str
    pipeable: bool
