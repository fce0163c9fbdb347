// Draws scenes as environments give them (env/src/scene.rs) on a canvas. It knows neither episodes nor pages, so that whoever
// has scenes as JSON can use it.

/** The colours of a page: the custom properties --paint-* and --role-* of its root, by the name after the prefix. */
function coloursOf(root) {
  const style = getComputedStyle(root);
  return (kind, name) => style.getPropertyValue(`--${kind}-${name}`).trim() || "gray";
}

/** Makes a canvas as fine as the screen for its size on the page; its context then counts in pixels of the page. */
function fitCanvas(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const density = window.devicePixelRatio || 1;
  const [wide, high] = [Math.max(1, Math.round(width * density)), Math.max(1, Math.round(height * density))];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Pictures by their URL, as many as a page shows one after the other while it waits for them. */
const pictures = new Map();
const PICTURES_MAX = 64;
/** By the place of a shape in its scene, the picture that was drawn last. */
const shownPictures = [];

/** The picture of this URL, or the one before it at its place as long as it is not there; `again` is called when it is. */
function pictureOf(url, place, again) {
  let picture = pictures.get(url);
  if (!picture) {
    picture = new Image();
    pictures.set(url, picture);
    if (pictures.size > PICTURES_MAX) pictures.delete(pictures.keys().next().value);
    picture.src = url;
    picture.addEventListener("load", again);
  }
  // One that cannot be decoded is complete without a width: nothing is drawn.
  if (picture.complete) shownPictures[place] = picture.naturalWidth > 0 ? picture : null;
  return shownPictures[place];
}

/** Draws shapes of a plane of this size as large as they fit into width and height, in the middle. `again` is called when what could not
 * be drawn yet can be. */
function drawShapes(context, [planeWidth, planeHeight], shapes, width, height, colour, again) {
  const scale = Math.min(width / planeWidth, height / planeHeight);
  context.save();
  context.translate((width - scale * planeWidth) / 2, (height - scale * planeHeight) / 2);
  context.scale(scale, scale);
  context.lineCap = "round";
  for (const [place, shape] of shapes.entries()) {
    const [kind, its] = Object.entries(shape)[0];
    context.fillStyle = context.strokeStyle = colour("paint", its.paint);
    context.beginPath();
    switch (kind) {
      case "rectangle":
        roundedRectangle(context, its.corner, its.size, its.radius);
        context.fill();
        break;
      case "line":
        context.lineWidth = its.width;
        context.moveTo(...its.from);
        context.lineTo(...its.to);
        context.stroke();
        break;
      case "circle":
        context.arc(...its.centre, Math.max(0, its.radius), 0, 2 * Math.PI);
        context.fill();
        break;
      case "polygon":
        its.points.forEach((point) => context.lineTo(...point));
        context.closePath();
        context.fill();
        break;
      case "picture": {
        const picture = pictureOf(its.png, place, again);
        if (picture) context.drawImage(picture, ...its.corner, ...its.size);
        break;
      }
    }
  }
  context.restore();
}

/** Not `roundRect`, which browsers before 2023 lack. */
function roundedRectangle(context, [x, y], [width, height], radius) {
  const r = Math.max(0, Math.min(radius, width / 2, height / 2));
  context.moveTo(x + r, y);
  context.arcTo(x + width, y, x + width, y + height, r);
  context.arcTo(x + width, y + height, x, y + height, r);
  context.arcTo(x, y + height, x, y, r);
  context.arcTo(x, y, x + width, y, r);
  context.closePath();
}
