// The shape of the sound, from the very segments that are played: what hls.js hands to the browser is decoded once
// more at a low rate, and the loudest sample of each 100 ms is kept. An hour costs some hundred kilobytes.

export const STEP_SECONDS = 0.1;
const RATE = 8000;
const BAR_PIXELS = 4;
const MIDDLE = 20; // pixels; half the height

/** Peaks of all steps that are known -> an SVG path so wide, in pixels, for so many seconds. `loudest` fills the height. */
export function shapeOf(peaks, { width, seconds, loudest }) {
	const stepsPerBar = (seconds / STEP_SECONDS / width) * BAR_PIXELS;
	let shape = "";
	for (let bar = 0; peaks.length && bar * BAR_PIXELS < width; bar += 1) {
		const from = Math.floor(bar * stepsPerBar);
		const some = peaks.slice(from, Math.max(from + 1, Math.floor((bar + 1) * stepsPerBar)));
		const peak = some.reduce((most, one) => Math.max(most, one), -1);
		const half = Math.max(0.5, (peak / loudest) ** 0.8 * (MIDDLE - 2));
		if (peak >= 0) shape += `M${bar * BAR_PIXELS + 2} ${(MIDDLE - half).toFixed(1)}v${(half * 2).toFixed(1)}`;
	}
	return shape;
}

const isInit = (data) => String.fromCharCode(...data.subarray(4, 8)) === "ftyp";

export class Waveform {
	#box;
	#paths;
	#turn = 0;
	#init = new Uint8Array();
	#peaks = [];
	#done = new Set();
	#seconds = 0;
	#isDrawing = false;

	/** `box` is the element whose width the wave has, `paths` the SVG paths that show it. */
	constructor(box, paths) {
		this.#box = box;
		this.#paths = paths;
		new ResizeObserver(() => this.#draw()).observe(box);
	}

	clear() {
		this.#turn += 1;
		this.#init = new Uint8Array();
		this.#peaks = [];
		this.#done.clear();
		this.#draw();
	}

	/** Spans so many seconds from now on. */
	stretch(seconds) {
		if (seconds !== this.#seconds) this.#draw();
		this.#seconds = seconds;
	}

	/** Takes `data` (Uint8Array): an initialisation section, or segment `number`, which starts at `startSeconds`. */
	async add({ startSeconds, number, data }) {
		if (isInit(data)) {
			this.#init = data.slice();
			return;
		}
		if (this.#done.has(number)) return;
		this.#done.add(number);
		const turn = this.#turn;
		try {
			const file = await new Blob([this.#init, data]).arrayBuffer();
			const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(file);
			if (turn === this.#turn) this.#measure(sound.getChannelData(0), Math.round(startSeconds / STEP_SECONDS));
		} catch {
			// Not every browser decodes every container here. The bar stays plain; playing isn't touched.
		}
	}

	#measure(samples, first) {
		const step = RATE * STEP_SECONDS;
		for (let i = 0; i < samples.length; i += 1) {
			const at = first + Math.floor(i / step);
			this.#peaks[at] = Math.max(this.#peaks[at] ?? 0, Math.abs(samples[i]));
		}
		this.#draw();
	}

	#draw() {
		if (this.#isDrawing) return;
		this.#isDrawing = true;
		requestAnimationFrame(() => {
			this.#isDrawing = false;
			// The loudest part so far fills the height.
			const loudest = this.#peaks.reduce((most, peak) => Math.max(most, peak), 0.05);
			const shape = shapeOf(this.#peaks, { width: this.#box.clientWidth, seconds: this.#seconds, loudest });
			for (const path of this.#paths) path.setAttribute("d", shape);
		});
	}
}
