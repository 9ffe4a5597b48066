// The choices above the list: quality, codec, priority and bitrate. They are remembered, and told in a sentence.

import { recall, remember } from "./notice.js";

const NAMES = ["quality_profile", "codec", "priority", "bitrate"];
const PROFILES = {
	low: { codec: "aac", bitrateBps: 96_000 },
	medium: { codec: "aac", bitrateBps: 160_000 },
	high: { codec: "aac", bitrateBps: 256_000 },
	hi_res: { codec: "flac", bitrateBps: 256_000 }, // for another codec
};
const WORDS = {
	aac: (rate) => `AAC at ${rate}, plays everywhere.`,
	mp3: (rate) => `MP3 at ${rate}, plays everywhere.`,
	opus: (rate) => `Opus at ${rate}, the best sound for its size.`,
	flac: () => "FLAC, lossless at the source’s own rate and depth.",
};

export class Options {
	#fields;
	#outcome;

	constructor(form, outcome) {
		this.#fields = form.elements;
		this.#outcome = outcome;
		for (const name of NAMES) this.#restore(this.#fields[name], name);
		form.addEventListener("change", ({ target: { name, value } }) => {
			if (NAMES.includes(name)) remember(`option.${name}`, value);
			this.#show();
		});
		this.#show();
	}

	/** {quality_profile, priority, codec?, bitrate?} as the server takes them. */
	get chosen() {
		const pairs = NAMES.map((name) => [name, this.#fields[name]]);
		return Object.fromEntries(pairs.filter(([, { value, disabled }]) => value && !disabled).map(([name, { value }]) => [name, value]));
	}

	#restore(field, name) {
		const preset = field.value;
		field.value = recall(`option.${name}`, preset);
		if (!field.value) field.value = preset; // another version of the page had other choices
	}

	#show() {
		const { quality_profile: quality, codec, bitrate } = this.#fields;
		const profile = PROFILES[quality.value];
		const made = codec.value || profile.codec;
		bitrate.disabled = made === "flac"; // the server refuses one there
		this.#outcome.textContent = WORDS[made](`${(bitrate.value || profile.bitrateBps) / 1000} kbit/s`);
	}
}
