-- Every statement the job store runs: a name, one English line, the statement.
-- A change is one UPDATE that checks its conditions itself and returns the rows it changed.

-- name: keep_journal_beside
-- Readers go on while the writer commits.
PRAGMA journal_mode = WAL;

-- name: sync_every_commit
-- What was committed survives a power cut.
PRAGMA synchronous = FULL;

-- name: enforce_references
-- A removed job takes its segments along.
PRAGMA foreign_keys = ON;

-- name: refuse_writes
-- The reading connection only reads.
PRAGMA query_only = ON;

-- name: find_damage
-- Say "ok", or one thing that is wrong with the file.
PRAGMA quick_check(1);

-- name: read_version
-- The number of the last schema step that was applied.
PRAGMA user_version;

-- name: find_anything
-- Nothing in a database that nobody has written to.
SELECT 1 FROM sqlite_schema LIMIT 1;

-- name: find_counters
-- Nothing where no schema step was ever applied.
SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence';

-- name: find_history
-- Nothing where there never was a job; those that were removed count, too.
SELECT 1 FROM sqlite_sequence WHERE name = 'jobs' AND seq > 0;

-- name: begin
-- Start a transaction that will write.
BEGIN IMMEDIATE;

-- name: insert_job
-- Write a new row, or nothing when the id is taken.
INSERT INTO jobs (
    id, kind, subject, status, priority, title, source_name, source, source_bytes, options, result, progress, error,
    created_at, accepted_at, started_at, completed_at, attempt, failures, restarts, cancel_requested, discarded,
    revision, fingerprint
) VALUES (
    :id, :kind, :subject, :status, :priority, :title, :source_name, :source, :source_bytes, :options, :result,
    :progress, :error, :created_at, :accepted_at, :started_at, :completed_at, :attempt, :failures, :restarts,
    :cancel_requested, :discarded, :revision, :fingerprint
) ON CONFLICT (id) DO NOTHING RETURNING *;

-- name: find_unfinished
-- The job that waits or runs for this request; one that is being cancelled won't answer it.
SELECT * FROM jobs
WHERE fingerprint = :fingerprint AND kind = :kind AND subject = :subject
    AND status IN ('Pending', 'Processing') AND NOT cancel_requested;

-- name: take_out_failed_upload
-- Free the id of an upload that failed and whose files are gone.
DELETE FROM jobs WHERE id = :id AND status = 'Failed' AND accepted_at IS NULL AND discarded RETURNING revision;

-- name: accept
-- The upload's end was seen: the job is the server's duty from here on.
UPDATE jobs SET
    accepted_at = :now, source = :source, source_bytes = :source_bytes, title = :title, options = :options,
    priority = :priority, revision = revision + 1
WHERE id = :id AND accepted_at IS NULL AND status IN ('Pending', 'Processing') AND NOT cancel_requested
RETURNING *;

-- name: refuse
-- The upload did not arrive: end the job and void its lease.
UPDATE jobs SET
    status = iif(cancel_requested, 'Cancelled', 'Failed'), error = iif(cancel_requested, NULL, :error),
    completed_at = :now, lease_token = NULL, lease_until = NULL, revision = revision + 1
WHERE id = :id AND accepted_at IS NULL AND status IN ('Pending', 'Processing')
RETURNING *;

-- name: claim
-- Lease the waiting job whose turn it is.
UPDATE jobs SET
    status = 'Processing', lease_token = :token, lease_until = :until, attempt = attempt + 1,
    started_at = coalesce(started_at, :now), revision = revision + 1
WHERE sequence = (
    SELECT sequence FROM jobs
    WHERE status = 'Pending' AND accepted_at IS NOT NULL AND kind IN (SELECT value FROM json_each(:kinds))
        AND priority <= :least
    ORDER BY accepted_at + priority * :ageing_seconds, sequence LIMIT 1
)
RETURNING *;

-- name: claim_upload
-- Lease one job whose upload is still arriving.
UPDATE jobs SET
    status = 'Processing', lease_token = :token, lease_until = :until, attempt = attempt + 1,
    started_at = coalesce(started_at, :now), revision = revision + 1
WHERE id = :id AND status = 'Pending' AND accepted_at IS NULL
RETURNING *;

-- name: renew
-- Prolong a lease, and write the progress that was held back.
UPDATE jobs SET
    lease_until = :until, revision = revision + (coalesce(:progress, 0) > progress),
    progress = max(progress, coalesce(:progress, 0))
