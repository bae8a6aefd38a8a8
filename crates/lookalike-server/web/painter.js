// Draws the points of the map: by WebGL where there is one, else on a plain canvas, more slowly and just the same.

import { STRIDE } from './cloud.js';

/** Okabe and Ito's colours and Paul Tol's, chosen to be told apart by nearly everybody on light and dark. */
export const PALETTE = [
  '#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#999933', '#7d5fd3', '#8c6d4f', '#d23b7b',
  '#44aa99', '#cbb24f', '#aa4499', '#cc6677', '#117733', '#ee8866', '#77aadd', '#a8b52c', '#6d8fa3', '#8a8f98',
];
/** Points without a label, and all of them where there are too many labels to tell apart. */
export const PLAIN = '#7a6ff0';
/** Points that are not meant at the moment are this faint. */
const FAINT = 0.13;

const VERTEX = `#version 300 es
layout(location = 0) in vec2 place;
layout(location = 1) in uint label;
layout(location = 2) in uint selected;
uniform vec2 centre;
uniform vec2 scale;
uniform float size;
uniform int only;
uniform bool selecting;
uniform vec3 colours[${PALETTE.length + 1}];
out vec4 colour;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  bool meant = (only < 0 || label == uint(only)) && (!selecting || selected > 0u);
  gl_PointSize = meant && selecting ? size * 1.35 : size;
  colour = vec4(colours[min(label, ${PALETTE.length}u)], meant ? 0.85 : ${FAINT});
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 colour;
out vec4 pixel;
void main() {
  float away = length(gl_PointCoord - 0.5) * 2.0;
  float alpha = colour.a * (1.0 - smoothstep(0.75, 1.0, away));
  pixel = vec4(colour.rgb * alpha, alpha);
}`;

/**
 * A painter of a cloud's points on a canvas. `paint(scene)` draws {view, width, height, ratio, size, only, selected}:
 * view {x, y, scale} (the place in the middle, pixels per unit), sizes in CSS pixels, `only` the number of a label or -1,
 * `selected` a Uint8Array with 1 for each selected point, or null.
 */
export function painterOn(canvas, cloud, coloured) {
  const gl = canvas.getContext('webgl2', { antialias: false, alpha: true });
  return gl ? glPainter(gl, cloud, coloured) : plainPainter(canvas.getContext('2d'), cloud, coloured);
}

function glPainter(gl, cloud, coloured) {
  const program = programOf(gl);
  const at = (name) => gl.getUniformLocation(program, name);
  const uniforms = { centre: at('centre'), scale: at('scale'), size: at('size'), only: at('only'), selecting: at('selecting') };
  gl.useProgram(program);
  gl.uniform3fv(at('colours'), coloursOf(coloured).flatMap(channels));
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const marks = buffers(gl, cloud);
  let marked = null;
  return ({ view, width, height, ratio, size, only, selected }) => {
    if (selected !== marked) {
      marked = selected;
      gl.bindBuffer(gl.ARRAY_BUFFER, marks);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, selected ?? new Uint8Array(cloud.count));
    }
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(uniforms.centre, view.x, view.y);
    gl.uniform2f(uniforms.scale, (2 * view.scale) / width, (-2 * view.scale) / height);
    gl.uniform1f(uniforms.size, size * ratio);
    gl.uniform1i(uniforms.only, only);
    gl.uniform1i(uniforms.selecting, selected ? 1 : 0);
    gl.drawArrays(gl.POINTS, 0, cloud.count);
  };
}

/** The points as they came from the server, read in place, and one byte each for whether they are selected. */
function buffers(gl, cloud) {
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, cloud.buffer, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, STRIDE, 16);
  gl.enableVertexAttribArray(1);
  gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_INT, STRIDE, 24);
  const marks = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, marks);
  gl.bufferData(gl.ARRAY_BUFFER, cloud.count, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(2);
  gl.vertexAttribIPointer(2, 1, gl.UNSIGNED_BYTE, 0, 0);
  return marks;
}

function programOf(gl) {
  const program = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`The map cannot be drawn: ${gl.getProgramInfoLog(program)}`);
  return program;
}

function plainPainter(context, cloud, coloured) {
  const colours = coloursOf(coloured);
  return ({ view, width, height, ratio, size, only, selected }) => {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const box = boxOf(view, width, height);
    cloud.inBox(box, (point, x, y) => {
      const label = cloud.label(point);
      const meant = (only < 0 || label === only) && (!selected || selected[point]);
      context.globalAlpha = meant ? 0.85 : FAINT;
      context.fillStyle = colours[label < 0 ? PALETTE.length : Math.min(label, PALETTE.length)];
      context.fillRect((x - view.x) * view.scale + width / 2 - size / 2, (y - view.y) * view.scale + height / 2 - size / 2, size, size);
    });
  };
}

/** The part of the map that is seen. */
export function boxOf({ x, y, scale }, width, height) {
  const [across, down] = [width / scale / 2, height / scale / 2];
  return { left: x - across, top: y - down, right: x + across, bottom: y + down };
}

const coloursOf = (coloured) => [...PALETTE.map((colour) => (coloured ? colour : PLAIN)), coloured ? '#8a8a8a' : PLAIN];

const channels = (colour) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255);
