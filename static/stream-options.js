// The choices for a stream: quality, codec, priority and bitrate.

import { Options } from "./options.js";

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

export class StreamOptions extends Options {
	constructor(form) {
		super(form, "option");
		this.show();
	}

	show() {
		const { quality_profile: quality, codec, bitrate } = this.fields;
		const profile = PROFILES[quality.value];
		const made = codec.value || profile.codec;
		bitrate.disabled = made === "flac"; // the server refuses one there
		this.tell(WORDS[made](`${(bitrate.value || profile.bitrateBps) / 1000} kbit/s`));
	}
}
