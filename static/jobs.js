// All jobs this page knows: what the server says of each, and the upload it comes from if that was started here.
//
// An entry is {id, job, upload, order, state, isPlayable}.

import { Entries } from "./entries.js";

const ENDED = { Completed: "ready", Failed: "failed", Cancelled: "cancelled" };

export const isEnded = (job) => Boolean(job) && job.status in ENDED;

/** One word for what a person should see: queued, sending, waiting, working, ready, failed or cancelled. */
function stateOf({ job, upload }) {
	if (isEnded(job)) return ENDED[job.status];
	if (upload && upload.state !== "sent") return upload.state;
	if (job?.phase === "uploading" && !upload) return "sending";
	return job?.phase === "working" ? "working" : "waiting";
}

export class Jobs extends Entries {
	#removed = new Set();

	heard(job) {
		// Answers can overtake each other: what was removed stays away, and what has ended has ended.
		if (this.#removed.has(job.id) || (isEnded(this.get(job.id)?.job) && !isEnded(job))) return;
		this.update(job.id, Date.parse(job.created_at), { job });
	}

	sending(upload) {
		this.update(upload.id, upload.addedAt, { upload });
	}

	remove(id) {
		this.#removed.add(id);
		super.remove(id);
	}

	derive(entry) {
		return { state: stateOf(entry), isPlayable: Boolean(entry.job?.live_url || entry.job?.manifest_url) };
	}
}
