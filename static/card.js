// One job in the list, from the moment its file was dropped.

import { codecName, splitName } from "./format.js";
import { isActive } from "./jobs.js";
import { $ } from "./notice.js";
import { advice, nameOf, say, share } from "./words.js";

const BADGES = { sending: "send", working: "work", failed: "fail", cancelled: "stop" };

/** Points an icon at a picture of the sprite. */
export function setIcon(element, name) {
	element.querySelector("use").setAttribute("href", `#i-${name}`);
}

/** Writes only what differs, so that screen readers and selections are left alone. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

function label(button, text) {
	button.setAttribute("aria-label", text);
	button.title = text;
}

export class Card {
	#at = {};
	entry;
	element;

	/** `act(action, entry)` does what a button says. */
	constructor(entry, act) {
		this.element = $("job-template").content.firstElementChild.cloneNode(true);
		this.element.dataset.id = entry.id;
		for (const part of this.element.querySelectorAll("[data-part], [data-action]")) {
			this.#at[part.dataset.part ?? part.dataset.action] = part;
		}
		this.element.addEventListener("click", ({ target }) => {
			const action = target.closest("[data-action]")?.dataset.action;
			if (action) this.#pressed(action, act);
		});
		this.element.addEventListener("keydown", ({ key }) => key === "Escape" && this.#escape());
		this.#at.more.addEventListener("focusout", ({ relatedTarget }) => this.#at.more.contains(relatedTarget) || this.#openMenu(false));
	}

	/** Shows the entry; `playing` is true, false, or null when the player has another one. */
	update(entry, playing) {
		const hadFocus = this.element.contains(document.activeElement);
		this.entry = entry;
		this.element.dataset.state = entry.state;
		this.element.classList.toggle("is-current", playing !== null);
		this.element.classList.toggle("is-over", entry.state === "failed" || entry.state === "cancelled");
		this.#describe(entry);
		this.#offer(entry, playing);
		this.#measure(entry);
		if (hadFocus && document.activeElement.closest("[hidden]")) this.#focus();
	}

	#describe(entry) {
		const [name, suffix] = splitName(nameOf(entry));
		const [state, facts] = say(entry);
		const { codec, bitrate } = entry.job ?? {};
		const texts = { name, suffix, state, facts, advice: advice(entry), chip: codecName(codec, bitrate) };
		for (const [part, text] of Object.entries(texts)) setText(this.#at[part], text);
		this.#at.name.title = name + suffix;
		setIcon(this.#at.badge, BADGES[entry.state] ?? "wait");
	}

	#offer(entry, playing) {
		const name = nameOf(entry);
		const again = entry.upload ? "Retry" : "Choose again";
		const hasEnded = !isActive(entry);
		const shown = {
			play: entry.isPlayable,
			badge: !entry.isPlayable,
			link: entry.isPlayable,
			retry: hasEnded && entry.state !== "ready",
			remove: hasEnded,
			more: hasEnded || entry.isPlayable,
			cancel: !hasEnded,
		};
		for (const [part, isShown] of Object.entries(shown)) this.#at[part].hidden = !isShown;
		setIcon(this.#at.play, playing ? "pause" : "play");
		label(this.#at.play, `${playing ? "Pause" : hasEnded ? "Play" : "Play what is ready of"} ${name}`);
		label(this.#at.link, `Copy the m3u8 link of ${name}`);
		label(this.#at.menu, `More about ${name}`);
		label(this.#at.cancel, `Cancel ${name}`);
		label(this.#at.retry, `${again} ${name}`);
		setText(this.#at.again, again);
	}

	#measure(entry) {
		const done = share(entry);
		const { bar } = this.#at;
		bar.hidden = done === null;
		bar.setAttribute("aria-label", `${say(entry)[0]} ${nameOf(entry)}`);
		bar.setAttribute("aria-valuenow", Math.floor(done * 100));
		bar.firstElementChild.style.transform = `scaleX(${done})`;
	}

	#focus() {
		[...this.element.querySelectorAll("button")].find((button) => !button.closest("[hidden]"))?.focus();
	}

	#pressed(action, act) {
		const { confirm, items } = this.#at;
		if (action === "menu") return this.#openMenu(items.hidden);
		this.#openMenu(false);
		// What failed or was cancelled has nothing to lose; a stream that others may be listening to has.
		confirm.hidden = action !== "remove" || this.entry.state !== "ready";
		if (!confirm.hidden) return this.#at.keep.focus();
		return action === "keep" ? this.#focus() : act(action, this.entry);
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
