
(function () {
  var box = document.getElementById("prevalence");
  var out = document.getElementById("needless");
  function show() {
    var share = Number(box.value) / 100;
    var valid = share > 0 && share < 1 && Number(out.dataset.found) > 0;
    var number = out.dataset.flagged * (1 - share) / (out.dataset.found * share);
    out.textContent = valid ? number.toFixed(1) : "not known";
  }
  box.addEventListener("input", show);
})();
