// Plays the stems of a song together, on the clock of one AudioContext that runs at the song's own rate: nothing is
// resampled, a segment begins at the very sample where the one before it ends, and all stems of it begin at once.
//
// `state` is idle, loading, playing, waiting (for what isn't separated yet), paused, ended or failed.
// Events: "change" (what it does), "grown" (there is more, or a track went away), "sound" (as Tape tells it).

import { Head } from "./mix-head.js";
import { endOf, loopOf, loudness, spanAt, wanted } from "./mix-plan.js";
import { Tape } from "./mix-tape.js";

const TICK_MS = 100;
const REST_MS = 200;
const HORIZON_SECONDS = 4; // is handed to the context in advance, since timers of hidden pages are slow
const NOT_YET = "This browser can’t play a song while it is being separated. Open it again once it is ready.";
const NEVER = "This browser can’t decode the stems. Download them, or use another browser.";
const GONE = "The stems are gone from the server.";

/** A context at this rate; where the browser has none of it, one at its own. */
function contextAt(sampleRate) {
	try {
		return new AudioContext({ sampleRate });
	} catch {
		return new AudioContext();
	}
}

export class Mix extends EventTarget {
	#context;
	#head;
	#tape;
	#stems;
	#loop = null;
	#timer = null;
	/** All of the sound goes through here. */
	master;
	state = "idle";
	error = null;

	/** `tracks` are as Tape takes them. */
	constructor(tracks, sampleRate, context = contextAt(sampleRate)) {
		super();
		const names = tracks.map(({ name }) => name);
		this.#context = context;
		this.#stems = new Map(names.map((name) => [name, { volumeDb: 0, isMuted: false, isSoloed: false }]));
		this.master = context.createGain();
		this.master.connect(context.destination);
		this.#head = new Head(context, names, this.master);
		this.#tape = new Tape(context, tracks);
		this.#tape.addEventListener("change", () => this.#grown());
		this.#tape.addEventListener("sound", ({ detail }) => this.dispatchEvent(new CustomEvent("sound", { detail })));
		this.#tape.addEventListener("failed", ({ detail }) => {
			this.giveUp(!detail ? GONE : tracks.every(({ wav }) => wav) ? NEVER : NOT_YET);
		});
	}

	get context() {
		return this.#context;
	}

	/** The numbers of the segments that are decoded just now. */
	get decoded() {
		return this.#tape.decoded;
	}

	/** Names of the tracks that went away. */
	get lost() {
		return this.#tape.lost;
	}

	/** Whether the server couldn't be reached the last time. */
	get isCutOff() {
		return this.#tape.isCutOff;
	}

	/** Whether all of the song is there. */
	get isWhole() {
		return this.#tape.isWhole;
	}

	get isOn() {
		return ["loading", "playing", "waiting"].includes(this.state);
	}

	get madeSeconds() {
		return endOf(this.#tape.starts) / this.#context.sampleRate;
	}

	get time() {
		return this.#head.sample / this.#context.sampleRate;
	}

	/** How a stem is set: {volumeDb, isMuted, isSoloed}. */
	settingOf(name) {
		return this.#stems.get(name);
	}

	/** Looks what there is; plays nothing yet. */
	async open() {
		await this.#tape.open();
	}

	close() {
		this.#stop("idle");
		if (this.#context.state !== "closed") this.#context.close?.();
	}

	play() {
		if (this.isOn || this.state === "failed") return;
		// An offline context can't be resumed: its owner starts it.
		this.#context.resume().catch(() => null);
		const { sample } = this.#head;
		this.#head.jump(this.state === "ended" ? (this.#loop?.start ?? 0) : sample);
		this.#become("loading");
		this.#tick();
	}

	pause() {
		if (!this.isOn) return;
		this.#head.halt();
		this.#become("paused");
		this.#rest();
	}

	toggle() {
		if (this.isOn) this.pause();
		else this.play();
	}

	/** Goes there and returns true, or returns false where that part doesn't exist yet. */
	seek(seconds) {
		const end = endOf(this.#tape.starts);
		const sample = Math.max(0, Math.round(seconds * this.#context.sampleRate));
		if (sample >= end && !this.isWhole) return false;
		const wasEnded = this.state === "ended";
		if (wasEnded) this.state = "paused";
		this.#head.jump(Math.min(sample, Math.max(0, end - 1)));
		if (wasEnded) this.play();
		this.#goOn();
		this.#tell("change");
		return true;
	}

	/** Repeats what is between the marks, in seconds; nulls end that. Returns whether there is a loop now. */
	repeat(from, to) {
		this.#loop = loopOf(from, to, this.#context.sampleRate);
		if (this.isOn) this.#head.splice();
		if (this.#head.next.sample >= this.#loop?.end) this.#head.jump(this.#loop.start);
		this.#goOn();
		return this.#loop !== null;
	}

	/** Changes some of {volumeDb, isMuted, isSoloed} of a stem. */
	adjust(name, setting) {
		Object.assign(this.#stems.get(name), setting);
		this.#balance();
	}

	/** Changes all stems at once. */
	adjustAll(setting) {
		for (const stem of this.#stems.values()) Object.assign(stem, setting);
		this.#balance();
	}

	/** Takes a stem out that is no more. */
	drop(name) {
		this.#tape.drop(name);
	}

	/** Ends with a sentence. */
	giveUp(reason) {
		if (this.state === "failed") return;
		this.error = reason;
		this.#stop("failed");
	}

	#balance() {
		const left = [...this.#stems].filter(([name]) => !this.lost.has(name)).map(([, stem]) => stem);
		for (const [name, stem] of this.#stems) this.#head.level(name, left.includes(stem) ? loudness(stem, left) : 0);
		this.#tell("change");
	}

	#grown() {
		if (this.lost.size) this.#balance();
		this.#goOn();
		this.#tell("grown");
	}

	#goOn() {
		if (this.isOn) this.#tick();
		else this.#look();
	}

	#look() {
		this.#tape.want(wanted(this.#tape.starts, this.#head.sample, this.#loop));
	}

	#tick() {
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => this.#tick(), TICK_MS);
		while (this.#head.secondsAhead < HORIZON_SECONDS && this.#handOver());
		this.#look();
		const { isHeard, next } = this.#head;
		const isAtEnd = next.sample >= endOf(this.#tape.starts);
		if (isHeard) this.#become("playing");
		else if (!isAtEnd) this.#become("loading");
		else if (!this.isWhole) this.#become("waiting");
		else this.#end();
	}

	/** Hands the next span to the head; false where it isn't there. */
	#handOver() {
		const span = spanAt(this.#tape.starts, this.#head.next.sample, this.#loop);
		const sounds = span && this.#tape.get(span.number);
		if (sounds) this.#head.give(span, sounds);
		return Boolean(sounds);
	}

	#end() {
		this.#become("ended");
		this.#rest();
	}

	#stop(state) {
		clearTimeout(this.#timer);
		this.#head.halt();
		this.#tape.close();
		this.#become(state);
	}

	/** The device may sleep, once the last of it has been heard. */
	#rest() {
		clearTimeout(this.#timer);
		setTimeout(() => this.isOn || this.#context.state !== "running" || this.#context.suspend(), REST_MS);
	}

	#tell(name) {
		this.dispatchEvent(new Event(name));
	}

	#become(state) {
		if (state === this.state) return;
		this.state = state;
		this.#tell("change");
	}
}
