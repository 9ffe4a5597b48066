// The clips of the next extraction: added as addresses, one a line, moved by buttons and by dragging, and removed.

import { place } from "./deck.js";
import { $, setText } from "./elements.js";
import { clipName } from "./extract-words.js";
import { clock } from "./format.js";
import { announce } from "./notice.js";
import { join } from "./words.js";

const ADDRESS = /^(https?|file):\/\/./i;

const lines = (text) => text.split(/[\r\n]+/).map((line) => line.trim()).filter(Boolean);

/** A clip's facts: its length and its tracks, once they are known. */
function factsOf({ told, error }) {
	if (error) return error;
	if (!told) return "";
	const count = told.tracks.length;
	return join(told.duration_seconds && clock(told.duration_seconds), count ? count > 1 && `${count} tracks` : "no sound in it");
}

/** "change" tells that there are others, or in another order. */
export class Clips extends EventTarget {
	#field;
	#list = $("clip-list");
	#clips = []; // {uri, told, error, element, at}

	constructor(field) {
		super();
		this.#field = field;
		$("add-clips").addEventListener("click", () => this.addTyped() && field.focus());
		$("clear-clips").addEventListener("click", () => {
			this.#set([]);
			field.focus();
		});
		field.addEventListener("keydown", (event) => {
			if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
			event.preventDefault();
			this.addTyped();
		});
		// What is pasted is there once the event is through.
		field.addEventListener("paste", () => setTimeout(() => lines(field.value).every((line) => ADDRESS.test(line)) && this.addTyped()));
		this.#set([]);
	}

	get uris() {
		return this.#clips.map(({ uri }) => uri);
	}

	/** What is known of each: {uri, duration_seconds, tracks}, or null. */
	get told() {
		return this.#clips.map(({ told }) => told);
	}

	/** Those that should be asked about. */
	get unknown() {
		return this.#clips.filter(({ told, error }) => !told && !error);
	}

	/** Takes what is in the field. Returns whether all lines were addresses; the others stay there. */
	addTyped() {
		const typed = lines(this.#field.value);
		const wrong = typed.filter((line) => !ADDRESS.test(line));
		const good = typed.filter((line) => ADDRESS.test(line));
		if (good.length) this.add(good);
		this.#field.value = wrong.join("\n");
		const isFine = !wrong.length;
		this.#field.setAttribute("aria-invalid", !isFine);
		setText($("uris-error"), isFine ? "" : `“${wrong[0].slice(0, 80)}” is no address. Begin it with https://, http:// or file://.`);
		return isFine;
	}

	add(uris) {
		// Spaces are written as such by people, never in an address; all else is left alone, it may be signed.
		this.#set([...this.#clips, ...uris.map((uri) => this.#make(uri.replace(/\s/g, encodeURIComponent)))]);
		announce(uris.length === 1 ? `${clipName(uris[0])[0]} is clip ${this.#clips.length}.` : `${uris.length} clips added.`);
	}

	/** Begins anew with these. */
	replace(uris) {
		this.#set([]);
		this.add(uris);
	}

	/** Takes what was told of a clip: {told} or {error}. */
	learn(clip, news) {
		Object.assign(clip, news);
		this.#show(clip);
	}

	#make(uri) {
		const element = $("clip-template").content.firstElementChild.cloneNode(true);
		const at = Object.fromEntries([...element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
		const clip = { uri, element, at, told: null, error: "" };
		const [name, folder] = clipName(uri);
		at.name.textContent = name;
		at.folder.textContent = folder;
		element.title = uri;
		at.up.addEventListener("click", () => this.#move(clip, -1));
		at.down.addEventListener("click", () => this.#move(clip, 1));
		at.remove.addEventListener("click", () => this.#remove(clip));
		at.handle.addEventListener("pointerdown", (event) => event.button || this.#drag(clip, event));
		return clip;
	}

	#set(clips) {
		const isOther = clips.length !== this.#clips.length || clips.some((clip, i) => clip !== this.#clips[i]);
		this.#clips = clips;
		place(this.#list, clips.map(({ element }) => element));
		clips.forEach((clip) => this.#show(clip));
		$("clips").hidden = !clips.length;
		if (isOther) this.dispatchEvent(new Event("change"));
	}

	#show(clip) {
		const index = this.#clips.indexOf(clip);
		const { at, element, error } = clip;
		const name = at.name.textContent;
		setText(at.number, `${index + 1}`);
		setText(at.facts, factsOf(clip));
		element.classList.toggle("is-wrong", Boolean(error));
		at.up.disabled = index === 0;
		at.down.disabled = index === this.#clips.length - 1;
		at.up.setAttribute("aria-label", `Move ${name} up`);
		at.down.setAttribute("aria-label", `Move ${name} down`);
		at.remove.setAttribute("aria-label", `Remove ${name}`);
	}

	#put(clip, to) {
		const others = this.#clips.filter((each) => each !== clip);
		this.#set(others.toSpliced(to, 0, clip));
	}

	#move(clip, step) {
		this.#put(clip, this.#clips.indexOf(clip) + step);
		const { up, down, name } = clip.at;
		const [wished, other] = step < 0 ? [up, down] : [down, up];
		(wished.disabled ? other : wished).focus();
		announce(`${name.textContent} is now clip ${this.#clips.indexOf(clip) + 1} of ${this.#clips.length}.`);
	}

	#remove(clip) {
		const index = this.#clips.indexOf(clip);
		this.#set(this.#clips.filter((each) => each !== clip));
		(this.#clips[Math.min(index, this.#clips.length - 1)]?.at.remove ?? this.#field).focus();
		announce(`${clip.at.name.textContent} is out of the list.`);
	}

	/** Moves the clip to wherever the pointer is, until that is let go. */
	#drag(clip, event) {
		event.preventDefault();
		const dragging = new AbortController();
		const { signal } = dragging;
		const stop = () => {
			clip.element.classList.remove("is-dragged");
			dragging.abort();
		};
		clip.element.classList.add("is-dragged");
		document.addEventListener("pointermove", ({ clientY }) => {
			const others = this.#clips.filter((each) => each !== clip).map(({ element }) => element.getBoundingClientRect());
			this.#put(clip, others.filter(({ top, bottom }) => clientY > (top + bottom) / 2).length);
		}, { signal });
		document.addEventListener("pointerup", stop, { signal });
		document.addEventListener("pointercancel", stop, { signal });
	}
}
