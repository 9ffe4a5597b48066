// Walks along extractions, segment by segment, so that the first seconds are there at once. All walks together ask one
// thing at a time; the one that has the fewest segments goes next.
//
// A walk is {id, step, pieces, isOver, error}; a piece is {number, startSeconds, endSeconds, path}.

import { askSegment, filePath } from "./extract-api.js";

const MOST_WAITS = 20;

const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

/** "change" tells, in its detail, the walk that has gone on. */
export class Walks extends EventTarget {
	#walks = new Map();
	#isWalking = false;

	of(id) {
		return this.#walks.get(id);
	}

	/** Begins a walk, or goes on with one that broke off; `request` is what askSegment takes. */
	start(id, request) {
		const walk = this.of(id) ?? { id, step: request, pieces: [], isDone: false };
		Object.assign(walk, { isOver: walk.isDone, error: null, waits: 0, stopping: new AbortController() });
		this.#walks.set(id, walk);
		this.#tell(walk);
		this.#go();
	}

	/** Ends a walk where it is. */
	stop(id) {
		const walk = this.of(id);
		if (!walk || walk.isOver) return;
		walk.isOver = true;
		walk.stopping.abort();
		this.#tell(walk);
	}

	forget(id) {
		this.stop(id);
		this.#walks.delete(id);
	}

	#tell(walk) {
		this.dispatchEvent(new CustomEvent("change", { detail: walk }));
	}

	#next() {
		const going = [...this.#walks.values()].filter(({ isOver }) => !isOver);
		return going.sort((a, b) => a.pieces.length - b.pieces.length)[0];
	}

	async #go() {
		if (this.#isWalking) return;
		this.#isWalking = true;
		for (let walk = this.#next(); walk; walk = this.#next()) await this.#step(walk);
		this.#isWalking = false;
	}

	async #step(walk) {
		const { signal } = walk.stopping;
		try {
			const told = await askSegment(walk.step, signal);
			if (!signal.aborted) this.#take(walk, told);
		} catch (error) {
			if (signal.aborted) return;
			// What stands in the way of one stands in the way of all, so all wait.
			const mayPass = error.status === 503 || !error.status;
			walk.waits += 1;
			if (mayPass && walk.waits < MOST_WAITS) return pause(error.retrySeconds || 2);
			Object.assign(walk, { isOver: true, error });
		}
		if (!signal.aborted) this.#tell(walk);
	}

	#take(walk, { cursor, audio_file: url, done, start_seconds: start, duration_seconds: seconds }) {
		const number = walk.pieces.length + 1;
		if (url) walk.pieces.push({ number, startSeconds: start, endSeconds: start + seconds, path: filePath(url) });
		walk.step = { ...walk.step, cursor };
		Object.assign(walk, { isDone: done, isOver: done, waits: 0 });
	}
}
