// The list of jobs by day, with its filter and its older pages.

import { Deck, place } from "./deck.js";
import { $ } from "./elements.js";
import { isActive } from "./entries.js";
import { day } from "./format.js";

const PAGE = 30;
const FILTERS = {
	all: { statuses: [], shows: () => true, nothing: "" },
	running: { statuses: ["Pending", "Processing"], shows: isActive, nothing: "Nothing is running." },
	ready: { statuses: ["Completed"], shows: ({ state }) => state === "ready", nothing: "Nothing is ready yet." },
	failed: { statuses: ["Failed", "Cancelled"], shows: ({ state }) => state === "failed" || state === "cancelled", nothing: "Nothing has failed." },
};

export class List {
	#task;
	#jobs;
	#ask;
	#deck;
	#days = new Map();
	#pages = new Map();
	#filter = "all";

	/** Inside of `task`; `ask` brings a page of jobs, as `listJobs` does, and `manner` is as Deck takes it. */
	constructor(task, jobs, ask, manner) {
		this.#task = task;
		this.#ask = ask;
		this.#jobs = jobs;
		this.#deck = new Deck(jobs, manner);
		jobs.addEventListener("change", ({ detail: { entry, before } }) => before?.state === entry.state || this.arrange());
		jobs.addEventListener("remove", () => this.arrange());
		this.#at("load-more").addEventListener("click", () => this.load());
		this.#at("filter").addEventListener("change", ({ target }) => {
			this.#filter = target.value;
			this.arrange();
			if (!this.#pages.has(this.#filter)) this.load();
		});
	}

	/** Brings the first page, or the next one, from the server. */
	async load() {
		const filter = this.#filter;
		const query = { statuses: FILTERS[filter].statuses, before: this.#pages.get(filter)?.next, limit: PAGE };
		// If it can't be reached the page says so, and the watch asks again.
		const page = await this.#ask(query).catch(() => null);
		if (page) {
			this.#pages.set(filter, { next: page.next, oldest: page.next ? Date.parse(page.jobs.at(-1)?.created_at) : 0 });
			page.jobs.forEach((job) => this.#jobs.heard(job));
		}
		this.arrange();
	}

	/** Shows a job as it is now. */
	refresh(id) {
		this.#deck.refresh(id);
	}

	arrange() {
		const { shows, nothing } = FILTERS[this.#filter];
		const { next, oldest = 0 } = this.#pages.get(this.#filter) ?? {};
		// What another filter brought in from further back than this one has been read would leave gaps.
		const visible = this.#jobs.all().filter((entry) => shows(entry) && entry.order >= oldest);
		const days = new Map();
		for (const entry of visible) {
			const name = day(new Date(entry.order));
			days.set(name, [...(days.get(name) ?? []), this.#deck.show(entry)]);
		}
		place(this.#at("list"), [...days].map(([name, cards]) => this.#day(name, cards)));
		this.#task.className = `task ${this.#jobs.all().length ? "filled" : "empty"}`;
		this.#at("nothing").hidden = visible.length > 0;
		this.#at("nothing").textContent = nothing;
		this.#at("load-more").hidden = !next;
	}

	#at(name) {
		return this.#task.querySelector(`.${name}`);
	}

	#day(name, cards) {
		if (!this.#days.has(name)) {
			const section = $("day-template").content.firstElementChild.cloneNode(true);
			section.firstElementChild.textContent = name;
			this.#days.set(name, section);
		}
		const section = this.#days.get(name);
		place(section.lastElementChild, cards);
		return section;
	}
}
