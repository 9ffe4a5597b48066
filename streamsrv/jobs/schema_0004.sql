-- Why a submission got the model it got, where it named none: each has its own reason, though one job answers them.

ALTER TABLE submissions ADD COLUMN model_reason TEXT;

DROP VIEW messages;

-- All that there is to say of each webhook.
CREATE VIEW messages AS
SELECT
    jobs.*, outbox.id AS message_id, outbox.host AS message_host, outbox.state AS message_state,
    outbox.failures AS message_failures, outbox.next_at AS message_next_at,
    submissions.sequence AS submission_sequence,
    submissions.id AS submission_id, submissions.subject AS submission_subject,
    submissions.content AS submission_content, submissions.model AS submission_model,
    submissions.model_reason AS submission_model_reason,
    submissions.name AS submission_name, submissions.callback_url AS submission_callback_url,
    submissions.origin AS submission_origin, submissions.created_at AS submission_created_at
FROM outbox
JOIN submissions ON submissions.sequence = outbox.submission
JOIN jobs ON jobs.sequence = submissions.job;

PRAGMA user_version = 4;
