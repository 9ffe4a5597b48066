// The player at the bottom: what plays, where it is, how loud. The keyboard plays, too.

import { $, setIcon, setText } from "./elements.js";
import { clock } from "./format.js";
import { recall, remember, toast } from "./notice.js";
import { Waveform } from "./waveform.js";

const STEP_SECONDS = 5;
const STEPS = { ArrowLeft: -STEP_SECONDS, ArrowDown: -STEP_SECONDS, ArrowRight: STEP_SECONDS, ArrowUp: STEP_SECONDS };

export class Dock {
	#player;
	#wave = new Waveform($("wave"), document.querySelectorAll("#wave path"));
	#isDragging = false;

	constructor(player) {
		this.#player = player;
		player.addEventListener("change", () => this.#show());
		player.addEventListener("time", () => this.#showTime());
		player.addEventListener("chunk", ({ detail }) => this.#wave.add(detail));
		player.addEventListener("stop", () => this.#wave.clear());
		player.volume = Number(recall("volume", 1));
		$("dock-play").addEventListener("click", () => player.toggle());
		$("dock-close").addEventListener("click", () => player.stop());
		$("mute").addEventListener("click", () => player.toggleMute());
		$("volume").addEventListener("input", ({ target }) => {
			player.volume = Number(target.value);
			remember("volume", target.value);
		});
		this.#listenToSeek($("seek"));
		document.addEventListener("keydown", (event) => this.#pressed(event));
	}

	#listenToSeek(seek) {
		seek.addEventListener("keydown", (event) => {
			const to = { Home: 0, End: this.#player.madeSeconds }[event.key] ?? this.#player.time + STEPS[event.key];
			if (Number.isNaN(to)) return;
			event.preventDefault();
			event.stopPropagation();
			this.#go(to);
		});
		seek.addEventListener("input", () => {
			this.#isDragging = true;
			this.#showTime();
		});
		seek.addEventListener("change", () => {
			this.#isDragging = false;
			this.#go(Number(seek.value));
		});
		seek.addEventListener("pointermove", ({ offsetX }) => this.#point(offsetX, seek.clientWidth));
		seek.addEventListener("pointerleave", () => { $("bubble").hidden = true; });
	}

	#point(x, width) {
		const { totalSeconds, madeSeconds } = this.#player;
		const at = Math.min(Math.max(x / width, 0), 1) * totalSeconds;
		$("bubble").hidden = false;
		$("bubble").textContent = clock(at) + (at > madeSeconds + 0.5 ? ", not made yet" : "");
		$("bubble").style.left = `${x}px`;
	}

	#go(seconds) {
		if (!this.#player.seek(seconds)) toast(`That part isn’t made yet. So far there are ${clock(this.#player.madeSeconds)}, and more is coming.`);
		this.#showTime();
	}

	#pressed(event) {
		const { key, target } = event;
		// Fields have their own use for these keys, sliders for arrows, and buttons for space.
		const isSlider = target.type === "range";
		const isTaken = event.ctrlKey || event.metaKey || event.altKey || (target.closest("input, select, textarea") && !isSlider);
		if (!this.#player.source || isTaken) return;
		if (["ArrowLeft", "ArrowRight"].includes(key) && !isSlider) this.#go(this.#player.time + STEPS[key]);
		else if (key === " " && !target.closest("button, a")) this.#player.toggle();
		else if (key === "m") this.#player.toggleMute();
		else return;
		event.preventDefault();
	}

	#say() {
		const { state, error, source, time, madeSeconds } = this.#player;
		if (state === "failed") return error;
		if (state === "waiting" && source.isGrowing && time > madeSeconds - 1.5) return "Waiting for the rest to be made";
		if (state === "loading" || state === "waiting") return "Loading";
		return source.isGrowing ? "Playing while it is being made" : "";
	}

	#show() {
		const { source, state, volume, isOn } = this.#player;
		$("dock").hidden = !source;
		document.body.classList.toggle("has-dock", source);
		setIcon($("mute"), volume ? "volume" : "mute");
		$("mute").setAttribute("aria-label", volume ? "Mute" : "Unmute");
		$("volume").value = volume;
		if (!source) return;
		$("dock").dataset.state = state;
		setText($("dock-name"), source.title);
		setText($("dock-state"), this.#say());
		setIcon($("dock-play"), isOn ? "pause" : "play");
		$("dock-play").setAttribute("aria-label", isOn ? "Pause" : "Play");
		// For the lock screen of a phone.
		if (navigator.mediaSession) navigator.mediaSession.metadata = new MediaMetadata({ title: source.title });
		this.#showTime();
	}

	#showTime() {
		if (!this.#player.source) return;
		const { time, totalSeconds, madeSeconds, bufferedSeconds } = this.#player;
		const seek = $("seek");
		seek.max = totalSeconds;
		if (!this.#isDragging) seek.value = time;
		const at = this.#isDragging ? Number(seek.value) : time;
		const share = (seconds) => (totalSeconds ? Math.min(seconds / totalSeconds, 1) : 0);
		seek.setAttribute("aria-valuetext", `${clock(at)} of ${clock(totalSeconds)}`);
		setText($("dock-now"), clock(at));
		setText($("dock-total"), clock(totalSeconds));
		$("rail-made").style.transform = `scaleX(${share(madeSeconds)})`;
		$("rail-buffered").style.transform = `scaleX(${share(bufferedSeconds)})`;
		$("played").style.clipPath = `inset(0 ${100 - share(at) * 100}% 0 0)`;
		$("playhead").style.left = `${share(at) * 100}%`;
		this.#wave.stretch(totalSeconds);
	}
}
