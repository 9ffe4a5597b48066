// What the server does for extractions. What it refuses is thrown as an Error with its sentence, its status, and what
// its problem says of a clip and of the tracks there are.

import { ask, call, listJobs, sentence } from "./api.js";

// A clip from elsewhere is downloaded by the server before it can be looked into.
const PATIENCE_MS = 900_000;

const statusPath = (id) => `/status/${id}`;

async function post(path, body, signal) {
	const headers = { "Content-Type": "application/json" };
	const response = await ask(path, { method: "POST", headers, body: JSON.stringify(body), signal: signal ?? AbortSignal.timeout(PATIENCE_MS) });
	if (response.ok) return response;
	const text = await response.text();
	const { clip, tracks } = response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : {};
	const retrySeconds = Number(response.headers.get("Retry-After"));
	throw Object.assign(new Error(sentence(response.status, text)), { status: response.status, retrySeconds, clip, tracks });
}

/** Starts it, or finds the same one that is there; gives its id. */
export async function startExtraction(request) {
	const response = await post("/extract_audio", request);
	return new URL(response.headers.get("Location"), location).pathname.split("/").at(-1);
}

/** {cursor, audio_file, done, start_seconds, duration_seconds} of the step that `cursor` names. */
export const askSegment = async (step, signal) => (await post("/extract_audio_segment", step, signal)).json();

/** [{uri, duration_seconds, tracks}], one for each clip. */
export const askTracks = async (uris, signal) => (await (await post("/v1/extract/tracks", { video_files: uris }, signal)).json()).clips;

/** {folder, parent, entries, more}; without a folder those that may be looked into. */
export const listFolder = (folder) => call(`/v1/extract/files${folder ? `?${new URLSearchParams({ folder })}` : ""}`);

// Together what a Watch and a List need.
export const asJob = (status) => status && { ...status, id: status.cursor };

export const eventsPath = (id) => `${statusPath(id)}/events`;

export const getJob = async (id) => asJob(await call(statusPath(id)));

export async function listExtractions(query) {
	const page = await listJobs(query, "/v1/extract/jobs");
	return page && { ...page, jobs: page.jobs.map(asJob) };
}

/** Cancels a running one (and gives it), removes one that ended. */
export const deleteExtraction = async (id) => asJob(await call(statusPath(id), "DELETE"));

/** On this page's own origin, whatever public address the server puts in its links: the policy allows no other. */
export const filePath = (url) => new URL(url, location).pathname;
