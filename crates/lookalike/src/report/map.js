const canvas = document.querySelector("#map canvas");
const bytes = Uint8Array.from(atob(canvas.dataset.dots), (letter) => letter.charCodeAt(0));
const dots = new DataView(bytes.buffer);
// The golden angle: neighbouring numbers get colours far apart.
const colour = (label) => (label === 65535 ? "#888" : `hsl(${(label * 137.5) % 360} 65% 50%)`);
for (const span of document.querySelectorAll("#labels span")) {
  span.style.setProperty("--colour", colour(Number(span.dataset.label)));
}
const side = (canvas.width = canvas.height = 1600);
const context = canvas.getContext("2d");
const size = Math.max(2, Math.min(8, 400 / Math.sqrt(dots.byteLength / 6)));
context.globalAlpha = 0.6;
for (let at = 0; at < dots.byteLength; at += 6) {
  context.fillStyle = colour(dots.getUint16(at + 4, true));
  const [x, y] = [dots.getUint16(at, true), dots.getUint16(at + 2, true)];
  context.fillRect((x / 65535) * side - size / 2, (y / 65535) * side - size / 2, size, size);
}
