// The page's elements: found by id, and written to.

export const $ = (id) => document.getElementById(id);

/** Points an icon at a picture of the sprite. */
export function setIcon(element, name) {
	element.querySelector("use").setAttribute("href", `#i-${name}`);
}

/** Loads a style sheet; one that can't be had is done without. */
export function loadStyle(href) {
	return new Promise((resolve) => {
		const link = document.createElement("link");
		Object.assign(link, { rel: "stylesheet", href, onload: resolve, onerror: resolve });
		document.head.append(link);
	});
}

/** Writes only what differs, so that screen readers and selections are left alone. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}
