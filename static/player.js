// Plays one HLS stream, finished or still growing, through hls.js; where that can't be had, by the browser's own HLS.
//
// Events: "change" (what it does, or for how long), "time" (where it is), "chunk" (sound to be heard soon), "stop".
// `state` is idle, loading, playing, paused, waiting (for sound still being made), ended or failed.

const HLS_SCRIPT = "/static/vendor/hls.min.js";
const NO_HLS = "This browser can’t play HLS by itself, and hls.js isn’t on the server. Open the copied link in VLC.";
const UNDECODABLE = "This browser can’t decode the stream. Try another codec, or open the copied link in VLC.";
const UNPLAYABLE = "This browser can’t play this file. Download it, and open it in VLC.";
const NOT_GROWING = "This browser can’t play what is still being made by itself, and hls.js isn’t on the server. Play it when it is ready, or open the copied link in VLC.";
let script = null;

/** The Hls class, or null where the script is not installed or the browser has no MediaSource. */
async function loadHls() {
	script ??= new Promise((resolve) => {
		const element = document.createElement("script");
		element.src = HLS_SCRIPT;
		element.onload = resolve;
		element.onerror = resolve;
		document.head.append(element);
	});
	await script;
	return window.Hls?.isSupported() ? window.Hls : null;
}

export class Player extends EventTarget {
	#audio;
	#hls = null;
	#turn = 0;
	#edge = 0;
	#wasMended = false;
	source = null;
	state = "idle";
	error = null;

	constructor(audio) {
		super();
		this.#audio = audio;
		const on = (names, listener) => names.split(" ").forEach((name) => audio.addEventListener(name, listener));
		on("playing waiting ended", ({ type }) => this.#become(type));
		on("pause", () => audio.ended || this.state === "failed" || this.#become("paused"));
		on("timeupdate seeking seeked progress", () => this.#tell("time"));
		on("durationchange volumechange", () => this.#tell("change"));
		// hls.js reports and mends the errors of its own media source.
		on("error", () => this.#hls || !audio.getAttribute("src") || this.#fail(this.#whyNot()));
	}

	/** Starts {id, title, path, isGrowing, seconds} from its beginning; `seconds` is its length where that is known, `isFile` says that it is no HLS. */
	async play(source) {
		this.stop();
		this.source = source;
		this.#become("loading");
		const turn = this.#turn;
		const Hls = source.isFile ? null : await loadHls();
		if (turn !== this.#turn) return;
		if (source.isFile) this.#audio.src = source.path;
		else if (Hls) this.#attach(Hls, source.path);
		else if (this.#audio.canPlayType("application/vnd.apple.mpegurl")) this.#audio.src = source.path;
		else this.#fail(NO_HLS);
		if (this.state !== "failed") this.#start();
	}

	#attach(Hls, path) {
		// Growing streams begin at their beginning and not at their edge. What was heard is kept for 90 s: memory stays
		// flat over hours.
		this.#hls = new Hls({ startPosition: 0, backBufferLength: 90 });
		this.#hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
			this.#edge = details.edge;
			this.#tell("change");
		});
		this.#hls.on(Hls.Events.BUFFER_APPENDING, (_, { frag, data }) => {
			this.dispatchEvent(new CustomEvent("chunk", { detail: { startSeconds: frag.start, number: frag.sn, data } }));
		});
		this.#hls.on(Hls.Events.ERROR, (_, error) => error.fatal && this.#hlsFailed(Hls, error));
		this.#hls.loadSource(path);
		this.#hls.attachMedia(this.#audio);
	}

	#whyNot() {
		const { isFile, isGrowing } = this.source;
		if (isFile) return UNPLAYABLE;
		return isGrowing ? NOT_GROWING : UNDECODABLE;
	}

	#start() {
		// Safari forgets the click while the script loads, and wants another one; other failures come as events.
		this.#audio.play().catch(({ name }) => name === "NotAllowedError" && this.#become("paused"));
	}

	#release() {
		this.#turn += 1;
		this.#hls?.destroy();
		this.#hls = null;
		this.#audio.removeAttribute("src");
		this.#audio.load();
	}

	stop() {
		this.#release();
		Object.assign(this, { source: null, error: null });
		this.#edge = 0;
		this.#wasMended = false;
		this.#tell("stop");
		this.#become("idle");
	}

	toggle() {
		if (this.state === "failed") this.play(this.source);
		else if (this.#audio.paused) this.#start();
		else this.#audio.pause();
	}

	get isOn() {
		return ["loading", "playing", "waiting"].includes(this.state);
	}

	get time() {
		return this.#audio.currentTime;
	}

	/** Seconds that exist so far. */
	get madeSeconds() {
		const { seekable } = this.#audio;
		return this.#hls || !seekable.length ? this.#edge : seekable.end(seekable.length - 1);
	}

	/** Seconds it will have: while it grows the length of what was sent, where that is known. */
	get totalSeconds() {
		return this.source.isGrowing ? Math.max(this.source.seconds ?? 0, this.madeSeconds) : this.madeSeconds;
	}

	/** The end of what is buffered around here. */
	get bufferedSeconds() {
		const { buffered, currentTime } = this.#audio;
		for (let i = 0; i < buffered.length; i += 1) {
			if (buffered.start(i) <= currentTime + 0.5 && buffered.end(i) >= currentTime) return buffered.end(i);
		}
		return currentTime;
	}

	/** Takes what is known of the stream now; it goes on playing where it is. */
	learn(news) {
		this.source = { ...this.source, ...news };
		this.#tell("change");
	}

	/** Goes there and returns true, or returns false when that part doesn't exist yet. */
	seek(seconds) {
		if (this.source.isGrowing && seconds > this.madeSeconds) return false;
		// A breath before the end: from there another key can still lead back.
		this.#audio.currentTime = Math.max(0, Math.min(seconds, this.madeSeconds - 0.05));
		if (this.state === "ended") this.#start();
		return true;
	}

	get volume() {
		return this.#audio.muted ? 0 : this.#audio.volume;
	}

	set volume(volume) {
		this.#audio.volume = volume;
		this.#audio.muted = volume === 0;
	}

	toggleMute() {
		this.#audio.muted = !this.#audio.muted;
		if (!this.volume && !this.#audio.muted) this.volume = 0.8;
	}

	/** Ends with a sentence: the stream is no more. */
	giveUp(reason) {
		this.#release();
		this.#fail(reason);
	}

	#tell(name) {
		this.dispatchEvent(new Event(name));
	}

	#become(state) {
		this.state = state;
		this.#tell("change");
	}

	#fail(error) {
		this.error = error;
		this.#become("failed");
	}

	#hlsFailed(Hls, { type, response }) {
		if (type === Hls.ErrorTypes.MEDIA_ERROR && !this.#wasMended) {
			this.#wasMended = true;
			this.#hls.recoverMediaError();
			return;
		}
		const isNetwork = type === Hls.ErrorTypes.NETWORK_ERROR;
		const broken = response?.code === 404 ? "This stream is gone from the server." : "The server can’t be reached. Press play to try again.";
		this.giveUp(isNetwork ? broken : UNDECODABLE);
	}
}
