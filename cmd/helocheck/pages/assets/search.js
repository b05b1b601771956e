// Finds the reason for a refusal in the reply that a sender pastes. Nothing
// leaves the page.
"use strict";

(function () {
  const form = document.getElementById("search");
  const box = document.getElementById("reply");
  const answer = document.getElementById("answer");
  const entries = Array.from(document.querySelectorAll("[data-rule]"));
  const relay = document.getElementById("relay");
  const texts = form.dataset;

  // Mail programs break the lines of a reply and repeat its code in each.
  function plain(text) {
    return text.toLowerCase().replace(/[\u201c\u201d\u00ab\u00bb]/g, '"')
      .replace(/\s+(\d{3}[- ])?(\d\.\d{1,3}\.\d{1,3}\s)?/g, " ").trim();
  }

  // A rule's name counts as a word of its own: not_fqdn, #not_fqdn, /not_fqdn.html.
  function named(text, rule) {
    return new RegExp("(^|[^a-z0-9_-])" + rule + "($|[^a-z0-9_-])").test(text);
  }

  function said(text, entry) {
    return entry.dataset.say.split("|").some(function (part) {
      return part !== "" && text.includes(part);
    });
  }

  function find(text) {
    for (const test of [
      function (e) { return text.includes("#" + e.dataset.rule + " ") || text.endsWith("#" + e.dataset.rule); },
      function (e) { return said(text, e); },
      function (e) { return named(text, e.dataset.rule); }
    ]) {
      const hits = entries.filter(test);
      if (hits.length > 0) { return hits; }
    }
    if (relay && /relay(ing)?\b.*\b(denied|not permitted|access)|unable to relay/.test(text)) {
      return [relay];
    }
    const words = text.split(/[^\p{L}\p{N}]+/u).filter(function (w) { return w.length > 2; });
    return entries.filter(function (e) {
      const content = e.textContent.toLowerCase();
      return words.length > 0 && words.every(function (w) { return content.includes(w); });
    });
  }

  function link(entry) {
    return entry.querySelector("a").cloneNode(true);
  }

  function show() {
    const text = plain(box.value);
    const hits = text === "" ? [] : find(text);
    for (const e of entries) {
      e.hidden = hits.length > 0 && !hits.includes(e);
      e.classList.toggle("found", hits.length === 1 && hits[0] === e);
    }
    for (const group of document.querySelectorAll(".group")) {
      group.hidden = !group.querySelector("[data-rule]:not([hidden])");
    }
    answer.replaceChildren();
    if (text === "") { return; }
    if (hits.length === 1) {
      answer.append(texts.found + " ", link(hits[0]));
    } else {
      answer.append(hits.length === 0 ? texts.none : texts.many.replace("%d", String(hits.length)));
    }
  }

  let timer = 0;
  box.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(show, 150);
  });
  form.addEventListener("submit", function (event) { event.preventDefault(); show(); });
  form.hidden = false;
  show(); // a browser may have kept the text
})();