WHERE id = :id AND lease_token = :token
RETURNING *;

-- name: report
-- Write progress and what the work found out.
UPDATE jobs SET
    progress = max(progress, coalesce(:progress, 0)), result = json_patch(result, :result), revision = revision + 1
WHERE id = :id AND lease_token = :token
RETURNING *;

-- name: insert_segment
-- Publish one segment.
INSERT INTO segments (job, number, name, key, size, etag, seconds)
VALUES (:job, :number, :name, :key, :size, :etag, :seconds);

-- name: delete_segments
-- Take back all segments of a job.
DELETE FROM segments WHERE job = (SELECT sequence FROM jobs WHERE id = :id);

-- name: finish
-- End a job; a cancellation that was asked for wins, and only an accepted job can be completed.
UPDATE jobs SET
    status = iif(cancel_requested, 'Cancelled', :status), error = iif(cancel_requested, NULL, :error),
    progress = iif(NOT cancel_requested AND :status = 'Completed', 100.0, progress),
    result = json_patch(result, :result), completed_at = :now, lease_token = NULL, lease_until = NULL,
    revision = revision + 1
WHERE id = :id AND lease_token = :token AND (accepted_at IS NOT NULL OR :status <> 'Completed')
RETURNING *;

-- name: release
-- Give up an attempt that failed for the server's own fault.
UPDATE jobs SET
    status = fate.outcome, failures = failures + 1, error = iif(fate.outcome = 'Failed', :error, NULL),
    completed_at = iif(fate.outcome = 'Pending', NULL, :now), lease_token = NULL, lease_until = NULL,
    revision = revision + 1
FROM (
    SELECT sequence AS row, CASE
        WHEN cancel_requested THEN 'Cancelled'
        WHEN accepted_at IS NOT NULL AND failures + 1 >= :max_attempts THEN 'Failed'
        ELSE 'Pending' END AS outcome
    FROM jobs WHERE id = :id AND lease_token = :token
) AS fate
WHERE sequence = fate.row
RETURNING *;

-- name: put_back
-- Give up an attempt that nobody is to blame for.
UPDATE jobs SET
    status = iif(cancel_requested, 'Cancelled', 'Pending'), completed_at = iif(cancel_requested, :now, NULL),
    lease_token = NULL, lease_until = NULL, revision = revision + 1
WHERE id = :id AND lease_token = :token
RETURNING *;

-- name: request_cancel
-- End a waiting job, or ask the runner of a running one to end it.
UPDATE jobs SET
    status = iif(status = 'Pending', 'Cancelled', status), completed_at = iif(status = 'Pending', :now, NULL),
    cancel_requested = 1, revision = revision + 1
WHERE id = :id AND status IN ('Pending', 'Processing') AND NOT cancel_requested
RETURNING *;

-- name: recover
-- At start-up nothing runs and no upload arrives: settle what a former server left.
UPDATE jobs SET
    status = fate.outcome, restarts = restarts + (status = 'Processing' AND fate.outcome = 'Pending'),
    error = CASE WHEN fate.outcome <> 'Failed' THEN NULL WHEN accepted_at IS NULL THEN :lost_upload ELSE :gave_up END,
    completed_at = iif(fate.outcome = 'Pending', NULL, :now), lease_token = NULL, lease_until = NULL,
    revision = revision + 1
FROM (
    SELECT sequence AS row, CASE
        WHEN cancel_requested THEN 'Cancelled'
        WHEN accepted_at IS NULL OR restarts >= :max_restarts THEN 'Failed'
        ELSE 'Pending' END AS outcome
    FROM jobs WHERE status = 'Processing' OR (status = 'Pending' AND accepted_at IS NULL)
) AS fate
WHERE sequence = fate.row
RETURNING *;

-- name: expire
-- Take jobs away from runners that gave no sign of life; an upload may still be arriving.
UPDATE jobs SET
    status = fate.outcome, restarts = restarts + (fate.outcome = 'Pending'),
    error = iif(fate.outcome = 'Failed', :gave_up, NULL), completed_at = iif(fate.outcome = 'Pending', NULL, :now),
    lease_token = NULL, lease_until = NULL, revision = revision + 1
