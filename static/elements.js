// The page's elements: found by id, and written to.

export const $ = (id) => document.getElementById(id);

/** Points an icon at a picture of the sprite. */
export function setIcon(element, name) {
	element.querySelector("use").setAttribute("href", `#i-${name}`);
}

/** Writes only what differs, so that screen readers and selections are left alone. */
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}
