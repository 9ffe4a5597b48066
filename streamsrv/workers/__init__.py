"""Work that needs a processor or a GPU for itself, in processes of its own, one for each device.

A pool holds one single-process executor per device, so that a child that dies takes nothing with it but what it was
at: the executor is replaced and the tasks run again. Tasks are short. Their order, their priorities and their
cancellation stay in the server, between tasks, so nothing ever has to be said to a child that is running.

A child starts when its device is first needed, keeps what it has loaded, and dies with the server, even by `kill -9`.
What tasks are given and give is small: samples travel in arrays that both processes see, as files without a name.

`devices` says what there is and what is to be used, `pool` runs tasks, `child` is what a new child does first (a task
reads in STREAMSRV_DEVICE where it is), `arrays` are the shared ones.
"""