FROM (
    SELECT sequence AS row, CASE
        WHEN cancel_requested THEN 'Cancelled'
        WHEN accepted_at IS NOT NULL AND restarts >= :max_restarts THEN 'Failed'
        ELSE 'Pending' END AS outcome
    FROM jobs
    WHERE status = 'Processing' AND lease_until < :now AND id NOT IN (SELECT value FROM json_each(:alive))
) AS fate
WHERE sequence = fate.row
RETURNING *;

-- name: list_to_discard
-- Jobs that failed or were cancelled and still have their files, first ended first.
SELECT * FROM jobs WHERE NOT discarded AND status IN ('Failed', 'Cancelled') ORDER BY sequence LIMIT :limit;

-- name: mark_discarded
-- The files of a failed or cancelled job are gone.
UPDATE jobs SET discarded = 1, revision = revision + 1
WHERE id = :id AND NOT discarded AND status IN ('Failed', 'Cancelled')
RETURNING *;

-- name: remove
-- Forget a job that has ended.
DELETE FROM jobs WHERE id = :id AND status IN ('Completed', 'Failed', 'Cancelled') RETURNING *;

-- name: get
-- One job.
SELECT * FROM jobs WHERE id = :id;

-- name: get_latest
-- The newest job for a request, whatever became of it.
SELECT * FROM jobs WHERE fingerprint = :fingerprint AND kind = :kind AND subject = :subject
ORDER BY sequence DESC LIMIT 1;

-- name: list_page
-- Jobs before a point in the list, newest first.
SELECT * FROM jobs
WHERE subject = :subject
    AND (:kind IS NULL OR kind = :kind)
    AND (:before IS NULL OR sequence < :before)
    AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
ORDER BY sequence DESC LIMIT :limit;

-- name: list_segments
-- What a job has published, the init section first.
SELECT segments.* FROM segments JOIN jobs ON jobs.sequence = segments.job WHERE jobs.id = :id ORDER BY number;

-- name: list_segments_between
-- Those of a job's segments whose names lie between two.
SELECT segments.* FROM segments
WHERE job = (SELECT sequence FROM jobs WHERE id = :id) AND name >= :first AND name < :behind ORDER BY number;

-- name: get_segment
-- One published segment.
SELECT segments.* FROM segments JOIN jobs ON jobs.sequence = segments.job WHERE jobs.id = :id AND name = :name;

-- name: list_ahead
-- The waiting jobs of its kind that will be claimed before this one, in that order.
SELECT ahead.* FROM jobs AS mine
JOIN jobs AS ahead ON ahead.status = 'Pending' AND ahead.accepted_at IS NOT NULL AND ahead.kind = mine.kind
WHERE mine.id = :id AND mine.status = 'Pending' AND mine.accepted_at IS NOT NULL
    AND (ahead.accepted_at + ahead.priority * :ageing_seconds, ahead.sequence)
        < (mine.accepted_at + mine.priority * :ageing_seconds, mine.sequence)
ORDER BY ahead.accepted_at + ahead.priority * :ageing_seconds, ahead.sequence LIMIT :limit;

-- name: count_position
-- Count the waiting jobs of its kind up to and with this one; 0 when it doesn't wait.
SELECT count(*) AS position FROM jobs AS mine
JOIN jobs AS other ON other.status = 'Pending' AND other.accepted_at IS NOT NULL AND other.kind = mine.kind
WHERE mine.id = :id AND mine.status = 'Pending' AND mine.accepted_at IS NOT NULL
    AND (other.accepted_at + other.priority * :ageing_seconds, other.sequence)
        <= (mine.accepted_at + mine.priority * :ageing_seconds, mine.sequence);

-- name: count_waiting
-- Count the jobs of a kind that wait, those whose uploads still arrive, too.
SELECT count(*) AS waiting FROM jobs WHERE status = 'Pending' AND kind = :kind;

-- name: list_recent_completed
-- The jobs that were completed last, last first.
SELECT * FROM jobs WHERE status = 'Completed' AND kind = :kind AND completed_at IS NOT NULL
ORDER BY completed_at DESC, sequence DESC LIMIT :limit;

-- name: list_ended_before
-- Jobs that ended before a moment, and that nobody has asked for since, first ended first.
SELECT * FROM jobs
WHERE completed_at IS NOT NULL AND completed_at < :moment
    AND NOT EXISTS (SELECT 1 FROM submissions WHERE job = jobs.sequence AND submissions.created_at >= :moment)
ORDER BY completed_at LIMIT :limit;

-- name: get_result
-- What was made for one request.
SELECT * FROM results WHERE key = :key;

