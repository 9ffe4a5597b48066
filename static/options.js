// The choices in a task's form. They are remembered, and told in a sentence; what few need is behind "More".

import { recall, remember } from "./notice.js";

export class Options {
	#form;
	#prefix;
	fields;

	/** Remembers what is chosen, but for the fields named in `passing`. */
	constructor(form, prefix, passing = []) {
		this.#form = form;
		this.#prefix = prefix;
		this.fields = form.elements;
		const names = new Set([...form.elements].filter(({ name, type }) => name && type !== "file").map(({ name }) => name));
		for (const name of passing) names.delete(name);
		for (const name of names) this.restore(name);
		form.addEventListener("change", ({ target: { name, value } }) => {
			if (names.has(name)) remember(`${prefix}.${name}`, value);
			this.show();
		});
		form.querySelector(".more").addEventListener("click", ({ currentTarget }) => this.#openMore(currentTarget.getAttribute("aria-expanded") === "false"));
	}

	/** {name: value} of all that is chosen, as the server takes it. */
	get chosen() {
		return Object.fromEntries([...new FormData(this.#form)].filter(([, value]) => value && typeof value === "string"));
	}

	restore(name) {
		const field = this.fields[name];
		const preset = field.value;
		field.value = recall(`${this.#prefix}.${name}`, preset);
		if (!field.value) field.value = preset; // another version of the page had other choices
	}

	/** Whether all can be sent as it is; points at the first field that can't. */
	check() {
		const wrong = [...this.fields].find((field) => field.type !== "file" && !field.checkValidity());
		if (!wrong) return true;
		this.#openMore(true);
		wrong.reportValidity();
		return false;
	}

	tell(sentence) {
		this.#form.querySelector(".outcome").textContent = sentence;
	}

	#openMore(isOpen) {
		this.#form.querySelector(".more").setAttribute("aria-expanded", isOpen);
		this.#form.querySelector(".more-fields").hidden = !isOpen;
	}
}
