"""What makes `streamsrv-small`: songs made by rules, a small HTDemucs trained on them, and how good it became.

`songs` are made first. `dataset` draws pieces of them and `augment` varies these; `train` has the `network` learn, as a
`plan` says, by a `loss`, alone or in `company`, writing a `journal` and `checkpoint`s; `export` gives the model away.
`evaluate` asks `separators` for stems and `measures` them, beside those of the `baseline`; `pictures` shows them, and
what any other file sounds like, and `stems` gives a song's to any player. `demo` is the song that the page offers.
`soundfiles` reads and writes all sound; `options` are what all commands share. `tests` are its own: the server and its
tests need nothing of this.
"""
