// What the server does for songs. One song may be separated by several models, so an id here is of both.

import { call, listJobs } from "./api.js";

export const SEPARATE = "/apiv1/separate";

const partsOf = (id) => /^([^~]+)~?(.*)$/s.exec(id).slice(1);

function songPath(id, more = "") {
	const [hash, model] = partsOf(id);
	return `/apiv1/song/${hash}${more}${model && `?${new URLSearchParams({ model })}`}`;
}

// Together what a Watch and a List need.
export const asJob = (song) => song && { ...song, id: `${song.hash}~${song.model}` };

export const eventsPath = (id) => songPath(id, "/events");

/** The song, or null when the server doesn't know it; of a hash alone the latest. */
export const getSong = async (id) => asJob(await call(songPath(id)));

export async function listSongs(query) {
	const page = await listJobs(query, "/apiv1/songs");
	return page && { jobs: page.songs.map(asJob), next: page.next };
}

/** Cancels a running one (and gives it), removes one that ended. */
export async function deleteSong(id) {
	const song = await call(songPath(id), "DELETE");
	return song?.hash ? asJob(song) : null;
}

/** {default, default_reason, models: [{name, sources, state, detail}]}, or null where the server separates nothing. */
export const listModels = () => call("/apiv1/models");

/** Which song a server's answer is about, and whether it is made now. */
export const answerOf = async (request) => ({
	hash: /\/song\/([0-9a-f]+)/.exec(request.getResponseHeader("Location"))?.[1],
	isEnqueued: (await request.response.text().catch(() => "")).includes("enqueued"),
});

/** On this page's own origin, whatever public address the server puts in its links: the policy allows no other. */
export function localPath(url) {
	const { pathname, search } = new URL(url, location);
	return pathname + search;
}

/** The zip of all tracks of a song, in this format. */
export function archivePath(url, format) {
	const address = new URL(url, location);
	address.searchParams.set("format", format);
	return localPath(address);
}
