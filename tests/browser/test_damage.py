"""Files with a hole in them on the page: said in words, and the rest of the sound is a button away, in every task."""

import subprocess
from pathlib import Path

import pytest
from playwright.async_api import expect
from support.sound import FFMPEG

pytestmark = pytest.mark.asyncio(loop_scope="session")


def holed(path: Path) -> Path:
    """Four seconds as MP3, of which less than one is zeros."""
    source = "aevalsrc=0.3*sin(440*2*PI*t)+0.1*random(0):s=44100:d=4"
    subprocess.run([*FFMPEG, "-f", "lavfi", "-i", source, "-b:a", "128k", str(path)], check=True, timeout=60)
    data = path.read_bytes()
    path.write_bytes(data[:30_000] + bytes(5_000) + data[35_000:])
    return path


async def take(visit, name: str) -> None:
    """The card says what is wrong and what can be done, the button does it, and the card says what is missing."""
    card = await visit.state(name, "failed")
    await expect(card.locator(".job-facts")).to_contain_text("Sound is missing in the middle of the file, about 0.")
    await expect(card.locator(".job-facts")).not_to_contain_text("tolerate")
    await expect(card.locator(".job-advice")).to_contain_text("Take what there is, or")
    await card.get_by_role("button", name=f"Take what there is {name}").click()
    ready = await visit.state(name, "ready")
    await expect(ready.locator(".job-facts")).to_contain_text("s are missing")


@pytest.mark.parametrize("task", ["stream", "convert"])
async def test_the_rest_of_a_damaged_file_is_a_button_away(open_page, tmp_path: Path, unique: str, task: str) -> None:
    """A file that is sent: it fails for what is missing, and comes through when that is put up with."""
    file = holed(tmp_path / f"{unique}.mp3")
    async with open_page(task=f"#{task}") as visit:
        visit.expect_error("status of 4")
        chooser = visit.page.locator("#file" if task == "stream" else "#convert-file")
        await chooser.and_(visit.page.locator("[multiple]")).set_input_files(str(file))
        await take(visit, unique)


async def test_the_rest_of_a_damaged_video_is_a_button_away(open_page, server, unique: str) -> None:
    """A file of the server's: the same."""
    folder = server.films / unique
    folder.mkdir()
    file = holed(folder / f"{unique}.mp3")
    async with open_page(task="#extract") as visit:
        visit.expect_error("status of 4")
        await visit.page.locator("#browse").wait_for()
        await visit.page.locator("#uris").fill(file.as_uri())
        await visit.page.locator("#extract-form [type=submit]").click()
        await take(visit, unique)
