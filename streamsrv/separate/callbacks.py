"""What a callback says: the outcome of a song, and where its tracks are. Pure."""

import json

from streamsrv.jobs.job import JobStatus
from streamsrv.jobs.outbox import Message
from streamsrv.jobs.words import timestamp
from streamsrv.separate.schema import Recipe, track_urls


def render_callback(message: Message) -> bytes:
    """The body, the same for each try. Its form is that of Standard Webhooks: type, timestamp and data."""
    job, submission = message.job, message.submission
    completed = job.status is JobStatus.COMPLETED
    model, tracks = Recipe.of(job).model, job.result.get("tracks", ()) if completed else ()
    payload = {
        "type": f"song.{job.status.value.lower()}",
        "timestamp": timestamp(job.completed_at),
        "data": {
            "hash": submission.content,
            "song_name": submission.name,
            "status": job.status.value,
            "error": job.error,
            "model": model,
            "model_reason": submission.model_reason,
            "song_url": f"{submission.origin}/apiv1/song/{submission.content}",
            "tracks": track_urls(submission.origin, submission.content, model, tracks),
        },
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
