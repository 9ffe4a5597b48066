"""Every connection that this server opens to another machine, and no way around.

Users name addresses, and an address can be a trick: the router, the cloud's metadata, this machine itself.
So `urls` reads an address strictly (http or https, no name and password in it), `addresses` knows which IP addresses
are public, and `routes` which are this machine's own. `guard` asks them when a socket is opened for the address it will
really be connected to, whatever a name said a moment before, and anew for each redirect. `outbound.allow` opens hosts
and networks by name.
What is refused and what isn't there answer in the same words, so that nobody can look around through us.
`download` brings a file to disk: within limits, in pieces if the connection breaks, whole or not at all, and with
`patience` for slow servers that has an end.
`webhooks` tells other servers what they asked to be told, signed, again and again until they have taken it.
`replies` reads what a server says about the file, `part` is the file while it grows, `names` asks for addresses.
Nothing here knows who wants the file, where it will be kept, or what a webhook says.
"""
