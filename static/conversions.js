// The conversions of this page: the upload each comes from, and how far the server says it is.
//
// An entry is {id, upload, told, isSaved, order, state, isPlayable}.

import { Entries } from "./entries.js";

export const CONVERT = "/convert";
const audio = new Audio();

/** How far a conversion is, or null when it is over. The upload tells what goes wrong, so nothing is said of that here. */
export function askProgress(id, signal) {
	const asked = fetch(`${CONVERT}/${id}`, { cache: "no-store", signal });
	return asked.then((response) => (response.ok ? response.json() : null)).catch(() => null);
}

/** Whether something would be lost if the page were left now. */
export const isUnsaved = ({ state, isSaved }) => state === "ready" && !isSaved;

/** One word for what a person should see: queued, sending, waiting, working, receiving, ready, failed or cancelled. */
function stateOf({ upload, told }) {
	if (upload.state === "sent") return "ready";
	if (upload.state !== "sending") return upload.state;
	if (upload.receivedBytes) return "receiving";
	if (!upload.isSent || !told || told.phase === "receiving") return "sending";
	return told.phase === "waiting" ? "waiting" : "working";
}

/** Whether this browser can play it. It says yes to MP4 whatever is in it. */
function canPlay({ result, options }) {
	return Boolean(result && options.format !== "alac" && audio.canPlayType(result.type));
}

export class Conversions extends Entries {
	changed(upload) {
		// What was told before it was sent again holds no more.
		this.update(upload.id, upload.addedAt, upload.isSent ? { upload } : { upload, told: null });
	}

	heard(id, told) {
		this.update(id, 0, { told });
	}

	saved(id) {
		this.update(id, 0, { isSaved: true });
	}

	derive(entry) {
		return { state: stateOf(entry), isPlayable: canPlay(entry.upload) };
	}
}
