// Files on their way to the server, at most three at a time.
//
// An upload is {id, file, options, addedAt, state, sentBytes, bytesPerSecond, error}; its state goes from "queued"
// over "sending" to "sent", "failed" or "cancelled". A "change" event tells each change.

import { deleteJob, getJob, sentence, uploadPath } from "./api.js";

// A browser opens six connections to one origin. Three are left for playing, progress and everything else.
const MOST_IN_FLIGHT = 3;

/** A random UUID. crypto.randomUUID is missing where a page comes by plain HTTP from another machine. */
function newId() {
	const random = crypto.getRandomValues(new Uint8Array(16));
	random[6] = (random[6] & 0x0f) | 0x40;
	random[8] = (random[8] & 0x3f) | 0x80;
	const hex = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
	return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Bytes so far -> bytes per second, of which the last few seconds count most. */
function speedometer() {
	let [since, before, speed] = [performance.now(), 0, 0];
	return (bytes) => {
		const seconds = (performance.now() - since) / 1000;
		if (seconds < 0.4) return speed;
		const current = (bytes - before) / seconds;
		speed = speed ? 0.7 * speed + 0.3 * current : current;
		[since, before] = [performance.now(), bytes];
		return speed;
	};
}

export class Uploads extends EventTarget {
	#uploads = new Map();
	#requests = new Map();
	#latest = 0;

	get(id) {
		return this.#uploads.get(id);
	}

	get inFlight() {
		return this.#requests.size;
	}

	/** Whether something would be lost if the page were left now. */
	get isBusy() {
		return [...this.#uploads.values()].some(({ state }) => state === "queued" || state === "sending");
	}

	add(file, options) {
		this.#latest = Math.max(Date.now(), this.#latest + 1); // files of one drop keep their order
		const upload = { id: newId(), file, options, addedAt: this.#latest, sentBytes: 0, bytesPerSecond: 0 };
		this.#uploads.set(upload.id, upload);
		if (file.size) this.#become(upload, "queued");
		else this.#become(upload, "failed", "The file is empty. Choose one that has sound in it.");
		this.#next();
	}

	forget(id) {
		this.#uploads.delete(id);
	}

	/** Cancels on the server first: else it would end there as an upload that broke off. */
	async cancel(id) {
		const upload = this.#uploads.get(id);
		const wasSending = upload.state === "sending";
		this.#become(upload, "cancelled");
		if (wasSending) await deleteJob(id).catch(() => null);
		this.#requests.get(id)?.abort();
	}

	/** Stops sending what the server wants no more, for the reason it gave. */
	giveUp(id, reason) {
		const upload = this.#uploads.get(id);
		if (upload?.state !== "sending") return;
		this.#become(upload, "failed", reason);
		this.#requests.get(id).abort();
	}

	#become(upload, state, error = null) {
		Object.assign(upload, { state, error });
		this.dispatchEvent(new CustomEvent("change", { detail: upload }));
	}

	#next() {
		for (const upload of this.#uploads.values()) {
			if (upload.state === "queued" && this.inFlight < MOST_IN_FLIGHT) this.#send(upload);
		}
	}

	// XMLHttpRequest, because fetch doesn't tell how much of a body has been sent.
	#send(upload) {
		const { id, file, options } = upload;
		const request = new XMLHttpRequest();
		const speedAt = speedometer();
		this.#requests.set(id, request);
		request.upload.onprogress = ({ loaded, total }) => {
			if (upload.state !== "sending") return;
			upload.sentBytes = Math.max(0, loaded - (total - file.size)); // less what the form adds around the file
			upload.bytesPerSecond = speedAt(upload.sentBytes);
			this.#become(upload, "sending");
		};
		request.onload = () => this.#answered(upload, request);
		request.onerror = () => this.#broke(upload);
		request.onloadend = () => {
			this.#requests.delete(id);
			this.#next();
		};
		const form = new FormData();
		form.append("file", file);
		request.open("POST", uploadPath(id, options));
		this.#become(upload, "sending");
		request.send(form);
	}

	#answered(upload, { status, responseText }) {
		if (upload.state !== "sending") return;
		if (status < 300) this.#become(upload, "sent");
		else this.#become(upload, "failed", sentence(status, responseText));
	}

	// A server that refuses early closes the connection, and the browser keeps its answer from us: the job tells why.
	async #broke(upload) {
		if (upload.state !== "sending") return;
		let error = "The connection broke while the file was being sent. It may be too large for this server.";
		try {
			error = (await getJob(upload.id))?.error ?? error;
		} catch {
			error = "The server can't be reached. Check that it is running.";
		}
		if (upload.state === "sending") this.#become(upload, "failed", error);
	}
}
