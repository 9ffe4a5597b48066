"""Which browser opens the page, and how."""

import os

# Debian's Chromium without its windows and menus, which takes two thirds of the processor time of the whole one. With
# that, /usr/bin/chromium, `make test-all` lets players and mixer run, too.
CHROMIUM = os.environ.get("STREAMSRV_CHROMIUM", "/usr/bin/chromium-headless-shell")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
]
