// The task "Convert": files come back in another format. What is made lives in this page, the server keeps nothing.

import { curlCommand, knock } from "./api.js";
import { ConvertOptions } from "./convert-options.js";
import * as words from "./convert-words.js";
import { CONVERT, Conversions, askProgress, isUnsaved } from "./conversions.js";
import { Deck, place } from "./deck.js";
import { $ } from "./elements.js";
import { takeChosen } from "./intake.js";
import { announce, copy } from "./notice.js";
import { optionsAfter } from "./words.js";

const POLL_MS = 500;

/** The file that came back: {name, size, url, type, lostSeconds}. */
function resultOf(request) {
	const { response } = request;
	const [, plain = "converted"] = /filename="((?:\\.|[^"\\])*)"/i.exec(request.getResponseHeader("Content-Disposition")) ?? [];
	const [, encoded] = /filename\*=UTF-8''([^;]+)/i.exec(request.getResponseHeader("Content-Disposition")) ?? [];
	const name = encoded ? decodeURIComponent(encoded) : plain.replace(/\\(.)/g, "$1");
	const lostSeconds = Number(request.getResponseHeader("X-Lost-Seconds"));
	return { name, size: response.size, url: URL.createObjectURL(response), type: response.type, lostSeconds };
}

/** Whether the server has it and hasn't answered yet. Asked later it would know nothing of it. */
const isUnderway = ({ state, isSent, isAnswered }) => state === "sending" && isSent && !isAnswered;

class Convert {
	#conversions = new Conversions();
	#options = new ConvertOptions($("convert-form"));
	#uploads;
	#playback;
	#deck;
	#poll = null;
	#asking = new Map();
	#recipient = {
		path: (id, options) => `${CONVERT}?${new URLSearchParams({ conversion_id: id, ...options })}`,
		changed: (upload) => this.#conversions.changed(upload),
		whyBroken: async () => void await knock(),
		resultOf,
	};

	constructor({ uploads, playback }) {
		this.#uploads = uploads;
		this.#playback = playback;
		this.#deck = new Deck(this.#conversions, { acts: this.#acts(), words, isOn: (id) => playback.isOn(id) });
		playback.addEventListener("change", ({ detail: id }) => this.#deck.refresh(id));
		this.#conversions.addEventListener("change", ({ detail: { entry, before } }) => this.#changed(entry, before));
		this.#conversions.addEventListener("remove", () => this.#arrange());
		addEventListener("beforeunload", (event) => this.#conversions.all().some(isUnsaved) && event.preventDefault());
		this.#arrange();
		takeChosen($("convert-form"), (files) => this.take(files));
	}

	take(files) {
		if (this.#options.check()) this.#uploads.add(files, this.#options.chosen, this.#recipient);
	}

	#acts() {
		const remove = (entry) => this.#remove(entry);
		return {
			play: ({ id, upload: { result } }) => this.#playback.play({ id, path: result.url, isFile: true, title: result.name }),
			save: ({ id }) => this.#conversions.saved(id), // the link itself does it
			cancel: ({ id }) => this.#uploads.cancel(id),
			retry: (entry) => this.#retry(entry),
			remove,
			"remove-now": remove,
			curl: ({ upload }) => copy(curlCommand("curl -fOJ", CONVERT, upload.options, upload.file.name), "The curl command is copied."),
		};
	}

	#remove({ id, upload }) {
		this.#playback.of(id)?.stop();
		this.#conversions.remove(id);
		this.#uploads.forget(id);
		if (upload.result) URL.revokeObjectURL(upload.result.url);
		$(this.#conversions.all().length ? "conversions" : "convert-file").focus();
	}

	#retry(entry) {
		this.#remove(entry);
		const { file, options, error } = entry.upload;
		this.#uploads.add([file], optionsAfter(error, options), this.#recipient);
	}

	#changed(entry, before) {
		if (!isUnderway(entry.upload)) this.#asking.get(entry.id)?.abort();
		if (before?.state === entry.state) return;
		announce(words.news(entry));
		this.#arrange();
		this.#poll ??= setTimeout(() => this.#follow(), 0);
	}

	#arrange() {
		const entries = this.#conversions.all();
		place($("conversion-list"), entries.map((entry) => this.#deck.show(entry)));
		$("convert-task").className = `task ${entries.length ? "filled" : "empty"}`;
	}

	/** Asks how far the server is with what it has, for as long as there is anything. */
	async #follow() {
		await Promise.all(this.#conversions.all().map((entry) => this.#ask(entry)));
		const isRunning = this.#conversions.all().some(({ upload }) => upload.state === "sending" || (upload.state === "queued" && upload.againAt));
		this.#poll = isRunning ? setTimeout(() => this.#follow(), POLL_MS) : null;
	}

	async #ask({ id, upload }) {
		if (upload.againAt) this.#deck.refresh(id); // it counts down
		if (!isUnderway(upload)) return;
		const asking = new AbortController();
		this.#asking.set(id, asking);
		const told = await askProgress(id, asking.signal);
		this.#asking.delete(id);
		if (told && isUnderway(upload)) this.#conversions.heard(id, told);
	}
}

/** Opens the task; what comes in by dropping and pasting goes to `take(files)`. */
export const open = (shared) => new Convert(shared);
