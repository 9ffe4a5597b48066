// A few seconds of music made in the browser: plucked chords, broken upwards and down again.

const RATE = 44_100;
const NOTE_SECONDS = 0.16;
const CHORDS = [
	[45, 57, 64, 69, 72, 76, 72, 69], // A minor
	[41, 53, 60, 65, 69, 76, 69, 65], // F major 7
	[48, 55, 60, 64, 67, 76, 67, 64], // C major
	[43, 55, 62, 67, 71, 74, 71, 67], // G major
];
const NOTES = CHORDS.flatMap((chord) => [...chord, ...chord]);
const TAIL_SECONDS = 2.4;

/** Adds a plucked string (Karplus and Strong): a burst of noise runs around a delay line and grows dull. */
function pluck([leftSound, rightSound], start, note, pan) {
	const line = Float32Array.from({ length: Math.round(RATE / (440 * 2 ** ((note - 69) / 12))) }, () => Math.random() * 2 - 1);
	const count = Math.min(Math.round(RATE * 2.4), leftSound.length - start);
	for (let i = 0; i < count; i += 1) {
		const at = i % line.length;
		const fade = Math.min(1, (count - i) / 4000);
		leftSound[start + i] += line[at] * (1 - pan) * fade;
		rightSound[start + i] += line[at] * pan * fade;
		line[at] = 0.498 * (line[at] + line[(at + 1) % line.length]);
	}
}

function wav([leftSound, rightSound]) {
	const bytes = leftSound.length * 4;
	const header = new Uint8Array(44);
	const view = new DataView(header.buffer);
	header.set(new TextEncoder().encode("RIFF    WAVEfmt                     data"));
	[[4, 36 + bytes], [16, 16], [20, 0x2_0001], [24, RATE], [28, RATE * 4], [32, 0x10_0004], [40, bytes]]
		.forEach(([offset, value]) => view.setUint32(offset, value, true)); // 0x20001: PCM, two channels; 0x100004: 16 bit
	const loudest = leftSound.reduce((most, value, i) => Math.max(most, Math.abs(value), Math.abs(rightSound[i])), 0);
	const samples = new Int16Array(leftSound.length * 2);
	for (let i = 0; i < samples.length; i += 1) samples[i] = ((i % 2 ? rightSound : leftSound)[i >> 1] / loudest) * 29_000;
	return [header, samples];
}

/** A WAV file of about thirteen seconds. */
export function sampleSong() {
	const frames = Math.round((NOTES.length * NOTE_SECONDS + TAIL_SECONDS) * RATE);
	const sound = [new Float32Array(frames), new Float32Array(frames)];
	NOTES.forEach((note, i) => pluck(sound, Math.round(i * NOTE_SECONDS * RATE), note, 0.5 + 0.32 * Math.sin(i * 0.8)));
	return new File(wav(sound), "Sample arpeggio.wav", { type: "audio/wav" });
}
