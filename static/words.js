// What the cards of all tasks say in the same way.

import { bytes, left } from "./format.js";

export const join = (...facts) => facts.filter(Boolean).join(" · ");

/** A file on its way to the server. */
export function sending({ sentBytes, bytesPerSecond: speed, file }) {
	const pace = sentBytes < file.size ? join(speed && `${bytes(speed)}/s`, left((file.size - sentBytes) / speed)) : "the server takes it over";
	return ["Sending", join(`${bytes(sentBytes)} of ${bytes(file.size)}`, pace)];
}

/** A file that is not on its way yet. */
export function queued({ file, againAt }) {
	const seconds = Math.ceil((againAt - Date.now()) / 1000);
	if (againAt) return ["Waiting", `the server is busy, sent again by itself ${seconds > 0 ? `in ${seconds} s` : "now"}`];
	return ["Queued", join(bytes(file.size), "is sent when another one is through")];
}

/** What a screen reader is told of a state that has just begun. */
export const announced = (name, state, reason = "") => `${name}: ${state}. ${reason}`;
