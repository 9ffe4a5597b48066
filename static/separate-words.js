// What is said of songs, models and tracks.

import { isActive } from "./entries.js";
import { clock, left, timeOfDay } from "./format.js";
import { again as againFor, announced, join, missing, plain, queued, remedy, sending } from "./words.js";

const PHASES = { loading: "Loading the model", measuring: "Listening to it first", separating: "Separating", finishing: "Finishing" };

export const LINK = "m3u8 link";

/** ["vocals", "drums", "other"] -> "Vocals, drums and other". */
export function sourcesName(sources) {
	const names = [sources.slice(0, -1).join(", "), ...sources.slice(-1)].filter(Boolean).join(" and ");
	return titleOf(names);
}

export const titleOf = (name) => name.charAt(0).toUpperCase() + name.slice(1);

/** How a model is offered. */
export function modelName({ name, sources, state }) {
	const count = sources?.length ? `, ${sources.length} stems` : "";
	const states = { "needs download": ", is downloaded first", missing: ", isn’t there" };
	return name + count + (states[state] ?? "");
}

/** What comes of the chosen model, and what is to be known before. */
export function modelSentence({ sources, state, detail }) {
	if (state === "missing") return detail || "The server doesn’t have this model.";
	const made = sources?.length ? `${sourcesName(sources)}.` : "";
	const more = detail || (state === "needs download" ? "The model is downloaded first, which takes a while." : "");
	return `${made} ${more}`.trim();
}

function waiting({ job }) {
	const place = job?.queue_position;
	return ["Waiting", join(place === 1 ? "next in line" : place && `number ${place} in line`, left(job?.eta_seconds))];
}

function working({ job: { phase, progress, eta_seconds: eta, devices } }) {
	return [PHASES[phase] ?? "Separating", join(`${Math.floor(progress)} %`, left(eta), devices?.length && `on ${devices.join(", ")}`)];
}

function ready({ job, order }) {
	const removed = job.tracks.filter((track) => track.removed).map(({ name }) => name);
	const without = removed.length && `without ${sourcesName(removed).toLowerCase()}, removed`;
	return ["Ready", join(job.duration_seconds && clock(job.duration_seconds), missing(job.lost_seconds), without, timeOfDay(new Date(order)))];
}

const SAY = {
	waiting,
	working,
	ready,
	sending: ({ upload }) => sending(upload),
	queued: ({ upload }) => queued(upload),
	failed: ({ job, upload }) => ["Failed", plain(errorOf({ job, upload }) || "The server gave no reason.")],
	cancelled: ({ order }) => ["Cancelled", timeOfDay(new Date(order))],
};

/** [state, facts], both plain text. */
export const say = (entry) => SAY[entry.state](entry);

/** What to do about one that failed; else why it was separated by a lesser model, if it was. */
export function advice({ state, job, upload }) {
	if (state !== "failed") return job?.model_reason ? `${job.model_reason}.` : "";
	if (upload?.file.size === 0) return "";
	return remedy({ error: errorOf({ job, upload }), status: upload && (upload.status ?? 0), isHere: Boolean(upload) });
}

export const errorOf = ({ job, upload }) => upload?.error || job?.error || "";

export const again = (entry) => againFor(errorOf(entry), Boolean(entry.upload));

/** The buttons that its card has now. */
export function offers(entry) {
	const playing = entry.isPlayable ? ["play", "link", "more"] : [];
	if (isActive(entry)) return [...playing, "cancel"];
	return entry.state === "ready" ? [...playing, ...(entry.result ? ["save"] : []), "more"] : ["retry", "more"];
}

/** What is asked before it is removed. */
export const question = ({ state }) => (state === "ready" ? "Remove it and all its tracks for good?" : "");

export const chip = ({ job, upload }) => job?.model ?? upload?.options.model ?? "";

/** 0..1, or null where there is nothing to show. */
export function share({ state, job, upload }) {
	if (state === "sending") return upload.sentBytes / upload.file.size;
	return state === "working" ? job.progress / 100 : null;
}

/** What a screen reader is told when a song changes, or "" when that is no news. */
export function news(entry, before) {
	const name = nameOf(entry);
	if (before?.state === entry.state) return entry.isPlayable && !before.isPlayable ? `${name} can be mixed while it is being separated.` : "";
	const [state, facts] = say(entry);
	return announced(name, state, entry.state === "failed" ? facts : "");
}

export const nameOf = ({ job, upload }) => upload?.file.name || job?.song_name || "Untitled";
