-- Who asked for which song, what was removed of it, and the webhooks that are owed.

-- One job answers several submissions; each has a name of its own for the song, and a webhook if it named an address.
CREATE TABLE submissions (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job INTEGER NOT NULL REFERENCES jobs (sequence) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    content TEXT NOT NULL CHECK (length(content) = 64),
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    callback_url TEXT,
    callback_host TEXT,
    origin TEXT NOT NULL,
    created_at REAL NOT NULL,
    CHECK ((callback_url IS NULL) = (callback_host IS NULL))
) STRICT;

CREATE INDEX submissions_by_job ON submissions (job, subject);

CREATE INDEX submissions_by_content ON submissions (content, subject, sequence);

-- What somebody doesn't want any more of a job's tracks.
CREATE TABLE removed_tracks (
    job INTEGER NOT NULL REFERENCES jobs (sequence) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    track TEXT NOT NULL,
    PRIMARY KEY (job, subject, track)
) STRICT, WITHOUT ROWID;

-- A webhook that is owed, or was: what it says is in the rows of its submission and its job, which don't change.
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    submission INTEGER NOT NULL UNIQUE REFERENCES submissions (sequence) ON DELETE CASCADE,
    host TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'gave up')),
    failures INTEGER NOT NULL DEFAULT 0,
    next_at REAL,
    CHECK ((state = 'waiting') = (next_at IS NOT NULL))
) STRICT;

CREATE INDEX outbox_waiting ON outbox (host, next_at) WHERE next_at IS NOT NULL;

-- Every try to deliver a webhook.
CREATE TABLE deliveries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    message TEXT NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    status INTEGER,
    error TEXT,
    seconds REAL NOT NULL
) STRICT;

CREATE INDEX deliveries_by_message ON deliveries (message, sequence);

-- All that there is to say of each webhook.
CREATE VIEW messages AS
SELECT
    jobs.*, outbox.id AS message_id, outbox.host AS message_host, outbox.state AS message_state,
    outbox.failures AS message_failures, outbox.next_at AS message_next_at,
    submissions.sequence AS submission_sequence,
    submissions.id AS submission_id, submissions.subject AS submission_subject,
    submissions.content AS submission_content, submissions.model AS submission_model,
    submissions.name AS submission_name, submissions.callback_url AS submission_callback_url,
    submissions.origin AS submission_origin, submissions.created_at AS submission_created_at
FROM outbox
JOIN submissions ON submissions.sequence = outbox.submission
JOIN jobs ON jobs.sequence = submissions.job;

-- Whichever statement ends a job, what is owed for it is written by the very same commit.
CREATE TRIGGER jobs_end AFTER UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NEW.status IN ('Completed', 'Failed', 'Cancelled')
BEGIN
    INSERT INTO outbox (id, submission, host, next_at)
    SELECT 'msg_' || id, sequence, callback_host, NEW.completed_at FROM submissions
    WHERE job = NEW.sequence AND callback_url IS NOT NULL;
END;

PRAGMA user_version = 3;
