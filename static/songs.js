// All songs this page knows: what the server says of each, and the upload it comes from if that was started here.
//
// An entry is {id, job, upload, order, state, isPlayable, result}. A song gets its id from its content, so a file
// has the id of its upload until the server has told which song it is.

import { isActive } from "./entries.js";
import { splitName } from "./format.js";
import { Jobs, isEnded } from "./jobs.js";
import { archivePath } from "./separate-api.js";

const born = (job) => Date.parse(job.created_at);

/** Whether an answer tells less than what is known: they can overtake each other. */
function isOld(job, known) {
	if (!known) return false;
	return born(job) < born(known) || (born(job) === born(known) && job.revision < known.revision);
}

export class Songs extends Jobs {
	#removed = new Map(); // id -> when the song that was removed had been submitted

	heard(job) {
		const known = this.get(job.id);
		const sent = this.#sentAs(job);
		if (!sent && (isOld(job, known?.job) || this.#removed.get(job.id) >= born(job))) return;
		const isAnother = !known || born(job) > born(known.job);
		if (sent) this.#arrived(sent, job, known);
		const order = sent?.order ?? (isAnother ? born(job) : known.order);
		this.update(job.id, order, { job, order, ...(sent && { upload: { ...sent.upload, result: null } }) });
	}

	remove(id) {
		const { job } = this.get(id) ?? {};
		if (job) this.#removed.set(id, born(job));
		super.remove(id);
	}

	sending(upload) {
		// What is over by now can't be what comes of it, unless the server says so.
		if (upload.state === "sending") upload.over ??= new Map([...this.#removed, ...this.all().filter(({ job }) => isEnded(job)).map(({ id, job }) => [id, born(job)])]);
		super.sending(upload);
	}

	/** The upload, if any, that the server took as this song. An answer from before it was sent knows but an old one. */
	#sentAs(job) {
		const isIt = ({ hash, isEnqueued }, over) => hash === job.hash && !(isEnqueued && born(job) <= over?.get(job.id));
		return this.all().find(({ job: its, upload }) => !its && upload?.result && isIt(upload.result, upload.over) && [job.model, undefined].includes(upload.options.model));
	}

	#arrived(sent, job, known) {
		this.#removed.delete(job.id);
		super.remove(sent.id);
		this.dispatchEvent(new CustomEvent("arrived", { detail: { from: sent.id, to: job.id, isKnown: known?.job.created_at === job.created_at } }));
	}

	derive(entry) {
		const { job } = entry;
		const tracks = job?.tracks.filter(({ is_mix, removed }) => !is_mix && !removed) ?? [];
		return {
			state: isActive(super.derive(entry)) && job && job.phase !== "waiting" ? "working" : super.derive(entry).state,
			isPlayable: Boolean(job?.master_url && tracks.some(({ playlist_url: url }) => url)),
			result: isEnded(job) && job.archive_url && tracks.length
				? { url: archivePath(job.archive_url, "mp3"), name: `${splitName(job.song_name)[0]}.zip` }
				: null,
		};
	}
}
