// Numbers and times as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const CODECS = { aac: "AAC", mp3: "MP3", opus: "Opus", flac: "FLAC" };

/** 54321098 -> "54.3 MB". Decimal units, as file managers show them. */
export function bytes(count) {
	const power = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), UNITS.length - 1);
	const value = count / 1000 ** power;
	return `${value.toFixed(power && value < 100 ? 1 : 0)} ${UNITS[power]}`;
}

/** Seconds -> "3:12" or "1:02:03". */
export function clock(seconds) {
	const whole = Math.max(0, Math.floor(seconds || 0));
	const two = (number) => String(number).padStart(2, "0");
	const minutes = Math.floor(whole / 60) % 60;
	const hours = Math.floor(whole / 3600);
	return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}`;
}

/** Seconds that something will still take -> "0:41 left", or "" when that isn't known. */
export const left = (seconds) => (Number.isFinite(seconds) ? `${clock(Math.max(1, Math.ceil(seconds)))} left` : "");

/** "My Song.final.ogg" -> ["My Song.final", ".ogg"]. */
export const splitName = (name) => /^(.+?)(\.\w{1,5})?$/s.exec(name).slice(1).map((part) => part ?? "");

/** A date -> "Today", "Yesterday" or "Monday 16 November 2026". */
export function day(date) {
	const midnight = (moment) => new Date(moment).setHours(0, 0, 0, 0);
	const daysAgo = Math.round((midnight(new Date()) - midnight(date)) / 86_400_000);
	if (daysAgo <= 0) return "Today";
	return daysAgo === 1 ? "Yesterday" : date.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });
}

/** A date -> "14:02". */
export const timeOfDay = (date) => date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/** ("aac", 256000) -> "AAC 256k". */
export function codecName(codec, bitrateBps) {
	const name = CODECS[codec] ?? codec ?? "";
	return bitrateBps ? `${name} ${Math.round(bitrateBps / 1000)}k` : name;
}
