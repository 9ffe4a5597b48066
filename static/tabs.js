// The tasks of the page, one open at a time. The address tells which: "#convert".

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

export class Tabs {
	#tabs;
	#open;
	current;

	/** Calls `open(name)` for the task that is open, now and whenever that changes. */
	constructor(element, open) {
		this.#tabs = [...element.children];
		this.#open = open;
		element.addEventListener("keydown", (event) => this.#pressed(event));
		addEventListener("hashchange", () => this.#show());
		this.#show();
	}

	#show() {
		const chosen = this.#tabs.find(({ hash }) => hash === location.hash) ?? this.#tabs[0];
		for (const tab of this.#tabs) {
			tab.setAttribute("aria-selected", tab === chosen);
			tab.tabIndex = tab === chosen ? 0 : -1;
		}
		this.current = chosen.hash.slice(1);
		document.documentElement.dataset.task = this.current;
		document.title = `${chosen.textContent} · streamsrv`;
		this.#open(this.current);
	}

	#pressed(event) {
		const step = STEPS[event.key];
		if (!step) return;
		event.preventDefault();
		event.stopPropagation(); // the player would seek
		const last = this.#tabs.length - 1;
		const to = this.#tabs.indexOf(document.activeElement) + step;
		const tab = this.#tabs[Number.isFinite(to) ? (to + last + 1) % (last + 1) : step > 0 ? last : 0];
		tab.focus();
		tab.click();
	}
}
