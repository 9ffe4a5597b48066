// The task "Separate": songs become stems, which are mixed in the page while they are being made.

import { ask, curlCommand, knock } from "./api.js";
import { $, loadStyle } from "./elements.js";
import { takeChosen } from "./intake.js";
import { List } from "./list.js";
import { announce, copy, toast } from "./notice.js";
import * as api from "./separate-api.js";
import { SeparateOptions } from "./separate-options.js";
import * as words from "./separate-words.js";
import { Songs } from "./songs.js";
import { Watch } from "./watch.js";
import { optionsAfter } from "./words.js";

const DEMO_WAIT_MS = 120_000;
const cardOf = (id) => document.querySelector(`#separate-task .job[data-id="${CSS.escape(id)}"]`);

class Separate {
	#songs = new Songs();
	#options = new SeparateOptions();
	#uploads;
	#playback;
	#list;
	#watch;
	#mixer = null;
	#loading = null;
	#chosenAgain = null; // the failed song whose file is being chosen anew
	#recipient = {
		path: (id, options) => `${api.SEPARATE}?${new URLSearchParams(options)}`,
		changed: (upload) => this.#songs.sending(upload),
		whyBroken: async () => void await knock(),
		resultOf: api.answerOf,
	};

	constructor({ uploads, playback }) {
		this.#uploads = uploads;
		this.#playback = playback;
		const { asJob, eventsPath, listSongs } = api;
		const getJob = (id) => api.getSong(this.#songs.get(id)?.upload?.result?.hash ?? id);
		// One stream at most: the stems come through the same few connections.
		this.#watch = new Watch("separate", this.#songs, { asJob, eventsPath, getJob, listJobs: listSongs }, () => (uploads.inFlight ? 0 : 1));
		this.#list = new List($("separate-task"), this.#songs, listSongs, { acts: this.#acts(), words, isOn: (id) => this.#mixer?.isOn(id) ?? null });
		this.#songs.addEventListener("change", ({ detail: { entry, before } }) => this.#changed(entry, before));
		this.#songs.addEventListener("arrived", ({ detail }) => this.#arrived(detail));
		$("separate-sample").addEventListener("click", () => this.#takeDemo());
		$("separate-file").addEventListener("cancel", () => { this.#chosenAgain = null; });
		takeChosen($("separate-form"), (files) => {
			const again = this.#chosenAgain;
			if (again && files.length) this.#drop(again);
			this.#chosenAgain = null;
			this.take(files, optionsAfter(again && words.errorOf(again), this.#options.chosen));
		});
	}

	async load() {
		await this.#list.load();
		this.#watch.arrange();
	}

	take(files, options = this.#options.chosen) {
		this.#uploads.add(files, options, this.#recipient);
	}

	async #takeDemo() {
		try {
			this.take([await demoSong()]);
		} catch ({ message }) {
			toast(`The demo song couldn’t be loaded. ${message}`);
		}
	}

	#acts() {
		const remove = (entry) => this.#remove(entry);
		return {
			play: (entry) => this.#play(entry),
			save: () => null, // the link itself does it
			link: ({ job }) => copy(job.master_url, "The m3u8 link is copied."),
			cancel: (entry) => this.#cancel(entry),
			retry: (entry) => this.#retry(entry),
			remove,
			"remove-now": remove,
			curl: (entry) => this.#copyCurl(entry),
		};
	}

	async #play(entry) {
		this.#loading ??= this.#loadMixer();
		this.#mixer = await this.#loading;
		await this.#mixer.play(entry);
	}

	async #loadMixer() {
		const [{ Mixer }] = await Promise.all([import("./mixer.js"), loadStyle("/static/mixer.css")]);
		const mixer = new Mixer(this.#playback);
		mixer.addEventListener("change", ({ detail: id }) => this.#songs.get(id) && this.#list.refresh(id));
		mixer.addEventListener("close", ({ detail: id }) => cardOf(id)?.querySelector(".play").focus());
		return mixer;
	}

	async #remove(entry) {
		const hadFocus = document.activeElement.closest(".job")?.dataset.id === entry.id;
		if (entry.job) await api.deleteSong(entry.id); // else the server never heard of it
		this.#drop(entry);
		if (hadFocus) $(this.#songs.all()[0] ? "songs" : "separate-file").focus();
	}

	#drop({ id, upload }) {
		if (upload) this.#uploads.forget(upload.id);
		this.#mixer?.close(id);
		this.#songs.remove(id);
	}

	async #cancel({ id, job, upload }) {
		if (!job && ["queued", "sending"].includes(upload?.state)) return this.#uploads.cancel(upload.id);
		const song = await api.deleteSong(id);
		if (song) this.#songs.heard(song);
		else this.#watch.arrange();
	}

	/** A song that is sent again is separated anew; what failed needn't be removed for that. */
	#retry(entry) {
		if (entry.upload) {
			this.#drop(entry);
			this.take([entry.upload.file], optionsAfter(words.errorOf(entry), entry.upload.options));
		} else {
			this.#chosenAgain = entry;
			$("separate-file").click();
		}
	}

	#copyCurl(entry) {
		const { model, overlap, shifts, precision, lost_seconds } = entry.job ?? {};
		const errors = lost_seconds ? "tolerate" : "";
		const options = entry.job ? { model, overlap: String(overlap), shifts: String(shifts), precision, errors } : entry.upload.options;
		return copy(curlCommand("curl", api.SEPARATE, options, words.nameOf(entry)), "The curl command is copied.");
	}

	/** A file has become a song: its card takes the place of the upload's. */
	#arrived({ from, to, isKnown }) {
		const hadFocus = document.activeElement.closest(".job")?.dataset.id === from;
		if (isKnown) toast("This song is in the list already.");
		// Once the song is in the list.
		queueMicrotask(() => {
			if (isKnown) cardOf(to)?.scrollIntoView({ block: "nearest" });
			if (hadFocus) cardOf(to)?.querySelector(".job-actions button:not([hidden])")?.focus();
		});
	}

	#changed(entry, before) {
		// The list as it was found is no news; what changes later is.
		const news = before || entry.upload ? words.news(entry, before) : "";
		if (news) announce(news);
		if (entry.job) this.#mixer?.learn(entry);
	}
}

/** A song of drums, bass, chords and a voice, as a file that might have been chosen: static/demo has its story. */
async function demoSong() {
	const reply = await ask("/static/demo/song.mp3", { cache: "default", signal: AbortSignal.timeout(DEMO_WAIT_MS) });
	if (!reply.ok) throw new Error("This server hasn’t got it.");
	return new File([await reply.blob()], "Demo song.mp3", { type: "audio/mpeg" });
}

/** Opens the task: its form comes from the server, too, since it does nothing without scripts. */
export async function open(shared) {
	const [page] = await Promise.all([fetch("/static/separate.html"), loadStyle("/static/separate.css")]);
	if (!page.ok) throw new Error(`the form answered ${page.status}`);
	$("separate-task").innerHTML = await page.text();
	const separate = new Separate(shared);
	separate.load();
	return separate;
}
