// What a card says about its conversion.

import { isActive } from "./entries.js";
import { bytes, timeOfDay } from "./format.js";
import { isUnsaved } from "./conversions.js";
import { again as againFor, announced, join, missing, plain, queued, remedy, sending } from "./words.js";

const CHANGE = "Change the options, then drop the file again.";

const SAY = {
	queued: ({ upload }) => queued(upload),
	sending: ({ upload }) => sending(upload),
	waiting: () => ["Waiting", "for its turn on the server"],
	working: ({ told: { progress, phase } }) => ["Encoding", phase === "replying" ? "done, it is on its way back" : progress === null ? "" : `${Math.floor(progress)} %`],
	receiving: ({ upload: { receivedBytes, totalBytes } }) => ["Receiving", `${bytes(receivedBytes)} of ${bytes(totalBytes)}`],
	ready: ({ isSaved, upload: { result, file } }) => ["Ready", join(bytes(result.size), `was ${bytes(file.size)}`, missing(result.lostSeconds), isSaved && "downloaded")],
	failed: ({ upload }) => ["Failed", plain(upload.error)],
	cancelled: ({ order }) => ["Cancelled", timeOfDay(new Date(order))],
};

/** [state, facts], both plain text. */
export const say = (entry) => SAY[entry.state](entry);

/** What to do about one that failed. */
export function advice({ state, upload }) {
	if (state !== "failed" || !upload.file.size) return "";
	return upload.status === 400 ? CHANGE : remedy({ error: upload.error, status: upload.status ?? 0, isHere: true });
}

export const again = ({ upload }) => againFor(upload.error, true);

/** The buttons that its card has now. */
export function offers(entry) {
	if (isActive(entry)) return ["cancel"];
	if (entry.state !== "ready") return ["retry", "more"];
	return entry.isPlayable ? ["play", "save", "more"] : ["save", "more"];
}

/** What is asked before it is removed. */
export const question = (entry) => (isUnsaved(entry) ? "Remove it without having downloaded it?" : "");

export function chip({ upload: { options } }) {
	const { format, bitrate } = options;
	return `${format.toUpperCase()} ${bitrate ? `${bitrate / 1000}k` : ""}`.trim();
}

/** 0..1, or null where there is nothing to show. */
export function share({ state, told, upload }) {
	if (state === "sending") return upload.sentBytes / upload.file.size;
	if (state === "receiving") return upload.receivedBytes / upload.totalBytes;
	return state === "working" && told.progress !== null ? told.progress / 100 : null;
}

/** What a screen reader is told of a state that has just begun. */
export const news = (entry) => announced(nameOf(entry), say(entry)[0], entry.state === "failed" ? say(entry)[1] : "");

export const nameOf = ({ upload }) => upload.result?.name ?? upload.file.name;
