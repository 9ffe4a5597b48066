// The choices for a separation: the model, and how much work it takes.

import { $ } from "./elements.js";
import { Options } from "./options.js";
import { listModels } from "./separate-api.js";
import { modelName, modelSentence } from "./separate-words.js";

const ABSENT = "This server doesn’t separate songs.";
const UNKNOWN = "The models couldn’t be asked for; the server’s default is used.";

export class SeparateOptions extends Options {
	#models = [];
	#preset = "";
	#reason = ""; // why that isn't a better one
	#trouble = "";

	constructor() {
		super($("separate-form"), "separate");
		this.#learn();
	}

	/** Offers the models of the server. */
	async #learn() {
		const told = await listModels().catch(() => undefined);
		if (!told) this.#trouble = told === null ? ABSENT : UNKNOWN;
		else this.#offer(told);
		this.show();
	}

	/** The default isn't sent: what it is may change with each song. */
	#offer({ default: preset, default_reason: reason, models }) {
		const { model } = this.fields;
		this.#models = models;
		this.#preset = preset;
		this.#reason = reason ? `${reason}.` : "";
		model.replaceChildren(new Option(`Default: ${preset}`, ""), ...models.map((each) => new Option(modelName(each), each.name)));
		for (const option of model.options) option.disabled = option.value && this.#of(option.value).state === "missing";
		model.value = "";
		this.restore("model");
		if (model.selectedOptions[0].disabled) model.value = "";
	}

	#of(name) {
		return this.#models.find((each) => each.name === name) ?? {};
	}

	show() {
		const { model, shifts } = this.fields;
		const passes = Number(shifts.value) > 1 ? `${shifts.value} passes take ${shifts.value} times as long.` : "";
		const said = [model.value ? "" : this.#reason, modelSentence(this.#of(model.value || this.#preset)), passes];
		this.tell(this.#trouble || said.filter(Boolean).join(" "));
	}
}
