// The server's HTTP interface as this page needs it. What it refuses is thrown as an Error whose message is a sentence.

export const TRANSCODE = "/v1/stream/transcode";
const jobPath = (id) => `/v1/stream/job/${id}`;

/** Tells "reachable" and "unreachable" as they change. */
export const server = new EventTarget();
const KNOCK_MS = 1000;
let isReachable = null;
let knockTimer = null;

function noteReachable(now) {
	clearTimeout(knockTimer);
	if (!now) knockTimer = setTimeout(() => knock().catch(() => null), KNOCK_MS);
	if (now !== isReachable) server.dispatchEvent(new Event(now ? "reachable" : "unreachable"));
	isReachable = now;
}

/** A problem+json text -> its sentence; anything else (a proxy's HTML) -> one that fits the status. */
export function sentence(status, text) {
	try {
		const { detail, title } = JSON.parse(text);
		return detail || title;
	} catch {
		return status >= 500 ? "The server failed on this request." : "The server refused this request.";
	}
}

/** The reply, whatever it is; `options` are those of fetch. */
export async function ask(path, options) {
	const signal = options.signal ?? AbortSignal.timeout(15_000);
	try {
		const response = await fetch(path, { cache: "no-store", ...options, signal });
		noteReachable(true);
		return response;
	} catch {
		if (!options.signal?.aborted) noteReachable(false);
		throw new Error("The server can't be reached.");
	}
}

/** The reply's JSON, or null for 404. */
export async function call(path, method = "GET") {
	const response = await ask(path, { method });
	if (response.status === 404) return null;
	const text = await response.text();
	if (!response.ok) throw new Error(sentence(response.status, text));
	return text ? JSON.parse(text) : null;
}

/** The job, or null when the server doesn't know it. */
export const getJob = (id) => call(jobPath(id));

/** Cancels a running job (and gives it), removes one that ended. It is fine when it is gone already. */
export const deleteJob = (id) => call(jobPath(id), "DELETE");

/** Asks whether the server is there. While it isn't, that is done by itself. */
export const knock = () => call("/health");

/** {jobs, next}, newest first. `statuses` of [] are all; `before` is an earlier answer's `next`. */
export function listJobs({ statuses = [], before, limit }, path = "/v1/stream/jobs") {
	const query = { limit, ...(statuses.length && { status: statuses.join() }), ...(before && { before }) };
	return call(`${path}?${new URLSearchParams(query)}`);
}

export const eventsPath = (id) => `${jobPath(id)}/events`;

// On this page's own origin, whatever public address the server puts in its links: the policy allows no other.
export const playlistPath = (id, name) => `/v1/stream/hls/${id}/${name}`;

/** The shell command that sends a file with these options; they go first, so that encoding starts with the first bytes. */
export function curlCommand(curl, path, options, fileName) {
	const fields = Object.entries(options).filter(([, value]) => value).map(([name, value]) => `-F ${name}=${value}`);
	// Commas and semicolons end a path in curl's -F unless it is quoted inside the argument, too.
	const quoted = /[,;"\\]/.test(fileName) ? `"${fileName.replace(/["\\]/g, "\\$&")}"` : fileName;
	const file = `file=@${quoted}`.replace(/["\\$`]/g, "\\$&");
	return `${curl} ${fields.join(" ")} -F "${file}" ${location.origin}${path}`;
}
