// The choices for an extraction: track, format, and how it is cut.

import { $ } from "./elements.js";
import { FORMATS, trackName } from "./extract-words.js";
import { clock } from "./format.js";
import { Options } from "./options.js";

export class ExtractOptions extends Options {
	#clips = [];
	#uris = [];

	constructor() {
		super($("extract-form"), "extract", ["uris", "track"]); // those two belong to one extraction
		this.show();
	}

	/** Offers the tracks of the clips: [{uri, duration_seconds, tracks}], null for what isn't known. */
	offer(uris, clips) {
		this.#uris = uris;
		this.#clips = clips.filter(Boolean);
		const { track } = this.fields;
		const count = Math.max(1, ...this.#clips.map(({ tracks }) => tracks.length));
		const chosen = Number(track.value) < count ? track.value : "0";
		track.replaceChildren(...Array.from({ length: count }, (_, number) => new Option(this.#nameOf(number), number)));
		track.value = chosen;
		this.show();
	}

	#nameOf(number) {
		// What becomes of clips without any sound is another choice.
		const sounding = this.#clips.filter(({ tracks }) => tracks.length);
		const having = sounding.filter(({ tracks }) => number in tracks);
		const missing = sounding.length - having.length;
		if (!having.length) return `${number + 1}`;
		return `${number + 1}: ${trackName(having[0].tracks[number])}${missing ? `, not in ${missing} of ${sounding.length} clips` : ""}`;
	}

	/** What is asked for, but for the clips. */
	get wanted() {
		const { track, format, on_missing } = this.fields;
		return { track: Number(track.value), format: format.value, on_missing: on_missing.value };
	}

	get segmentSeconds() {
		return Number(this.fields.segment_seconds.value);
	}

	show() {
		const seconds = this.#clips.reduce((sum, { duration_seconds: each }) => sum + each, 0);
		const count = this.#uris.length;
		const isKnown = count && this.#clips.length === count && Number.isFinite(seconds);
		const what = [count > 1 && `${count} clips joined`, isKnown && clock(seconds), FORMATS[this.fields.format.value]];
		this.tell(`${what.filter(Boolean).join(", ")}.`);
	}
}
