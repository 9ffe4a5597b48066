"""Songs made by rules and sounded by synthesis, each stem apart.

`compose` makes up a `score`, by the rows of `patterns`. Who plays it: `sampler` (FluidSynth), `synth`, `drums` (by
`strokes`, within `ranges`), `voice` (a `singer`'s `performance` of `phonemes`, sounded by the `tract`) and `speech`.
`mixing` puts them together, through `effects`, and `files` keeps what came of it.
"""
