"""Work that needs a processor or a GPU for itself, in processes of its own, one for each device.

A pool holds one single-process executor per device, so that a child that dies takes nothing with it but its task: the
executor is replaced and the task runs again. Tasks are short. Their order, their priorities and their cancellation stay
in the server, between tasks, so nothing ever has to be said to a child that is running.

A child starts when its device is first needed, keeps what it has loaded, and dies with the server, even by `kill -9`.
`devices` says what there is, `pool` runs tasks, `child` is what a new child does first.
"""
