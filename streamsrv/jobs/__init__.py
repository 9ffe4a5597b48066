"""Work that outlives the request that asked for it.

A job is a row in SQLite, and the row is the truth. A handler writes it and returns; the runner claims it with a
lease, renews the lease while the work goes on, and records how it ended. Every write names the lease's token, so a
runner that lost its job can't change it any more. What a client waits for is woken by the commit that changed it.

An upload has its row before its bytes: such a job isn't accepted yet, and a runner may already work on what arrives.
Once the end was seen the job is accepted, and from then on no crash loses it: a killed server finds it at its next
start and takes it up again. A job that fails or is cancelled has its files removed before its row says so.

What is the same whoever asks is made once. Requests with the same fingerprint share the one job that waits or runs for
them, and `results` remembers which file answers which request. Where many ask for the same song, `submissions` are
their claims on its job, and `outbox` has the webhook that each of them is owed, written by the commit that ends the
job. `estimates` guesses how long a job will still take, `follow` gives a job as it changes, and `words` has what
people write and read of jobs.

No queue grows without end (`queue_limit`), and a job that waits for another machine steps `aside` for others. What is
kept for a time grows old by `ageing`, on which a clock that was set wrong has no hold. `inspection` looks into the
database beside a server that has it open.
"""
