// The sound of one stem, segment by segment: from its HLS, also while that grows; or from its finished WAV file, for
// browsers that can't decode FLAC in MP4 segments.

import { readPlaylist } from "./mix-plan.js";

const WAV_SEGMENT_SECONDS = 6;
const MOST_HEADER_BYTES = 4096;

/** It isn't on the server any more. */
export class Gone extends Error {}
/** This browser makes nothing of it. */
export class Undecodable extends Error {}

async function get(url, options) {
	const response = await fetch(url, options);
	if (response.status === 404 || response.status === 410) throw new Gone(url);
	if (!response.ok) throw new Error(`${url} answered ${response.status}`);
	return response;
}

async function bytesOf(url, options) {
	return new Uint8Array(await (await get(url, options)).arrayBuffer());
}

/** Decodes what has a head and a body, as if it were one file. */
async function decode(context, head, body) {
	const file = new Uint8Array(head.length + body.length);
	file.set(head);
	file.set(body, head.length);
	try {
		return await context.decodeAudioData(file.buffer);
	} catch (error) {
		throw new Undecodable(error.message);
	}
}

export class HlsReel {
	#context;
	#url;
	#list = { segments: [], seconds: [], isWhole: false };
	#init = null;

	constructor(context, url) {
		this.#context = context;
		this.#url = url;
	}

	/** The durations of the segments there are. */
	get seconds() {
		return this.#list.seconds;
	}

	get isWhole() {
		return this.#list.isWhole;
	}

	/** Looks which segments there are now. */
	async learn() {
		if (this.isWhole) return;
		const response = await get(this.#url, { cache: "no-cache" });
		this.#list = readPlaylist(await response.text(), response.url);
	}

	/** The sound of a segment, an AudioBuffer. */
	async sound(number, signal) {
		const { init, segments } = this.#list;
		this.#init ??= await bytesOf(init, { signal });
		return decode(this.#context, this.#init, await bytesOf(segments[number], { signal }));
	}
}

const text = (bytes, at) => String.fromCharCode(...bytes.subarray(at, at + 4));

/** The beginning of a WAV file -> {frameBytes, rate, dataAt, dataBytes}, or null where it is none. */
export function readWavHeader(bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	if (bytes.length < 12 || text(bytes, 0) !== "RIFF" || text(bytes, 8) !== "WAVE") return null;
	let format = null;
	for (let at = 12; at + 8 <= bytes.length;) {
		const [name, size] = [text(bytes, at), view.getUint32(at + 4, true)];
		if (name === "fmt ") format = { rate: view.getUint32(at + 12, true), frameBytes: view.getUint16(at + 20, true) };
		if (name === "data") return format && { ...format, dataAt: at + 8, dataBytes: size };
		at += 8 + size + (size % 2);
	}
	return null;
}

export class WavReel {
	#context;
	#url;
	#head = null;
	#format = null;
	seconds = [];
	isWhole = false;

	constructor(context, url) {
		this.#context = context;
		this.#url = url;
	}

	async learn() {
		if (this.isWhole) return;
		const bytes = await this.#range(0, MOST_HEADER_BYTES);
		const format = readWavHeader(bytes);
		if (!format) throw new Undecodable("no WAV file");
		this.#format = format;
		this.#head = bytes.slice(0, format.dataAt);
		const total = format.dataBytes / format.frameBytes / format.rate;
		for (let at = 0; at < total; at += WAV_SEGMENT_SECONDS) this.seconds.push(Math.min(WAV_SEGMENT_SECONDS, total - at));
		this.isWhole = true;
	}

	/** The sound of a piece: its samples behind a header that speaks of no more than those. */
	async sound(number, signal) {
		const { rate, frameBytes, dataAt } = this.#format;
		const first = number * WAV_SEGMENT_SECONDS * rate * frameBytes;
		const body = await this.#range(dataAt + first, Math.round(this.seconds[number] * rate) * frameBytes, signal);
		const head = this.#head.slice();
		const view = new DataView(head.buffer);
		view.setUint32(4, head.length - 8 + body.length, true);
		view.setUint32(head.length - 4, body.length, true);
		return decode(this.#context, head, body);
	}

	#range(first, count, signal) {
		return bytesOf(this.#url, { headers: { Range: `bytes=${first}-${first + count - 1}` }, signal });
	}
}