-- name: record_result
-- Write what was made, in the place of what was made before.
INSERT INTO results (key, kind, subject, request, cursor, facts, file, size, created_at, used_at)
VALUES (:key, :kind, :subject, :request, :cursor, :facts, :file, :size, :created_at, :used_at)
ON CONFLICT (key) DO UPDATE SET
    kind = excluded.kind, subject = excluded.subject, request = excluded.request, cursor = excluded.cursor,
    facts = excluded.facts, file = excluded.file, size = excluded.size, used_at = excluded.used_at
RETURNING *;

-- name: use_file
-- All results that a file serves are in use.
UPDATE results SET used_at = :now WHERE file = :file RETURNING key;

-- name: list_unused_files
-- Files none of whose results was used since a moment, the one that was last used longest ago first.
-- SQLite would read all rows to group them; the index gives the old ones, mostly few.
SELECT file, max(size) AS size FROM results AS old INDEXED BY results_by_use
WHERE used_at < :moment
    AND NOT EXISTS (SELECT 1 FROM results AS other WHERE other.file = old.file AND other.used_at >= :moment)
GROUP BY file ORDER BY max(used_at), file LIMIT :limit;

-- name: sum_files
-- The bytes of all files that results are in.
SELECT coalesce(sum(size), 0) AS total FROM (SELECT max(size) AS size FROM results GROUP BY file);

-- name: forget_file
-- Forget all results that a file serves, unless one was used since a moment.
DELETE FROM results WHERE file = :file
    AND NOT EXISTS (SELECT 1 FROM results AS other WHERE other.file = :file AND other.used_at >= :moment)
RETURNING key;

-- name: find_file
-- Say whether any result is in this file.
SELECT 1 FROM results WHERE file = :file LIMIT 1;

-- name: find_complete
-- The newest job for this request, if it has all its tracks; one that nobody claims any more is about to go.
SELECT * FROM (
    SELECT * FROM jobs WHERE fingerprint = :fingerprint AND kind = :kind AND subject = :subject
    ORDER BY sequence DESC LIMIT 1
) AS newest
WHERE status = 'Completed' AND NOT discarded
    AND EXISTS (SELECT 1 FROM submissions WHERE job = newest.sequence)
    AND NOT EXISTS (SELECT 1 FROM removed_tracks WHERE job = newest.sequence);

-- name: insert_submission
-- Claim a job, or nothing when the submission's id is taken.
INSERT INTO submissions (
    id, job, subject, content, model, model_reason, name, callback_url, callback_host, origin, created_at
)
SELECT
    :id, sequence, :subject, :content, :model, :model_reason, :name, :callback_url, :callback_host, :origin, :created_at
FROM jobs WHERE id = :job
ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: owe_at_once
-- The webhook of a submission whose job had ended before.
INSERT INTO outbox (id, submission, host, next_at)
SELECT 'msg_' || id, sequence, callback_host, created_at FROM submissions
WHERE id = :id AND callback_url IS NOT NULL;

-- name: get_standing
-- What stands for a song: a job that waits or runs, else that of the newest submission.
SELECT jobs.* FROM submissions JOIN jobs ON jobs.sequence = submissions.job
WHERE content = :content AND submissions.subject = :subject AND (:model IS NULL OR model = :model)
ORDER BY status IN ('Pending', 'Processing') AND NOT cancel_requested DESC, submissions.sequence DESC LIMIT 1;

-- name: get_standing_completed
-- The completed job of the newest submission of a song that has one.
SELECT jobs.* FROM submissions JOIN jobs ON jobs.sequence = submissions.job
WHERE content = :content AND submissions.subject = :subject AND (:model IS NULL OR model = :model)
    AND status = 'Completed'
ORDER BY submissions.sequence DESC LIMIT 1;

-- name: list_jobs_of_content
-- All jobs of a song, that of the newest submission first.
SELECT jobs.* FROM jobs JOIN (
    SELECT job, max(sequence) AS newest FROM submissions WHERE content = :content AND subject = :subject GROUP BY job
) AS claims ON claims.job = jobs.sequence
ORDER BY claims.newest DESC;

-- name: get_submission
-- The newest submission of a subject that a job answers.
SELECT submissions.* FROM submissions
WHERE job = (SELECT sequence FROM jobs WHERE id = :job) AND subject = :subject
ORDER BY sequence DESC LIMIT 1;

