// What sounds when, which segments that takes, and how loud: arithmetic only, of whole samples at the song's rate.
//
// All stems of a song are cut at the same samples, so one grid serves them all: `starts` has the first sample of each
// segment and, last, the end of what there is. A loop is {start, end}, or null.

/** Segments that are kept decoded ahead, for each stem: half a minute. */
export const AHEAD = 4;
export const SILENT_DB = -48; // and below
export const LOUDEST_DB = 6;
export const SHORTEST_LOOP_SECONDS = 0.5;

const MOST_STEPS = 64; // of looking ahead, around a short loop

/** The text of a media playlist -> {init, segments, seconds, isWhole}; addresses are relative to `base`. */
export function readPlaylist(text, base) {
	const lines = text.split(/[\r\n]+/);
	const map = lines.map((line) => /^#EXT-X-MAP:.*?URI="([^"]+)"/.exec(line)?.[1]).find(Boolean);
	const absolute = (uri) => new URL(uri, base).href;
	return {
		init: map ? absolute(map) : null,
		segments: lines.filter((line) => line && !line.startsWith("#")).map(absolute),
		seconds: lines.map((line) => /^#EXTINF:([\d.]+)/.exec(line)?.[1]).filter(Boolean).map(Number),
		isWhole: lines.includes("#EXT-X-ENDLIST"),
	};
}

/** Durations -> the samples at which segments begin. Rounding happens once per joint, so errors don't add up. */
export function gridOf(seconds, rate) {
	const starts = [0];
	let end = 0;
	for (const each of seconds) {
		end += each;
		starts.push(Math.round(end * rate));
	}
	return starts;
}

export const endOf = (starts) => starts.at(-1);

/** The number of the segment, from 0, in which a sample lies; -1 where there is none yet. */
export function segmentAt(starts, sample) {
	if (sample < 0 || sample >= endOf(starts)) return -1;
	let [low, high] = [0, starts.length - 1];
	while (high - low > 1) {
		const middle = (low + high) >> 1;
		if (starts[middle] <= sample) low = middle;
		else high = middle;
	}
	return low;
}

/**
 * What sounds from `sample` on, within one segment: {number, offset, length, next, isCut}, or null where there is
 * nothing yet. `next` is where it goes on; `isCut` says that a loop ends it before its segment ends.
 */
export function spanAt(starts, sample, loop) {
	const number = segmentAt(starts, sample);
	if (number < 0) return null;
	const end = starts[number + 1];
	const isCut = Boolean(loop) && sample < loop.end && loop.end <= end;
	const to = isCut ? loop.end : end;
	return { number, offset: sample - starts[number], length: to - sample, next: isCut ? loop.start : end, isCut };
}

/** The segments that will sound from `sample` on, the next ones first: the one there, and AHEAD more. */
export function wanted(starts, sample, loop) {
	const numbers = new Set();
	let at = sample;
	for (let step = 0; step < MOST_STEPS && numbers.size <= AHEAD; step += 1) {
		const span = spanAt(starts, at, loop);
		if (!span) break;
		numbers.add(span.number);
		at = span.next;
	}
	return [...numbers];
}

/** Of the decoded segments those that can go: all but the wanted ones and the one before, for a step back. */
export function dispensable(have, needed) {
	const kept = new Set([...needed, needed[0] - 1]);
	return [...have].filter((number) => !kept.has(number));
}

/** Marks in seconds -> a loop in samples, or null where they are none or too close together. */
export function loopOf(from, to, rate) {
	if (from === null || to === null || to - from < SHORTEST_LOOP_SECONDS) return null;
	return { start: Math.round(from * rate), end: Math.round(to * rate) };
}

export const gainOf = (db) => (db <= SILENT_DB ? 0 : 10 ** (db / 20));

/** -6 -> "−6 dB". */
export function decibels(db) {
	if (db <= SILENT_DB) return "silent";
	return `${db < 0 ? "−" : db > 0 ? "+" : ""}${Math.abs(db)} dB`;
}

/** The gain of a stem among all: what is muted is silent, and so is what isn't soloed while another one is. */
export function loudness(stem, stems) {
	const isHeard = !stem.isMuted && (stem.isSoloed || !stems.some(({ isSoloed }) => isSoloed));
	return isHeard ? gainOf(stem.volumeDb) : 0;
}
