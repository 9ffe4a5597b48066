// The choices for a separation: the model, and how much work it takes.

import { $ } from "./elements.js";
import { Options } from "./options.js";
import { listModels } from "./separate-api.js";
import { modelName, modelSentence } from "./separate-words.js";

const ABSENT = "This server doesn’t separate songs.";
const NONE = "The server has no model yet.";
const UNKNOWN = "The models couldn’t be asked for; the server’s default is used.";

export class SeparateOptions extends Options {
	#models = [];
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

	#offer({ default: preset, models }) {
		const { model } = this.fields;
		this.#models = models;
		if (!models.length) this.#trouble = NONE;
		model.replaceChildren(...models.map((each) => new Option(modelName(each), each.name)));
		for (const option of model.options) option.disabled = this.#of(option.value).state === "missing";
		model.value = preset;
		this.restore("model");
		if (!model.value || model.selectedOptions[0].disabled) model.value = preset;
	}

	#of(name) {
		return this.#models.find((each) => each.name === name) ?? {};
	}

	show() {
		const { model, shifts } = this.fields;
		const passes = Number(shifts.value) > 1 ? `${shifts.value} passes take ${shifts.value} times as long.` : "";
		this.tell(this.#trouble || [modelSentence(this.#of(model.value)), passes].filter(Boolean).join(" "));
	}
}
