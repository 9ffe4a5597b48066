"""HTTP, as every feature needs it and none should write again.

A request comes in by one of the `connections`, which are a bounded `crowd` of `clients` (`runner` has them served):
`requests` gives it an id and a line in the log, `problems` stands around the handler and turns whatever it raises into
`application/problem+json`, `foreign_pages` keeps other people's web pages out, `methods` tells which ones an address
takes, and `cors` lets pages of allowed origins read the reply.
A form with a file goes through `uploads`, which `multipart` takes apart, byte for byte into a sink, without ever
being in memory (`memory`); `admission` says how many may come at the same time, and which of the `senders` goes.
A request in JSON becomes a model in `json_body`.
`names` asks what was meant where an option is misspelt.
A reply goes out: `responses` sends bytes that are at hand, as `ranges` reads the conditions and the range that
were asked for; `downloads` sends a file that was made for this one reply, `stored` one that stays; `segments` keeps the
files that are hot; `events` tells a page what happens (SSE);
`taking` sees whether the client takes it; `pages` serves the page itself, and `health` says that the server is there.
Nothing here knows a job, a song or a feature.
"""
