-- Work that is done once for each request, and what was made for which.

-- A digest of what is asked for.
ALTER TABLE jobs ADD COLUMN fingerprint TEXT;

-- A job that is being cancelled doesn't answer its request any more. No move leads back into this index.
CREATE UNIQUE INDEX jobs_unfinished_once ON jobs (fingerprint, kind, subject)
WHERE fingerprint IS NOT NULL AND status IN ('Pending', 'Processing') AND NOT cancel_requested;

CREATE INDEX jobs_by_fingerprint ON jobs (fingerprint, kind, subject, sequence) WHERE fingerprint IS NOT NULL;

CREATE TABLE results (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    request TEXT NOT NULL CHECK (json_valid(request)),
    cursor TEXT,
    facts TEXT NOT NULL CHECK (json_valid(facts)),
    file TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    created_at REAL NOT NULL,
    used_at REAL NOT NULL
) STRICT;

CREATE INDEX results_by_use ON results (used_at);

CREATE INDEX results_by_file ON results (file, used_at);

PRAGMA user_version = 2;
