// The choices for a conversion. Only what the chosen format takes can be chosen.

import { call } from "./api.js";
import { $ } from "./elements.js";
import { Options } from "./options.js";

const CHANNELS = { 1: "mono", 2: "stereo" };
const EVERY = { min: 0, max: Infinity };

/** Bars the values that aren't possible; where such a one was chosen, it becomes the first again, "as it is". */
function allow(select, isPossible) {
	for (const option of select.options) option.disabled = Boolean(option.value) && !isPossible(Number(option.value));
	if (select.selectedOptions[0]?.disabled) select.value = "";
	select.disabled = [...select.options].every(({ value, disabled }) => !value || disabled);
}

const lasting = (time) => (time.includes(":") ? time : `${time} s`);

export class ConvertOptions extends Options {
	#formats = new Map();

	constructor(form) {
		super(form, "convert", ["start", "duration"]); // those two belong to one song
		this.show();
		this.#learn();
	}

	/** Offers all that the server can make. Where it can't be asked, there are the formats of the page. */
	async #learn() {
		const { formats } = (await call("/v1/formats").catch(() => null)) ?? {};
		if (!formats) return;
		const { format } = this.fields;
		const { value } = format;
		for (const id of ["lossy", "lossless"]) $(id).replaceChildren();
		for (const { name, title, lossless } of formats) $(lossless ? "lossless" : "lossy").append(new Option(title, name));
		format.value = value;
		this.restore("format");
		this.#formats = new Map(formats.map((each) => [each.name, each]));
		this.show();
	}

	show() {
		const { format, bitrate, sample_rate: rate, channels } = this.fields;
		const known = this.#formats.get(format.value);
		const isLossless = format.selectedOptions[0].parentElement.id === "lossless";
		const { min, max } = (known ? known.bitrate : !isLossless && EVERY) || { min: 0, max: 0 };
		allow(bitrate, (bps) => bps >= min && bps <= max);
		allow(rate, (hertz) => known?.sample_rates?.includes(hertz) ?? true);
		allow(channels, (count) => count <= (known?.channels ?? count));
		$("qualities").disabled = isLossless || bitrate.value !== "" || known?.qualities.length === 0;
		this.tell(this.#sentence(isLossless));
	}

	#sentence(isLossless) {
		const { format, quality, bitrate, sample_rate: rate, channels, start, duration, metadata } = this.fields;
		const made = bitrate.value ? `${bitrate.value / 1000} kbit/s` : isLossless ? "lossless" : !$("qualities").disabled && `${quality.value || "high"} quality`;
		const facts = [
			format.selectedOptions[0].text,
			made,
			rate.value && `${rate.value / 1000} kHz`,
			CHANNELS[channels.value],
			start.value && `from ${lasting(start.value)} on`,
			duration.value && `${lasting(duration.value)} of it`,
			metadata.value === "drop" && "without tags and cover",
		];
		return `${facts.filter(Boolean).join(", ")}.`;
	}
}
