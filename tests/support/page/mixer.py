"""A mix of stems on the page, in the place of which a test may put one that plays into a buffer."""

RATE = 44100
# Puts a mix of the tracks at `window.mix`; with `offlineSeconds` it plays nowhere, and is rendered.
NEW_MIX = """async ({ tracks, rate, offlineSeconds }) => {
    const { Mix } = await import("/static/mix.js");
    const offline = offlineSeconds ? new OfflineAudioContext(2, offlineSeconds * rate, rate) : undefined;
    window.mix = new Mix(tracks, rate, offline);
    window.most = 0;
    for (const name of ["change", "grown", "sound"]) {
        window.mix.addEventListener(name, () => { window.most = Math.max(window.most, window.mix.decoded.length); });
    }
    await window.mix.open();
}"""
# The left channel of what it was handed, float32 in base64.
RENDER = """async () => {
    const buffer = await window.mix.context.startRendering();
    const bytes = new Uint8Array(buffer.getChannelData(0).buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
}"""
