// Draws the points of the map: by WebGL where there is one, else on a plain canvas, more slowly and
// just the same.

import { STRIDE } from './cloud.js';

/**
 * Okabe and Ito's colours and Paul Tol's, chosen to be told apart by nearly everybody on light and
 * dark.
 */
export const PALETTE = [
  '#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#999933', '#7d5fd3', '#8c6d4f', '#d23b7b',
  '#44aa99', '#cbb24f', '#aa4499', '#cc6677', '#117733', '#ee8866', '#77aadd', '#a8b52c', '#6d8fa3', '#8a8f98',
];
/** Of outlines. */
export const PLAIN = '#7a6ff0';
/**
 * From little to much, every step lighter than the one before: viridis (Smith and van der Walt)
 * without its darkest and lightest ends.
 */
const SEQUENCE = ['#482878', '#3e4a89', '#31688e', '#26828e', '#1f9e89', '#35b779', '#6ece58', '#b5de2b'];
/** What is so of a point, as bits of its mark. */
export const SELECTED = 1;
export const HIDDEN = 2;
/** Points that are not meant at the moment are this faint. */
const FAINT = 0.13;

const VERTEX = `#version 300 es
layout(location = 0) in vec2 place;
layout(location = 1) in uint group;
layout(location = 2) in uint mark;
uniform vec2 centre;
uniform vec2 scale;
uniform float size;
uniform int only;
uniform bool selecting;
uniform vec3 colours[${PALETTE.length + 1}];
out vec4 colour;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  bool meant = (only < 0 || group == uint(only)) && (!selecting || (mark & ${SELECTED}u) > 0u);
  gl_PointSize = meant && selecting ? size * 1.35 : size;
  colour = vec4(colours[min(group, ${PALETTE.length}u)], meant ? 0.85 : ${FAINT});
  if ((mark & ${HIDDEN}u) > 0u) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
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
 * A painter of a cloud's points on a canvas. `paint(scene)` draws {view, width, height, ratio,
 * size, groups, colours, only, marks, selecting}: view {x, y, scale} (the place in the middle,
 * pixels per unit), sizes in CSS pixels, `groups` a Uint8Array with the number of each point's
 * group, `colours` those of the groups and behind them that of points in none, `only` the number of
 * a group or -1, `marks` a Uint8Array with what is so of each point, or null, `selecting` whether
 * any is selected.
 */
export function painterOn(canvas, cloud) {
  const gl = canvas.getContext('webgl2', { antialias: false, alpha: true });
  return gl ? glPainter(gl, cloud) : plainPainter(canvas.getContext('2d'), cloud);
}

/** Colours of `count` groups that are in order. */
export function sequential(count) {
  return Array.from({ length: count }, (_, i) => {
    const at = count > 1 ? (i * (SEQUENCE.length - 1)) / (count - 1) : 0;
    const [before, share] = [Math.floor(at), at % 1];
    const [from, to] = [before, Math.min(before + 1, SEQUENCE.length - 1)].map((step) => bytesOf(SEQUENCE[step]));
    return `#${from.map((byte, channel) => Math.round(byte + share * (to[channel] - byte)).toString(16).padStart(2, '0')).join('')}`;
  });
}

function glPainter(gl, cloud) {
  const program = programOf(gl);
  const at = (name) => gl.getUniformLocation(program, name);
  const uniforms = { centre: at('centre'), scale: at('scale'), size: at('size'), only: at('only'), selecting: at('selecting') };
  gl.useProgram(program);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const written = buffers(gl, cloud);
  const none = new Uint8Array(cloud.count);
  let coloured = null;
  return ({ view, width, height, ratio, size, groups, colours, only, marks, selecting }) => {
    written.groups(groups);
    written.marks(marks ?? none);
    if (colours !== coloured) {
      coloured = colours;
      gl.uniform3fv(at('colours'), filled(colours).flatMap(channels));
    }
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(uniforms.centre, view.x, view.y);
    gl.uniform2f(uniforms.scale, (2 * view.scale) / width, (-2 * view.scale) / height);
    gl.uniform1f(uniforms.size, size * ratio);
    gl.uniform1i(uniforms.only, only);
    gl.uniform1i(uniforms.selecting, selecting ? 1 : 0);
    gl.drawArrays(gl.POINTS, 0, cloud.count);
  };
}

/**
 * The places as they came from the server, read in place, and a byte each for groups and marks,
 * which are written when they are others.
 */
function buffers(gl, cloud) {
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, cloud.buffer, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, STRIDE, 16);
  const bytes = (location) => {
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, cloud.count, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribIPointer(location, 1, gl.UNSIGNED_BYTE, 0, 0);
    let there = null;
    return (wanted) => {
      if (wanted === there) return;
      there = wanted;
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, wanted);
    };
  };
  return { groups: bytes(1), marks: bytes(2) };
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

function plainPainter(context, cloud) {
  return ({ view, width, height, ratio, size, groups, colours, only, marks, selecting }) => {
    const all = filled(colours);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const box = boxOf(view, width, height);
    cloud.inBox(box, (point, x, y) => {
      const mark = marks?.[point] ?? 0;
      if (mark & HIDDEN) return;
      const meant = (only < 0 || groups[point] === only) && (!selecting || mark & SELECTED);
      context.globalAlpha = meant ? 0.85 : FAINT;
      context.fillStyle = all[Math.min(groups[point], PALETTE.length)];
      context.fillRect((x - view.x) * view.scale + width / 2 - size / 2, (y - view.y) * view.scale + height / 2 - size / 2, size, size);
    });
  };
}

/** The part of the map that is seen. */
export function boxOf({ x, y, scale }, width, height) {
  const [across, down] = [width / scale / 2, height / scale / 2];
  return { left: x - across, top: y - down, right: x + across, bottom: y + down };
}

/** As many colours as there can be groups, the last one being that of points in none. */
const filled = (colours) => Array.from({ length: PALETTE.length + 1 }, (_, i) => (i < colours.length - 1 ? colours[i] : colours.at(-1)));

const bytesOf = (colour) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));

const channels = (colour) => bytesOf(colour).map((byte) => byte / 255);
