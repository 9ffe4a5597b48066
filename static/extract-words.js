// What is said of clips, tracks and extractions. The API counts from 0, people count from 1.

import { isActive } from "./entries.js";
import { clock, left, splitName, timeOfDay } from "./format.js";
import { again as againFor, announced, isDamaged, join, missing, plain } from "./words.js";

const CODECS = { aac: "AAC", ac3: "AC-3", eac3: "E-AC-3", dts: "DTS", mp3: "MP3", opus: "Opus", vorbis: "Vorbis", flac: "FLAC", alac: "Apple Lossless", truehd: "TrueHD" };
const CHANNELS = { 1: "mono", 2: "stereo", 6: "5.1", 8: "7.1" };
const languages = new Intl.DisplayNames("en", { type: "language", fallback: "none" });

export const FORMATS = { flac: "FLAC, lossless", wav: "WAV, lossless", mp3: "MP3", m4a: "M4A (AAC)", opus: "Opus", ogg: "Ogg Vorbis" };
export const SUFFIXES = { flac: ".flac", wav: ".wav", mp3: ".mp3", m4a: ".m4a", opus: ".opus", ogg: ".ogg" };
export const LINK = "link";

function languageName(code) {
	try {
		return code && code !== "und" ? (languages.of(code) ?? code) : "";
	} catch {
		return code; // a code that is none
	}
}

/** {language: "eng", codec: "aac", channels: 2} -> "English, AAC, stereo". */
export function trackName({ language, codec, channels }) {
	const name = CODECS[codec] ?? (codec.startsWith("pcm") ? "PCM" : codec.toUpperCase());
	return [languageName(language), name, CHANNELS[channels] ?? `${channels} channels`].filter(Boolean).join(", ");
}

/** "https://example.org/a/my%20video.mp4" -> ["my video.mp4", "example.org/a"]. */
export function clipName(uri) {
	const parts = uri.replace(/^\w+:\/\//, "").replace(/[?#].*$/, "").split("/").map((part) => {
		try {
			return decodeURIComponent(part);
		} catch {
			return part; // a percent sign that is meant as such
		}
	});
	const name = parts.length > 1 ? parts.pop() : "";
	return [name || parts[0], name ? parts.join("/") : ""];
}

export function titleOf({ video_files: [first = ""], video_count: count }) {
	const [name] = clipName(first);
	return count > 1 ? `${splitName(name)[0]} and ${count - 1} more` : name || "Untitled";
}

const clipAt = (uris, clip) => (uris.length > 1 ? `Clip ${clip + 1}, “${clipName(uris[clip] ?? "")[0]}”,` : `“${clipName(uris[0])[0]}”`);

/** The server's sentence without the number of its clip, which the page says with its name. */
export const sentenceOf = (message) => message.replace(/^Clip \d+: /, "");

/** What is wrong, and what to do about it, of a job that failed or an Error of extract-api; `uris` and `track` were asked for. */
export function wrong({ message, status, retrySeconds, clip, tracks }, uris, track) {
	const at = Number.isInteger(clip) ? clip : null;
	if (tracks?.length) {
		const there = tracks.map((each) => `${each.track + 1}: ${trackName(each)}`).join("; ");
		return [`${clipAt(uris, at ?? 0)} has no track ${track + 1}.`, `There ${tracks.length > 1 ? "are" : "is"} ${there}. Choose one that each clip has, or take this clip out.`];
	}
	if (message.includes("on_missing")) return [`${clipAt(uris, at ?? 0)} has no sound in it.`, "Choose under “More” that such clips become silence or are left out."];
	const sentence = plain(sentenceOf(message));
	const said = at === null || uris.length < 2 ? sentence : `${clipAt(uris, at)} can’t be used. ${sentence}`;
	if (isDamaged(message)) return [said, "Take what there is, or take this clip out."];
	if (status === 503) return [said, `Try again in ${retrySeconds > 1 ? `${retrySeconds} seconds` : "a moment"}.`];
	if (status === 507) return [said, "Try again when there is room on the server."];
	if (status === 409) return [said, "Extract again, from what is there now."];
	if (status === 413) return [said, "Extract fewer clips at once."];
	return [said, at === null ? "" : "Check its address and that it plays, or take it out of the list."];
}

const SAY = {
	waiting: ({ job: { queue_position: place, eta_seconds: eta } }) => ["Waiting", join(place === 1 ? "next in line" : place && `number ${place} in line`, left(eta))],
	fetching: ({ job }) => ["Fetching", join("the clips", `${Math.floor(job.progress)} %`, left(job.eta_seconds))],
	working: ({ job }) => ["Extracting", join(`${Math.floor(job.progress)} %`, left(job.eta_seconds))],
	ready: ({ job, order, result }) => ["Ready", join(!result && "but its file was removed, since nobody asked for it", job.duration_seconds && clock(job.duration_seconds), missing(job.lost_seconds), job.track && `track ${job.track + 1}`, timeOfDay(new Date(order)))],
	failed: ({ job }) => ["Failed", reason(job)[0]],
	cancelled: ({ order }) => ["Cancelled", timeOfDay(new Date(order))],
};

function reason({ error, clip, tracks, video_files: uris, track }) {
	return wrong({ message: error ?? "The server gave no reason.", clip, tracks }, uris, track);
}

/** [state, facts], both plain text. */
export const say = (entry) => SAY[entry.state](entry);

/** What to do about one that failed. */
export function advice({ state, job, request }) {
	if (state !== "failed") return "";
	return reason(job)[1] || (request ? "Retry extracts the same clips again." : "Choose its clips again.");
}

export const again = ({ job, request }) => againFor(job.error, Boolean(request));

/** The buttons that its card has now. */
export function offers(entry) {
	if (isActive(entry)) return ["more", "cancel"];
	if (!entry.result) return ["retry", "more"]; // it ended without a file, or that is gone
	return [...(entry.isPlayable ? ["play"] : []), "save", "link", "more"];
}

/** What is asked before it is removed. */
export const question = ({ result }) => (result ? "Remove it and its file for good?" : "");

export const chip = ({ job }) => SUFFIXES[job.format].slice(1).toUpperCase();

/** 0..1, or null where there is nothing to show. */
export const share = ({ state, job }) => (state === "working" || state === "fetching" ? job.progress / 100 : null);

/** What a screen reader is told when one changes, or "" when that is no news. */
export function news(entry, before) {
	if (before?.state === entry.state) return "";
	const [state, facts] = say(entry);
	return announced(nameOf(entry), state, entry.state === "failed" ? facts : "");
}

export const nameOf = ({ job, result }) => result?.name ?? titleOf(job);
