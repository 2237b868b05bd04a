// Before the first paint, so that the page does not flash in the other colours.
try {
  document.documentElement.dataset.theme = localStorage.getItem("twin.theme") || "";
} catch {
  // a browser that keeps nothing shows the colours of the device
}
