// The mixer by keyboard: space plays, arrows seek, digits mute and with Shift solo a stem, 0 lets all be heard.

const STEP_SECONDS = 5;
const STEPS = { ArrowLeft: -STEP_SECONDS, ArrowRight: STEP_SECONDS };

export class MixerKeys {
	#mixer;

	constructor(mixer) {
		this.#mixer = mixer;
		document.addEventListener("keydown", (event) => this.#pressed(event));
	}

	#pressed(event) {
		const { key, code, target } = event;
		const isSlider = target.type === "range";
		// Fields have their own use for these keys, sliders for arrows, and buttons for space.
		const isTaken = event.ctrlKey || event.metaKey || event.altKey || (target.closest("input, select, textarea") && !isSlider);
		if (!this.#mixer.isAtHand || isTaken) return;
		// By the place of the key: with Shift it writes something else in each layout.
		const digit = /^(?:Digit|Numpad)([0-6])$/.exec(code)?.[1];
		if (key in STEPS && !isSlider) this.#mixer.seek(this.#mixer.mix.time + STEPS[key]);
		else if (key === " " && !target.closest("button, a")) this.#mixer.toggle();
		else if (digit) this.#choose(Number(digit), event.shiftKey);
		else return;
		event.preventDefault();
	}

	#choose(number, isSolo) {
		const { mix, names } = this.#mixer;
		if (number === 0) return mix.adjustAll({ isMuted: false, isSoloed: false });
		const setting = mix.settingOf(names[number - 1]);
		if (setting) mix.adjust(names[number - 1], isSolo ? { isSoloed: !setting.isSoloed } : { isMuted: !setting.isMuted });
	}
}
