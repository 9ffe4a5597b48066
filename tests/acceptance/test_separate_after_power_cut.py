"""Files of tracks that were made on request weren't synced: after the machine went down they are made again."""

from pathlib import Path

from support.songs import completed_song, music, send_song, song_server, track_bytes


def test_what_a_power_cut_may_have_broken_is_made_again(tmp_path: Path) -> None:
    """Half a WAV that another run of the kernel left is never served; the next one who asks gets all of it."""
    with song_server(tmp_path, WORKERS__PROCESSES="1") as server:
        song = send_song(server, music(tmp_path / "song.mp3", seconds=2))
        completed_song(server, song)
        whole = track_bytes(server, song, "drums.wav")
    cache = tmp_path / "data" / "cache" / "tracks"
    (made,) = cache.glob("*.wav")
    made.write_bytes(whole[: len(whole) // 2])
    (cache / ".boot").write_text("another run of the kernel")
    with song_server(tmp_path, WORKERS__PROCESSES="1") as server:
        assert track_bytes(server, song, "drums.wav") == whole
