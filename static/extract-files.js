// The folders of the server that may be looked into, and the films in them.

import { $, setIcon, setText } from "./elements.js";
import { listFolder } from "./extract-api.js";
import { clipName } from "./extract-words.js";
import { bytes } from "./format.js";

export class Files {
	#add;
	#parent = null;
	#folder = null;
	#turn = 0;

	/** Calls `add(uris)` with what is chosen. */
	constructor(add) {
		this.#add = add;
		$("browse").addEventListener("click", () => ($("files").hidden ? this.#open(null) : this.#close()));
		$("files-back").addEventListener("click", () => this.#open(this.#parent));
		$("files-close").addEventListener("click", () => this.#close());
		$("files").addEventListener("keydown", ({ key }) => key === "Escape" && this.#close());
		this.#offer();
	}

	/** Is there only where the server has folders to show. */
	async #offer() {
		const { entries = [] } = (await listFolder(null).catch(() => null)) ?? {};
		$("browse").hidden = !entries.length;
	}

	async #open(folder) {
		this.#turn += 1;
		const turn = this.#turn;
		let listing = null;
		let told = "";
		try {
			listing = await listFolder(folder);
		} catch ({ message }) {
			told = message;
		}
		if (turn !== this.#turn) return;
		$("files").hidden = false;
		$("browse").setAttribute("aria-expanded", true);
		if (!listing) return setText($("files-note"), told || "This folder isn’t there any more.");
		this.#show(listing);
	}

	#show({ folder, parent, entries, more }) {
		const from = this.#folder;
		[this.#folder, this.#parent] = [folder, parent];
		setText($("files-name"), folder ? clipName(folder.replace(/\/$/, ""))[0] : "On the server");
		$("files-back").hidden = !folder;
		setText($("files-note"), more ? "There are more than fit in this list." : entries.length ? "" : "No audio or video in here.");
		const rows = entries.map((entry) => this.#row(entry));
		$("files-list").replaceChildren(...rows);
		// On the way back to where one comes from, else to the first.
		const at = Math.max(0, entries.findIndex(({ uri }) => uri === from));
		(rows[at]?.firstElementChild ?? (folder ? $("files-back") : $("files-close"))).focus();
	}

	#row({ name, uri, kind, size }) {
		const row = $("file-template").content.firstElementChild.cloneNode(true);
		const isFolder = kind === "folder";
		const [verb, title, note] = row.querySelectorAll("span");
		setIcon(row, isFolder ? "folder" : "plus");
		verb.textContent = isFolder ? "Open " : "Add ";
		title.textContent = name;
		note.textContent = isFolder || size === null ? "" : bytes(size);
		row.firstElementChild.addEventListener("click", () => (isFolder ? this.#open(uri) : this.#add([uri])));
		return row;
	}

	#close() {
		this.#turn += 1;
		this.#folder = null;
		$("files").hidden = true;
		$("browse").setAttribute("aria-expanded", false);
		$("browse").focus();
	}
}
