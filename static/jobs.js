// All jobs this page knows: what the server says of each, and the upload it comes from if that was started here.
//
// An entry is {id, job, upload, order, state, isPlayable}; `order` sorts the list, newest first. "change" tells an
// entry and how it was before, "remove" that one is gone.

const ENDED = { Completed: "ready", Failed: "failed", Cancelled: "cancelled" };

export const isEnded = (job) => Boolean(job) && job.status in ENDED;

export const isActive = ({ state }) => !["ready", "failed", "cancelled"].includes(state);

/** One word for what a person should see: queued, sending, waiting, working, ready, failed or cancelled. */
function stateOf({ job, upload }) {
	if (isEnded(job)) return ENDED[job.status];
	if (upload && upload.state !== "sent") return upload.state;
	if (job?.phase === "uploading" && !upload) return "sending";
	return job?.phase === "working" ? "working" : "waiting";
}

export class Jobs extends EventTarget {
	#entries = new Map();
	#removed = new Set();

	get(id) {
		return this.#entries.get(id);
	}

	/** Newest first. */
	all() {
		return [...this.#entries.values()].sort((a, b) => b.order - a.order);
	}

	heard(job) {
		// Answers can overtake each other: what was removed stays away, and what has ended has ended.
		if (this.#removed.has(job.id) || (isEnded(this.get(job.id)?.job) && !isEnded(job))) return;
		this.#update(job.id, Date.parse(job.created_at), { job });
	}

	sending(upload) {
		this.#update(upload.id, upload.addedAt, { upload });
	}

	remove(id) {
		this.#removed.add(id);
		this.#entries.delete(id);
		this.dispatchEvent(new Event("remove"));
	}

	#update(id, order, change) {
		const before = this.get(id);
		const entry = { id, job: null, upload: null, order, ...before, ...change };
		entry.state = stateOf(entry);
		entry.isPlayable = Boolean(entry.job?.live_url || entry.job?.manifest_url);
		this.#entries.set(id, entry);
		this.dispatchEvent(new CustomEvent("change", { detail: { entry, before } }));
	}
}
