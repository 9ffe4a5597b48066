// The two marks of a loop: shown on the rail, and told to what plays.

import { $ } from "./elements.js";
import { clock } from "./format.js";
import { SHORTEST_LOOP_SECONDS } from "./mix-plan.js";
import { announce, toast } from "./notice.js";

export class MixerLoop {
	#repeat;
	#from = null;
	#to = null;

	/** `repeat(from, to)`, in seconds, tells whether there is a loop then. */
	constructor(repeat) {
		this.#repeat = repeat;
		$("mix-loop-off").addEventListener("click", () => {
			this.clear();
			repeat(null, null);
			$("mix-from").focus();
		});
	}

	begin(seconds) {
		this.#set(seconds, this.#to > seconds ? this.#to : null);
	}

	end(seconds) {
		const from = this.#from ?? 0;
		if (seconds - from < SHORTEST_LOOP_SECONDS) return toast(`A loop ends at least half a second after it begins, at ${clock(from)}.`);
		this.#set(from, seconds);
	}

	clear() {
		[this.#from, this.#to] = [null, null];
		this.#show(false);
	}

	/** Shows the marks on a rail of so many seconds. */
	stretch(total) {
		const { style } = $("mix-loop");
		const share = (seconds) => `${total ? Math.min(100, (seconds / total) * 100) : 0}%`;
		style.setProperty("--from", share(this.#from ?? 0));
		style.setProperty("--to", share(this.#to ?? this.#from ?? 0));
	}

	#set(from, to) {
		[this.#from, this.#to] = [from, to];
		const isOn = this.#repeat(from, to);
		this.#show(isOn);
		if (isOn) announce(`A loop from ${clock(from)} to ${clock(to)}.`);
	}

	#show(isOn) {
		$("mix-loop").hidden = this.#from === null;
		$("mix-loop-off").hidden = this.#from === null;
		$("mix-from").ariaPressed = this.#from !== null;
		$("mix-to").ariaPressed = isOn;
	}
}
