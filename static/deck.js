// The cards of a list, one for each entry.

import { Card } from "./card.js";

/** Makes these the children, in order. What is in its place is not touched, so that the focus stays. */
export function place(parent, children) {
	for (const child of [...parent.children]) if (!children.includes(child)) child.remove();
	children.forEach((child, i) => parent.children[i] === child || parent.insertBefore(child, parent.children[i] ?? null));
}

export class Deck {
	#entries;
	#manner;
	#cards = new Map();

	/** `manner` is as Card takes it, `isOn(id)`: what the player does with an entry, and perhaps `adorn(element, id)` for a new card. */
	constructor(entries, manner) {
		this.#entries = entries;
		this.#manner = manner;
		entries.addEventListener("change", ({ detail: { entry } }) => this.refresh(entry.id));
		entries.addEventListener("remove", () => {
			for (const id of this.#cards.keys()) if (!entries.get(id)) this.#cards.delete(id);
		});
	}

	/** Shows an entry as it is now. */
	refresh(id) {
		this.#cards.get(id)?.update(this.#entries.get(id), this.#manner.isOn(id));
	}

	/** The element of an entry's card. */
	show({ id }) {
		if (!this.#cards.has(id)) {
			this.#cards.set(id, new Card(this.#manner));
			this.refresh(id);
			this.#manner.adorn?.(this.#cards.get(id).element, id);
		}
		return this.#cards.get(id).element;
	}
}
