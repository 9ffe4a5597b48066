// All extractions this page knows.
//
// An entry is {id, job, request, order, state, isPlayable, result}. What the server tells of a request leaves out what
// may be secret in its addresses, so the request itself is kept for as long as this tab of the browser is open.

import { filePath } from "./extract-api.js";
import { SUFFIXES, titleOf } from "./extract-words.js";
import { splitName } from "./format.js";
import { Jobs, isEnded } from "./jobs.js";

const TYPES = { flac: "audio/flac", wav: "audio/wav", mp3: "audio/mpeg", m4a: "audio/mp4", opus: "audio/ogg; codecs=opus", ogg: "audio/ogg" };
const audio = new Audio();

const keyOf = (id) => `extraction.${id}`;

function recall(id) {
	try {
		return JSON.parse(sessionStorage.getItem(keyOf(id)));
	} catch {
		return null;
	}
}

function keep(id, request) {
	try {
		sessionStorage.setItem(keyOf(id), JSON.stringify(request));
	} catch { /* Storage is off or full: until the next reload. */ }
}

/** The request as it was made, or null where that isn't known any more. */
function requestOf({ id, job }) {
	const { video_files: uris, video_count: count, track, format, on_missing } = job;
	const isWhole = uris.length === count && uris.every((uri) => uri.startsWith("file:///"));
	return recall(id) ?? (isWhole ? { video_files: uris, track, format, on_missing } : null);
}

export class Extractions extends Jobs {
	/** Takes one that was started here. */
	begin(job, request) {
		keep(job.id, request);
		this.update(job.id, Date.parse(job.created_at), { job, request });
	}

	remove(id) {
		try {
			sessionStorage.removeItem(keyOf(id));
		} catch { /* nothing was kept */ }
		super.remove(id);
	}

	derive(entry) {
		const { job } = entry;
		const url = job.status === "Completed" ? job.audio_file : null;
		return {
			state: job.phase === "fetching" && !isEnded(job) ? "fetching" : super.derive(entry).state,
			isPlayable: Boolean(url && audio.canPlayType(TYPES[job.format])),
			result: url && { url: filePath(url), name: splitName(titleOf(job))[0] + SUFFIXES[job.format] },
			request: entry.request ?? requestOf(entry),
		};
	}
}
