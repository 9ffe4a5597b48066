// What a card says about its job: the state in a word, the facts beside it, and what to do when it failed.

import { bytes, clock, left, timeOfDay } from "./format.js";

const join = (...facts) => facts.filter(Boolean).join(" · ");

function sending({ job, upload }) {
	if (!upload) return ["Arriving", join(job.received_bytes && `${bytes(job.received_bytes)} so far`, "from another client")];
	const { sentBytes, bytesPerSecond: speed, file } = upload;
	const pace = sentBytes < file.size ? join(speed && `${bytes(speed)}/s`, left((file.size - sentBytes) / speed)) : "the server takes it over";
	return ["Sending", join(`${bytes(sentBytes)} of ${bytes(file.size)}`, pace)];
}

function waiting({ job }) {
	const place = job?.queue_position;
	return ["Waiting", join(place === 1 ? "next in line" : place && `number ${place} in line`, left(job?.eta_seconds))];
}

const SAY = {
	sending,
	waiting,
	queued: ({ upload }) => ["Queued", join(bytes(upload.file.size), "is sent when another one is through")],
	working: ({ job }) => ["Encoding", join(`${Math.floor(job.progress)} %`, left(job.eta_seconds))],
	ready: ({ job, order }) => ["Ready", join(job.duration_seconds && clock(job.duration_seconds), timeOfDay(new Date(order)))],
	failed: ({ job, upload }) => ["Failed", upload?.error || job?.error || "The server gave no reason."],
	cancelled: ({ order }) => ["Cancelled", timeOfDay(new Date(order))],
};

/** [state, facts], both plain text. */
export const say = (entry) => SAY[entry.state](entry);

/** What to do about a job that failed. */
export function advice({ state, upload }) {
	if (state !== "failed" || upload?.file.size === 0) return "";
	return upload
		? "Retry sends the same file again. If that fails, too, check that it plays on your computer."
		: "Check that the file plays on your computer, then choose it again.";
}

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
	return `${name}: ${state}. ${entry.state === "failed" ? facts : ""}`;
}

export const nameOf = ({ job, upload }) => upload?.file.name || job?.source_name || job?.track_id || "Untitled";
