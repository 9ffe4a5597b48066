// The one player of the page. It is loaded when something is first played.

import { $, loadStyle } from "./elements.js";

/** "change" tells, in its detail, the id of what is played otherwise than before. */
export class Playback extends EventTarget {
	#loading = null;
	#player = null;
	#shownId = null;

	/** What the player has, if anything. */
	get currentId() {
		return this.#player?.source?.id;
	}

	/** The player while it has this source, else null. */
	of(id) {
		return this.#player?.source?.id === id ? this.#player : null;
	}

	/** Whether the source can be heard: true, false, or null when the player has another one. */
	isOn(id) {
		return this.of(id)?.isOn ?? null;
	}

	/** Starts a source from its beginning; pauses the one that plays, or goes on with it. */
	async play(source) {
		const current = this.of(source.id);
		if (current && current.state !== "failed") return current.toggle();
		this.#loading ??= this.#load();
		return (await this.#loading).play(source);
	}

	async #load() {
		const [{ Player }, { Dock }] = await Promise.all([import("./player.js"), import("./dock.js"), loadStyle("/static/player.css")]);
		const player = new Player($("audio"));
		new Dock(player);
		player.addEventListener("change", () => {
			const before = this.#shownId;
			this.#shownId = player.source?.id;
			for (const id of new Set([before, this.#shownId])) this.dispatchEvent(new CustomEvent("change", { detail: id }));
		});
		this.#player = player;
		return player;
	}
}
