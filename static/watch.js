// Keeps running jobs up to date: server-sent events for a few of them, a poll of the list for all others.
//
// A browser opens six connections to an origin, and each event stream holds one for as long as it is open. So each
// task has few of them, fewer while files are being sent (three at most), and one at most while another task is open.

import { server } from "./api.js";
import { isEnded } from "./jobs.js";

const POLL_MS = 1000;
const IDLE_POLL_MS = 10_000;
const HIDDEN_POLL_MS = 30_000;
const AGAIN_AFTER_MS = 15_000;

export class Watch {
	#task;
	#jobs;
	#api;
	#most;
	#streams = new Map();
	#refusedAt = new Map();
	#timer = null;
	#isPolling = false;
	#isReachable = true;

	/** `task` is the name of the tab, `api` is {asJob, eventsPath, getJob, listJobs}, and `most` tells how many streams may be open now. */
	constructor(task, jobs, api, most) {
		this.#task = task;
		this.#jobs = jobs;
		this.#api = api;
		this.#most = most;
		jobs.addEventListener("change", ({ detail: { entry, before } }) => before?.state === entry.state || this.arrange());
		jobs.addEventListener("remove", () => this.arrange());
		document.addEventListener("visibilitychange", () => this.arrange());
		addEventListener("hashchange", () => this.arrange());
		server.addEventListener("reachable", () => {
			this.#isReachable = true;
			this.#schedule(0);
		});
		server.addEventListener("unreachable", () => { this.#isReachable = false; });
	}

	/** Opens and closes streams for what runs now. */
	arrange() {
		const most = document.hidden ? 0 : Math.min(this.#most(), document.documentElement.dataset.task === this.#task ? 3 : 1);
		const recently = Date.now() - AGAIN_AFTER_MS;
		const open = this.#running().filter(({ id, job }) => job && !(this.#refusedAt.get(id) > recently));
		const wanted = open.slice(0, most).map(({ id }) => id);
		for (const id of this.#streams.keys()) if (!wanted.includes(id)) this.#close(id);
		for (const id of wanted) if (!this.#streams.has(id)) this.#open(id);
		this.#schedule(0);
	}

	#running() {
		return this.#jobs.all().filter(({ job, upload }) => (job ? !isEnded(job) : ["sending", "sent"].includes(upload.state)));
	}

	#open(id) {
		const source = new EventSource(this.#api.eventsPath(id));
		this.#streams.set(id, source);
		source.addEventListener("job", ({ data }) => {
			const job = this.#api.asJob(JSON.parse(data));
			if (isEnded(job)) this.#close(id); // else it would connect again
			this.#jobs.heard(job);
		});
		source.onerror = () => {
			// While it is CONNECTING the browser tries again by itself.
			if (source.readyState === EventSource.CLOSED) {
				this.#close(id);
				this.#refusedAt.set(id, Date.now());
			}
			this.#schedule(POLL_MS);
		};
	}

	#close(id) {
		this.#streams.get(id)?.close();
		this.#streams.delete(id);
	}

	#schedule(delayMs) {
		clearTimeout(this.#timer);
		if (!this.#isPolling) this.#timer = setTimeout(() => this.#poll(), delayMs);
	}

	async #poll() {
		this.#isPolling = true;
		// What can't be reached is told by `server`, and so is when it is back.
		if (this.#isReachable) await this.#catchUp().catch(() => null);
		this.#isPolling = false;
		if (!this.#isReachable) return;
		const isCovered = this.#running().every(({ id }) => this.#streams.get(id)?.readyState === EventSource.OPEN);
		this.#schedule(document.hidden ? HIDDEN_POLL_MS : isCovered ? IDLE_POLL_MS : POLL_MS);
	}

	// Jobs of other clients come into the list this way, too.
	async #catchUp() {
		const { jobs } = await this.#api.listJobs({ limit: 50 });
		for (const job of jobs) this.#jobs.heard(job);
		const told = new Set([...jobs.map(({ id }) => id), ...this.#streams.keys()]);
		// Those being sent from here are not on the server before their first bytes are.
		const rest = this.#running().filter(({ id, upload }) => !told.has(id) && upload?.state !== "sending");
		for (const { id } of rest) {
			const job = await this.#api.getJob(id);
			if (job) this.#jobs.heard(job);
			else this.#jobs.remove(id); // by somebody else
		}
	}
}
