// What the cards of all tasks say in the same way.

import { bytes, clock, left } from "./format.js";

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

// Whose fault it is, where only the words tell: the server's or the connection's, and the disk's.
const NOT_THE_FILES = /^The server (?!takes)|^The connection|ended by signal|aren.t on this server|was interrupted|stalled|closing boundary/;
const FULL = /no space left/;
// So the server ends its sentence where some of the sound is missing, and the rest may be had.
const TOLERABLE = / With errors=tolerate .*$/;

export const isDamaged = (error) => TOLERABLE.test(error ?? "");

/** The server's sentence without what only those need who write requests. */
export const plain = (error) => error.replace(TOLERABLE, "");

/** What the button says that tries it once more. */
export const again = (error, isHere) => (isHere && isDamaged(error) ? "Take what there is" : isHere ? "Retry" : "Choose again");

/** The options of that try. */
export const optionsAfter = (error, options) => (isDamaged(error) ? { ...options, errors: "tolerate" } : options);

/** How much of a file is missing that was taken all the same. */
export const missing = (seconds) => seconds > 0 && `${seconds < 10 ? `${seconds.toFixed(seconds < 1 ? 2 : 1)} s` : clock(seconds)} are missing`;

/**
 * What to do about a file that couldn't be sent or used. `status` is the server's answer to it, where there was one;
 * `isHere` says that the page still has the file.
 */
export function remedy({ error, status, isHere }) {
	if (isDamaged(error)) return isHere ? "Take what there is, or choose a file that is whole." : "Choose it again to take what there is, or choose a file that is whole.";
	const sendAgain = isHere ? "Retry sends the same file again." : "Choose the file again to send it once more.";
	if (status === 507 || FULL.test(error)) return `${sendAgain.replace(".", ",")} when there is room on the server.`;
	if (status === 413) return "Choose a shorter or smaller one.";
	if (status === undefined ? NOT_THE_FILES.test(error) : !status || status >= 500 || NOT_THE_FILES.test(error)) return sendAgain;
	return "Check that this file plays on your computer, or choose another one.";
}

/** What a screen reader is told of a state that has just begun. */
export const announced = (name, state, reason = "") => `${name}: ${state}. ${reason}`;
