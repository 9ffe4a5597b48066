// The stems of a song side by side: which segments all of them have, and the few that are decoded just now.
//
// Events: "change" (there is more, or a track is gone), "sound" ({name, startSample, buffer} was decoded), "failed".

import { dispensable, gridOf } from "./mix-plan.js";
import { Gone, HlsReel, Undecodable, WavReel } from "./mix-reel.js";

const POLL_MS = 2000;
const AGAIN_MS = 1000;

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

export class Tape extends EventTarget {
	#context;
	#reels;
	#sounds = new Map();
	#needed = [];
	#loading = null; // {number, stop}: one segment of all stems at a time
	#isOver = false;
	#timer = null;
	starts = [0];
	/** Nothing more will come. */
	isWhole = false;
	/** Names of the tracks that went away. */
	lost = new Set();
	/** Whether the server couldn't be reached the last time. */
	isCutOff = false;

	/** `tracks` are {name, playlist, wav}, the latter null while it isn't there; nothing is fetched before `open`. */
	constructor(context, tracks) {
		super();
		this.#context = context;
		this.#reels = new Map(tracks.map((track) => [track.name, { track, reel: new HlsReel(context, track.playlist) }]));
	}

	open() {
		return this.#learn();
	}

	close() {
		this.#isOver = true;
		clearTimeout(this.#timer);
		this.#loading?.stop.abort();
		this.#sounds.clear();
	}

	/** The numbers of the segments that are decoded. */
	get decoded() {
		return [...this.#sounds.keys()];
	}

	/** A decoded segment, {name: AudioBuffer}, or undefined. */
	get(number) {
		return this.#sounds.get(number);
	}

	/** Sees to these segments, the first one first, and lets go of what isn't needed any more. */
	want(numbers) {
		this.#needed = numbers;
		for (const number of dispensable(this.#sounds.keys(), numbers)) this.#sounds.delete(number);
		if (this.#loading && !numbers.includes(this.#loading.number)) this.#loading.stop.abort();
		this.#loadNext();
	}

	/** Takes a track out: it isn't waited for any more. */
	drop(name) {
		if (this.#reels.delete(name)) this.lost.add(name);
		this.#measure();
	}

	/** Goes on with the finished WAV files, where HLS can't be decoded; false where they aren't there yet. */
	#useFiles() {
		const tracks = [...this.#reels.values()];
		if (!tracks.every(({ track, reel }) => track.wav && reel instanceof HlsReel)) return false;
		for (const entry of tracks) entry.reel = new WavReel(this.#context, entry.track.wav);
		this.#sounds.clear();
		this.#learn();
		return true;
	}

	async #learn() {
		clearTimeout(this.#timer);
		const looks = [...this.#reels].map(async ([name, { reel }]) => {
			try {
				await reel.learn();
				return true;
			} catch (error) {
				if (error instanceof Gone) this.drop(name);
				return error instanceof Gone;
			}
		});
		this.isCutOff = (await Promise.all(looks)).includes(false);
		if (this.#isOver) return;
		this.#measure();
		if (!this.isWhole) this.#timer = setTimeout(() => this.#learn(), POLL_MS);
	}

	// What all stems have. Their playlists may be read before and after a segment was added.
	#measure() {
		const reels = [...this.#reels.values()].map(({ reel }) => reel);
		const shortest = reels.map(({ seconds }) => seconds).sort((a, b) => a.length - b.length)[0] ?? [];
		this.starts = gridOf(shortest, this.#context.sampleRate);
		this.isWhole = reels.every(({ isWhole }) => isWhole);
		this.dispatchEvent(new Event(reels.length ? "change" : "failed"));
	}

	async #loadNext() {
		const number = this.#needed.find((each) => !this.#sounds.has(each));
		if (this.#loading || this.#isOver || number === undefined) return;
		const stop = new AbortController();
		this.#loading = { number, stop };
		try {
			const sounds = await this.#load(number, stop.signal);
			if (!stop.signal.aborted && !this.#isOver) this.#take(number, sounds);
		} catch (error) {
			if (error instanceof Undecodable && !this.#isOver && !this.#useFiles()) return this.#fail(error);
			if (!stop.signal.aborted) {
				this.isCutOff = !(error instanceof Undecodable);
				await pause(AGAIN_MS);
			}
		}
		this.#loading = null;
		this.#loadNext();
	}

	async #load(number, signal) {
		const names = [...this.#reels.keys()];
		const sounds = await Promise.all(names.map(async (name) => {
			try {
				return await this.#reels.get(name).reel.sound(number, signal);
			} catch (error) {
				if (!(error instanceof Gone)) throw error;
				this.drop(name);
				return null;
			}
		}));
		return Object.fromEntries(names.map((name, i) => [name, sounds[i]]).filter(([, sound]) => sound));
	}

	#take(number, sounds) {
		this.isCutOff = false;
		this.#sounds.set(number, sounds);
		for (const [name, buffer] of Object.entries(sounds)) {
			this.dispatchEvent(new CustomEvent("sound", { detail: { name, startSample: this.starts[number], buffer } }));
		}
		this.dispatchEvent(new Event("change"));
	}

	#fail(error) {
		this.close();
		this.dispatchEvent(new CustomEvent("failed", { detail: error }));
	}
}
