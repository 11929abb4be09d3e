// Only comfort: without it the page shows everything and the language switch works.
(() => {
  "use strict";
  const root = document.documentElement;
  const choose = (lang) => {
    document.getElementById("lang-" + lang).checked = true;
    root.lang = lang === "zh" ? "zh-CN" : "en";
  };
  for (const lang of ["en", "zh"]) {
    document.getElementById("lang-" + lang).addEventListener("change", () => choose(lang));
  }
  const asked = /^#(en|zh)$/.exec(location.hash);
  if (asked) choose(asked[1]);
  else if (root.dataset.ask === "reader") choose(/^zh/i.test(navigator.language || "") ? "zh" : "en");
})();
