// One entry of a list, from the moment its file was dropped.

import { $, setIcon, setText } from "./elements.js";
import { splitName } from "./format.js";
import { toast } from "./notice.js";

const BADGES = { sending: "send", working: "work", fetching: "save", receiving: "save", failed: "fail", cancelled: "stop" };

function label(button, text) {
	button.setAttribute("aria-label", text);
	button.title = text;
}

export class Card {
	#at = {};
	#acts;
	#words;
	entry;
	element;

	/** `acts` are functions of an entry, one for each button; `words` say what is written. */
	constructor({ acts, words }) {
		this.#acts = acts;
		this.#words = words;
		this.element = $("card-template").content.firstElementChild.cloneNode(true);
		for (const part of this.element.querySelectorAll("[data-part], [data-action]")) {
			this.#at[part.dataset.part ?? part.dataset.action] = part;
		}
		this.element.addEventListener("click", ({ target }) => {
			const action = target.closest("[data-action]")?.dataset.action;
			if (action) this.#pressed(action);
		});
		this.element.addEventListener("keydown", ({ key }) => key === "Escape" && this.#escape());
		this.#at.more.addEventListener("focusout", ({ relatedTarget }) => this.#at.more.contains(relatedTarget) || this.#openMenu(false));
	}

	/** Shows the entry; `playing` is true, false, or null when the player has another one. */
	update(entry, playing) {
		const hadFocus = this.element.contains(document.activeElement);
		this.entry = entry;
		this.element.dataset.id = entry.id;
		this.element.dataset.state = entry.state;
		this.element.classList.toggle("is-current", playing !== null);
		this.element.classList.toggle("is-over", entry.state === "failed" || entry.state === "cancelled");
		this.#describe(entry);
		this.#offer(entry, playing);
		this.#measure(entry);
		if (hadFocus && document.activeElement.closest("[hidden]")) this.#focus();
	}

	#describe(entry) {
		const [name, suffix] = splitName(this.#words.nameOf(entry));
		const [state, facts] = this.#words.say(entry);
		const texts = { name, suffix, state, facts, advice: this.#words.advice(entry), chip: this.#words.chip(entry) };
		for (const [part, text] of Object.entries(texts)) setText(this.#at[part], text);
		this.#at.name.title = name + suffix;
		setIcon(this.#at.badge, BADGES[entry.state] ?? "wait");
	}

	#offer(entry, playing) {
		const name = this.#words.nameOf(entry);
		const again = this.#words.again(entry);
		const offered = this.#words.offers(entry);
		for (const part of ["play", "save", "link", "retry", "more", "cancel"]) this.#at[part].hidden = !offered.includes(part);
		this.#at.badge.hidden = offered.includes("play");
		this.#at.remove.hidden = offered.includes("cancel");
		setIcon(this.#at.play, playing ? "pause" : "play");
		label(this.#at.play, `${playing ? "Pause" : offered.includes("cancel") ? "Play what is ready of" : "Play"} ${name}`);
		label(this.#at.save, `Download ${name}`);
		label(this.#at.link, `Copy the ${this.#words.LINK ?? "link"} of ${name}`);
		label(this.#at.menu, `More about ${name}`);
		label(this.#at.cancel, `Cancel ${name}`);
		label(this.#at.retry, `${again} ${name}`);
		setText(this.#at.again, again);
		const result = entry.upload?.result ?? entry.result;
		if (result) Object.assign(this.#at.save, { href: result.url, download: result.name });
	}

	#measure(entry) {
		const done = this.#words.share(entry);
		const { bar } = this.#at;
		bar.hidden = done === null;
		bar.setAttribute("aria-label", `${this.#words.say(entry)[0]} ${this.#words.nameOf(entry)}`);
		bar.setAttribute("aria-valuenow", Math.floor(done * 100));
		bar.firstElementChild.style.transform = `scaleX(${done})`;
	}

	#focus() {
		[...this.element.querySelectorAll("button, a")].find((button) => !button.closest("[hidden]"))?.focus();
	}

	#pressed(action) {
		const { confirm, items, question } = this.#at;
		if (action === "menu") return this.#openMenu(items.hidden);
		this.#openMenu(false);
		const asked = action === "remove" ? this.#words.question(this.entry) : "";
		setText(question, asked);
		confirm.hidden = !asked;
		if (asked) return this.#at.keep.focus();
		return action === "keep" ? this.#focus() : this.#act(action);
	}

	async #act(action) {
		try {
			await this.#acts[action](this.entry);
		} catch ({ message }) {
			toast(`That didn’t work. ${message}`);
		}
	}

	#openMenu(isOpen) {
		this.#at.items.hidden = !isOpen;
		this.#at.menu.setAttribute("aria-expanded", isOpen);
		if (isOpen) this.#at.items.scrollIntoView({ block: "nearest" });
	}

	#escape() {
		if (!this.#at.confirm.hidden) this.#pressed("keep");
		if (!this.#at.items.hidden) this.#at.menu.focus();
		this.#openMenu(false);
	}
}
