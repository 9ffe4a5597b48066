// The mixer's rail: where it is, what is there, and going elsewhere.

import { $, setText } from "./elements.js";
import { clock } from "./format.js";

const STEP_SECONDS = 5;
const STEPS = { ArrowLeft: -STEP_SECONDS, ArrowDown: -STEP_SECONDS, ArrowRight: STEP_SECONDS, ArrowUp: STEP_SECONDS };

export class MixerSeek {
	#mixer;
	#isDragging = false;
	#frame = null;

	constructor(mixer) {
		this.#mixer = mixer;
		const seek = $("mix-seek");
		seek.addEventListener("keydown", (event) => this.#pressed(event));
		seek.addEventListener("input", () => {
			this.#isDragging = true;
			this.#show();
		});
		seek.addEventListener("change", () => {
			this.#isDragging = false;
			mixer.seek(Number(seek.value));
		});
		seek.addEventListener("pointermove", ({ offsetX }) => this.#point(offsetX, seek.clientWidth));
		seek.addEventListener("pointerleave", () => { $("mix-bubble").hidden = true; });
	}

	/** Shows where it is now, and for as long as it moves. */
	follow() {
		this.rest();
		this.#show();
		if (this.#mixer.mix.isOn) this.#frame = requestAnimationFrame(() => this.follow());
	}

	rest() {
		cancelAnimationFrame(this.#frame);
	}

	#pressed(event) {
		const { mix } = this.#mixer;
		const to = { Home: 0, End: mix.madeSeconds - 0.05 }[event.key] ?? mix.time + STEPS[event.key];
		if (Number.isNaN(to)) return;
		event.preventDefault();
		event.stopPropagation();
		this.#mixer.seek(to);
	}

	#point(x, width) {
		const at = Math.min(Math.max(x / width, 0), 1) * this.#mixer.totalSeconds;
		const { madeSeconds, isWhole } = this.#mixer.mix;
		$("mix-bubble").hidden = false;
		setText($("mix-bubble"), clock(at) + (at > madeSeconds && !isWhole ? ", not separated yet" : ""));
		$("mix-bubble").style.left = `${x}px`;
	}

	#show() {
		const { mix, totalSeconds: total } = this.#mixer;
		const seek = $("mix-seek");
		if (Number(seek.max) !== total) seek.max = total;
		if (!this.#isDragging) seek.value = mix.time;
		const at = this.#isDragging ? Number(seek.value) : mix.time;
		const share = (seconds) => (total ? Math.min(1, seconds / total) : 0);
		seek.setAttribute("aria-valuetext", `${clock(at)} of ${clock(total)}`);
		setText($("mix-now"), clock(at));
		setText($("mix-total"), clock(total));
		$("mixer").style.setProperty("--at", `${share(at) * 100}%`);
		$("mix-made").style.transform = `scaleX(${share(mix.madeSeconds)})`;
		this.#mixer.loop.stretch(total);
	}
}
