-- Jobs and the segments they have published.

CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('Pending', 'Processing', 'Completed', 'Failed', 'Cancelled')),
    priority INTEGER NOT NULL,
    title TEXT NOT NULL,
    source_name TEXT NOT NULL,
    source TEXT,
    source_bytes INTEGER NOT NULL,
    options TEXT NOT NULL CHECK (json_valid(options)),
    result TEXT NOT NULL CHECK (json_valid(result)),
    progress REAL NOT NULL CHECK (progress BETWEEN 0 AND 100),
    error TEXT,
    created_at REAL NOT NULL,
    accepted_at REAL,
    started_at REAL,
    completed_at REAL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    restarts INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    lease_token TEXT,
    lease_until REAL,
    CHECK ((status = 'Processing') = (lease_token IS NOT NULL)),
    CHECK ((status IN ('Completed', 'Failed', 'Cancelled')) = (completed_at IS NOT NULL)),
    CHECK (status <> 'Completed' OR accepted_at IS NOT NULL)
) STRICT;

CREATE INDEX jobs_by_status ON jobs (status, sequence);

CREATE INDEX jobs_by_end ON jobs (completed_at) WHERE completed_at IS NOT NULL;

CREATE INDEX jobs_to_discard ON jobs (sequence) WHERE NOT discarded AND status IN ('Failed', 'Cancelled');

-- The graph that stands beside JobStatus, so that no statement can leave it.
CREATE TRIGGER jobs_move BEFORE UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
    VALUES
        ('Pending', 'Processing'),
        ('Pending', 'Failed'),
        ('Pending', 'Cancelled'),
        ('Processing', 'Pending'),
        ('Processing', 'Completed'),
        ('Processing', 'Failed'),
        ('Processing', 'Cancelled')
)
BEGIN
    SELECT RAISE(ABORT, 'a job can not make this move');
END;

CREATE TABLE segments (
    job INTEGER NOT NULL REFERENCES jobs (sequence) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number >= 0),
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (job, number),
    UNIQUE (job, name)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 1;