-- name: remove_track
-- Somebody who claims a job doesn't want this track of it any more.
INSERT INTO removed_tracks (job, subject, track)
SELECT sequence, :subject, :track FROM jobs
WHERE id = :job AND EXISTS (
    SELECT 1 FROM submissions WHERE submissions.job = jobs.sequence AND submissions.subject = :subject
)
ON CONFLICT DO NOTHING RETURNING track;

-- name: list_removed_tracks
-- What a subject has removed of a job.
SELECT track FROM removed_tracks
WHERE job = (SELECT sequence FROM jobs WHERE id = :job) AND subject = :subject;

-- name: find_want
-- Say whether anybody claims a job and has not removed this track of it.
SELECT 1 FROM submissions
WHERE job = (SELECT sequence FROM jobs WHERE id = :job) AND NOT EXISTS (
    SELECT 1 FROM removed_tracks AS removed
    WHERE removed.job = submissions.job AND removed.subject = submissions.subject AND removed.track = :track
) LIMIT 1;

-- name: drop_claims
-- A subject doesn't want a song any more, or what one model made of it; what still waits or runs stays claimed.
DELETE FROM submissions
WHERE content = :content AND subject = :subject AND (:model IS NULL OR model = :model)
    AND job IN (SELECT sequence FROM jobs WHERE status IN ('Completed', 'Failed', 'Cancelled'))
RETURNING job;

-- name: list_unclaimed_of
-- Of these jobs those that nobody claims.
SELECT id FROM jobs
WHERE sequence IN (SELECT value FROM json_each(:jobs))
    AND NOT EXISTS (SELECT 1 FROM submissions WHERE job = jobs.sequence)
ORDER BY sequence;

-- name: list_unclaimed
-- Jobs that ended, and that nobody claims, first ended first.
SELECT * FROM jobs
WHERE kind = :kind AND status IN ('Completed', 'Failed', 'Cancelled')
    AND NOT EXISTS (SELECT 1 FROM submissions WHERE job = jobs.sequence)
ORDER BY sequence LIMIT :limit;

-- name: retire
-- Take all claims off a job that ended, unless somebody asked for it since a moment.
DELETE FROM submissions
WHERE job = (SELECT sequence FROM jobs WHERE id = :id AND status IN ('Completed', 'Failed', 'Cancelled'))
    AND NOT EXISTS (
        SELECT 1 FROM submissions AS other WHERE other.job = submissions.job AND other.created_at >= :moment
    )
RETURNING id;

-- name: find_claim
-- Say whether anybody claims a job.
SELECT 1 FROM submissions WHERE job = (SELECT sequence FROM jobs WHERE id = :id) LIMIT 1;

-- name: list_due_messages
-- Webhooks whose time has come: of each host the one that waits longest, but none of the hosts that are busy.
SELECT messages.* FROM (
    SELECT id, min(next_at) FROM outbox
    WHERE next_at IS NOT NULL AND next_at <= :now AND host NOT IN (SELECT value FROM json_each(:busy)) GROUP BY host
) AS due JOIN messages ON messages.message_id = due.id
ORDER BY message_next_at LIMIT :limit;

-- name: get_next_due
-- When the next webhook is due whose host isn't busy.
SELECT min(next_at) AS next_at FROM outbox
WHERE next_at IS NOT NULL AND host NOT IN (SELECT value FROM json_each(:busy));

-- name: list_messages
-- The webhooks that were owed to a subject for a song, last asked for first.
SELECT * FROM messages WHERE submission_content = :content AND submission_subject = :subject
ORDER BY submission_sequence DESC LIMIT :limit;

-- name: list_deliveries
-- Every try of these webhooks, first one first.
SELECT message, at, status, error, seconds FROM deliveries
WHERE message IN (SELECT value FROM json_each(:messages)) ORDER BY sequence;

-- name: insert_delivery
-- Note one try, unless its webhook is gone.
INSERT INTO deliveries (message, at, status, error, seconds)
SELECT id, :at, :status, :error, :seconds FROM outbox WHERE id = :message;

-- name: update_message
-- What a try made of a webhook, unless it was asked for anew meanwhile.
UPDATE outbox SET state = :state, failures = :failures, next_at = :next_at
WHERE id = :message AND next_at IS :due_at RETURNING id;

-- name: replay
-- Send a webhook again, as if nothing had been tried.
UPDATE outbox SET state = 'waiting', failures = 0, next_at = :now WHERE id = :message RETURNING id;
