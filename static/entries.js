// What a list is made of. An entry is {id, order, state, ...}; `order` sorts the list, newest first.
//
// "change" tells an entry and how it was before, "remove" that one is gone.

export const isActive = ({ state }) => !["ready", "failed", "cancelled"].includes(state);

export class Entries extends EventTarget {
	#entries = new Map();

	get(id) {
		return this.#entries.get(id);
	}

	/** Newest first. */
	all() {
		return [...this.#entries.values()].sort((a, b) => b.order - a.order);
	}

	/** Takes what is new of an entry; `derive` gives what follows from that. */
	update(id, order, change) {
		const before = this.get(id);
		const entry = { id, order, ...before, ...change };
		Object.assign(entry, this.derive(entry));
		this.#entries.set(id, entry);
		this.dispatchEvent(new CustomEvent("change", { detail: { entry, before } }));
	}

	remove(id) {
		this.#entries.delete(id);
		this.dispatchEvent(new Event("remove"));
	}
}
