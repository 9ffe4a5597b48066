// One stem's row in the mixer: its name, M, S, volume, waveform and files.

import { $, setText } from "./elements.js";
import { LOUDEST_DB, SILENT_DB, decibels } from "./mix-plan.js";
import { localPath } from "./separate-api.js";
import { titleOf } from "./separate-words.js";
import { STEP_SECONDS, shapeOf } from "./waveform.js";

const FORMATS = ["mp3", "flac", "wav"];

/** Links to a file in each format; `pathOf(format)` gives null where it isn't there. */
export function showFiles(box, what, pathOf, nameOf) {
	for (const format of FORMATS) {
		const path = pathOf(format);
		let link = box.querySelector(`[data-format="${format}"]`);
		if (!path) {
			link?.remove();
			continue;
		}
		link ??= box.appendChild(Object.assign(document.createElement("a"), { textContent: format.toUpperCase() }));
		link.dataset.format = format;
		Object.assign(link, { href: path, download: nameOf(format), title: `Download ${what} as ${format.toUpperCase()}` });
		link.setAttribute("aria-label", link.title);
	}
}

export class StemRow {
	#at;
	#name;
	#paths;
	#peaks = [];
	#seconds = 0;
	#isDrawing = false;
	element;

	/** `acts` are adjust(setting), and seek(share) for a click on the wave; `number` is the key that mutes it. */
	constructor(name, number, acts) {
		this.#name = name;
		this.element = $("stem-template").content.firstElementChild.cloneNode(true);
		this.#at = Object.fromEntries([...this.element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
		this.#paths = this.element.querySelectorAll("path");
		const { mute, solo, volume, wave } = this.#at;
		const [slider] = volume.children;
		setText(this.#at.name, titleOf(name));
		for (const [button, what, key] of [[mute, "Mute", number], [solo, "Solo", `Shift+${number}`]]) {
			button.setAttribute("aria-label", `${what} ${name}`);
			button.title = `${what} ${name} (${key})`;
		}
		mute.addEventListener("click", () => acts.adjust({ isMuted: mute.ariaPressed !== "true" }));
		solo.addEventListener("click", () => acts.adjust({ isSoloed: solo.ariaPressed !== "true" }));
		Object.assign(slider, { min: SILENT_DB, max: LOUDEST_DB, title: "Double-click for 0 dB" });
		slider.setAttribute("aria-label", `Volume of ${name}`);
		slider.addEventListener("input", () => acts.adjust({ volumeDb: Number(slider.value) }));
		slider.addEventListener("dblclick", () => acts.adjust({ volumeDb: 0 }));
		wave.addEventListener("click", ({ offsetX }) => acts.seek(offsetX / wave.clientWidth));
		new ResizeObserver(() => this.#draw()).observe(wave);
	}

	/** Shows how it is set, whether it can be heard, and what the server says of its track; `lost` is a sentence, or "". */
	show({ volumeDb, isMuted, isSoloed }, { isHeard, track, lost, fileName }) {
		const { mute, solo, volume, note, files } = this.#at;
		const [slider, value] = volume.children;
		mute.ariaPressed = isMuted;
		solo.ariaPressed = isSoloed;
		if (slider.valueAsNumber !== volumeDb) slider.value = volumeDb;
		slider.setAttribute("aria-valuetext", decibels(volumeDb));
		setText(value, decibels(volumeDb));
		const clipped = track.clipped_samples;
		setText(note, lost || (clipped ? `${clipped} ${clipped === 1 ? "sample" : "samples"} clipped` : ""));
		this.element.classList.toggle("is-silent", !isHeard);
		this.element.classList.toggle("is-lost", Boolean(lost));
		const pathOf = (format) => (lost || !track[`${format}_url`] ? null : localPath(track[`${format}_url`]));
		showFiles(files, this.#name, pathOf, (format) => `${fileName} (${this.#name}).${format}`);
	}

	/** Takes sound that was decoded, an AudioBuffer, which starts at this sample. */
	add(startSample, buffer) {
		const step = buffer.sampleRate * STEP_SECONDS;
		for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
			const samples = buffer.getChannelData(channel);
			for (let i = 0; i < samples.length; i += 1) {
				const at = Math.floor((startSample + i) / step);
				const size = Math.abs(samples[i]);
				if (!(this.#peaks[at] >= size)) this.#peaks[at] = size;
			}
		}
		this.#draw();
	}

	/** Spans so many seconds from now on. */
	stretch(seconds) {
		if (seconds === this.#seconds) return;
		this.#seconds = seconds;
		this.#draw();
	}

	#draw() {
		if (this.#isDrawing) return;
		this.#isDrawing = true;
		requestAnimationFrame(() => {
			this.#isDrawing = false;
			// All stems at the same scale, so that what is soft looks soft.
			const shape = shapeOf(this.#peaks, { width: this.#at.wave.clientWidth, seconds: this.#seconds, loudest: 1 });
			for (const path of this.#paths) path.setAttribute("d", shape);
		});
	}
}
