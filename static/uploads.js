// Files on their way to the server, at most three at a time, whichever task they are for.
//
// An upload is {id, file, options, recipient, addedAt, state, sentBytes, bytesPerSecond, isSent, isAnswered,
// receivedBytes, totalBytes, result, error, status}. Its state goes from "queued" over "sending" to "sent", "failed" or "cancelled";
// back to "queued" when the server is busy.
//
// A recipient is what its task does with it: path(id, options), changed(upload), and where they are needed
// cancel(id), whyBroken(id), and resultOf(request).

import { sentence } from "./api.js";
import { toast } from "./notice.js";

// A browser opens six connections to one origin. Three are left for playing, progress and everything else.
const MOST_IN_FLIGHT = 3;
const BROKEN = "The connection broke while the file was being sent. It may be too large for this server.";
const BROKEN_LATER = "The connection broke before the result was here.";

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

export class Uploads {
	#uploads = new Map();
	#requests = new Map();
	#latest = 0;

	get inFlight() {
		return this.#requests.size;
	}

	/** Whether something would be lost if the page were left now. */
	get isBusy() {
		return [...this.#uploads.values()].some(({ state }) => state === "queued" || state === "sending");
	}

	add(files, options, recipient) {
		for (const file of files) {
			this.#latest = Math.max(Date.now(), this.#latest + 1); // files of one drop keep their order
			const upload = { id: newId(), file, options, recipient, addedAt: this.#latest, sentBytes: 0, bytesPerSecond: 0 };
			this.#uploads.set(upload.id, upload);
			if (file.size) this.#become(upload, "queued");
			else this.#become(upload, "failed", "The file is empty. Choose one that has sound in it.");
		}
		if (files.length > 1) toast(`${files.length} files are on their way.`);
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
		if (wasSending) await upload.recipient.cancel?.(id).catch(() => null);
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
		upload.recipient.changed(upload);
	}

	#next() {
		for (const upload of this.#uploads.values()) {
			if (upload.state === "queued" && !upload.againAt && this.inFlight < MOST_IN_FLIGHT) this.#send(upload);
		}
	}

	// XMLHttpRequest, because fetch doesn't tell how much of a body has been sent.
	#send(upload) {
		const { id, file, options, recipient } = upload;
		const request = new XMLHttpRequest();
		this.#requests.set(id, request);
		this.#measure(upload, request);
		request.onload = () => this.#answered(upload, request);
		request.onerror = () => this.#broke(upload);
		request.onloadend = () => {
			this.#requests.delete(id);
			this.#next();
		};
		const form = new FormData();
		form.append("file", file);
		// The options come before the file, so that encoding starts with the first bytes.
		request.open("POST", recipient.path(id, options));
		request.responseType = "blob";
		Object.assign(upload, { sentBytes: 0, isSent: false, isAnswered: false, receivedBytes: 0 });
		this.#become(upload, "sending");
		request.send(form);
	}

	#measure(upload, request) {
		const { size } = upload.file;
		const speedAt = speedometer();
		const learn = (news) => {
			if (upload.state !== "sending") return;
			Object.assign(upload, news);
			this.#become(upload, "sending");
		};
		request.upload.onprogress = ({ loaded, total }) => {
			const sentBytes = Math.max(0, loaded - (total - size)); // less what the form adds around the file
			learn({ sentBytes, bytesPerSecond: speedAt(sentBytes) });
		};
		request.upload.onload = () => learn({ sentBytes: size, isSent: true });
		request.onreadystatechange = () => request.readyState === XMLHttpRequest.HEADERS_RECEIVED && learn({ isAnswered: true });
		request.onprogress = ({ loaded, total }) => request.status < 300 && learn({ receivedBytes: loaded, totalBytes: total });
	}

	async #answered(upload, request) {
		const { status, response } = request;
		const isTaken = status < 300;
		const told = await (isTaken ? upload.recipient.resultOf?.(request) : response.text());
		if (upload.state !== "sending") return;
		upload.status = status;
		const waitSeconds = status === 503 ? Number(request.getResponseHeader("Retry-After")) : 0;
		if (isTaken) upload.result = told;
		if (isTaken) this.#become(upload, "sent");
		else if (waitSeconds) this.#sendLater(upload, waitSeconds);
		else this.#become(upload, "failed", sentence(status, told));
	}

	#sendLater(upload, seconds) {
		upload.againAt = Date.now() + seconds * 1000;
		this.#become(upload, "queued");
		setTimeout(() => {
			upload.againAt = null;
			if (upload.state === "queued") this.#become(upload, "queued");
			this.#next();
		}, seconds * 1000);
	}

	// A server that refuses early closes the connection, and the browser keeps its answer from us: the recipient may know.
	async #broke(upload) {
		if (upload.state !== "sending") return;
		let error = upload.isSent ? BROKEN_LATER : BROKEN;
		try {
			error = (await upload.recipient.whyBroken(upload.id)) ?? error;
		} catch {
			error = "The server can't be reached. Check that it is running.";
		}
		if (upload.state === "sending") this.#become(upload, "failed", error);
	}
}
