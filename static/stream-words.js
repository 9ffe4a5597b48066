// What a card says about its job: the state in a word, the facts beside it, what can be done, and what to do when it failed.

import { isActive } from "./entries.js";
import { bytes, clock, codecName, left, timeOfDay } from "./format.js";
import { again as againFor, announced, join, missing, plain, queued, remedy, sending } from "./words.js";

function arriving({ received_bytes: count }) {
	return ["Arriving", join(count && `${bytes(count)} so far`, "from another client")];
}

function waiting({ job }) {
	const place = job?.queue_position;
	return ["Waiting", join(place === 1 ? "next in line" : place && `number ${place} in line`, left(job?.eta_seconds))];
}

const SAY = {
	waiting,
	sending: ({ job, upload }) => (upload ? sending(upload) : arriving(job)),
	queued: ({ upload }) => queued(upload),
	working: ({ job }) => ["Encoding", join(`${Math.floor(job.progress)} %`, left(job.eta_seconds))],
	ready: ({ job, order }) => ["Ready", join(job.duration_seconds && clock(job.duration_seconds), missing(job.lost_seconds), timeOfDay(new Date(order)))],
	failed: ({ job, upload }) => ["Failed", plain(errorOf({ job, upload }) || "The server gave no reason.")],
	cancelled: ({ order }) => ["Cancelled", timeOfDay(new Date(order))],
};

/** [state, facts], both plain text. */
export const say = (entry) => SAY[entry.state](entry);

/** What to do about a job that failed. */
export function advice({ state, job, upload }) {
	if (state !== "failed" || upload?.file.size === 0) return "";
	return remedy({ error: errorOf({ job, upload }), status: upload && (upload.status ?? 0), isHere: Boolean(upload) });
}

export const errorOf = ({ job, upload }) => upload?.error || job?.error || "";

export const again = (entry) => againFor(errorOf(entry), Boolean(entry.upload));

/** The buttons that its card has now. */
export function offers(entry) {
	const { state, isPlayable } = entry;
	const playing = isPlayable ? ["play", "link", "more"] : [];
	if (isActive(entry)) return [...playing, "cancel"];
	return state === "ready" ? [...playing, "more"] : [...playing, "retry", "more"];
}

/** What is asked before it is removed. What failed or was cancelled has nothing to lose; a stream that others may be listening to has. */
export const question = ({ state }) => (state === "ready" ? "Remove it and its stream for good?" : "");

export const LINK = "m3u8 link";

export const chip = ({ job }) => codecName(job?.codec, job?.bitrate);

/** 0..1, or null where there is nothing to show. */
export function share({ state, job, upload }) {
	if (state === "sending" && upload) return upload.sentBytes / upload.file.size;
	return state === "working" || state === "sending" ? (job?.progress ?? 0) / 100 : null;
}

/** What a screen reader is told when a job changes, or "" when that is no news. */
export function news(entry, before) {
	const name = nameOf(entry);
	if (before?.state === entry.state) return entry.isPlayable && !before.isPlayable ? `${name} can be played while it is being made.` : "";
	const [state, facts] = say(entry);
	return announced(name, state, entry.state === "failed" ? facts : "");
}

export const nameOf = ({ job, upload }) => upload?.file.name || job?.source_name || job?.track_id || "Untitled";
