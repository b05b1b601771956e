// Finds the reason for a refusal in the reply that a sender pastes. Nothing
// leaves the page.
"use strict";

(function () {
  const form = document.getElementById("search");
  const box = document.getElementById("reply");
  const answer = document.getElementById("answer");
  const entries = Array.from(document.querySelectorAll("[data-rule]"));
  const relay = document.getElementById("relay");
  const wait = document.getElementById("wait"); // a sender who has to wait once
  const texts = form.dataset;

  const codes = /\b([45]\d\d)?[- ]?\b([45]\.\d{1,3}\.\d{1,3})\b|\b[45]\d\d\b/g;
  // Words of every refusal, which lead to no reason.
  const common = new Set(["helo", "ehlo", "smtp", "mail", "email", "mailserver", "server", "host",
    "hostname", "name", "domain", "address", "error", "reason", "message", "rejected", "refused",
    "denied", "command", "invalid", "wrong", "the", "and", "your", "you", "not"]);

  // Link protection of mail providers encodes the address in its own: %23 and
  // %2523 (Safelinks and others), -23 and -5F (URL Defense 2), * for # (URL Defense 3).
  function decoded(text) {
    for (let i = 0; i < 2; i++) {
      text = text.replace(/%(23|2f|5f|25)/gi, function (_, hex) {
        return String.fromCharCode(parseInt(hex, 16));
      });
    }
    return text.replace(/\/v2\/url\?\S*/g, function (url) {
      return url.replace(/-23/g, "#").replace(/-5f/gi, "_");
    }).replace(/\/\*([a-z_]+)__;/g, "/#$1 ");
  }

  // Mail programs break the lines of a reply and repeat its code in each.
  function plain(text) {
    return decoded(text.toLowerCase()).replace(/&quot;|[\u201c\u201d\u00ab\u00bb]/g, '"')
      .replace(/=\r?\n/g, "")
      .replace(/\s+([45]\d\d[- ])?([45]\.\d{1,3}\.\d{1,3}\s)?/g, " ").trim();
  }

  function linked(text, rule) {
    return new RegExp("[#/]" + rule + "(\\.[a-z]{2})?(\\.html)?($|[^a-z0-9_.-])").test(text);
  }

  // A rule's name counts alone. In a longer text, not_fqdn can mean nothing
  // else, but localhost may be a name in the text.
  function named(text, rule) {
    return text === rule || rule.includes("_") &&
      new RegExp("(^|[^a-z0-9_-])" + rule + "($|[^a-z0-9_-])").test(text);
  }

  function said(text, entry) {
    return entry.dataset.say.split("|").some(function (part) {
      return part !== "" && text.includes(part);
    });
  }

  // Codes decide only where nothing else was pasted.
  function coded(raw) {
    const found = raw.match(codes);
    if (!found || /[\p{L}\p{N}]/u.test(raw.replace(codes, ""))) { return []; }
    const want = found.join(" ").replace(/[- ]+/g, " ").trim();
    return entries.filter(function (e) {
      const own = e.dataset.code;
      return own === want || own.startsWith(want + " ") || own.endsWith(" " + want);
    });
  }

  function worded(text) {
    const words = text.split(/[^\p{L}\p{N}]+/u).filter(function (w) {
      return w.length > 2 && !common.has(w);
    });
    return entries.filter(function (e) {
      const title = e.querySelector("h3").textContent.toLowerCase() + " " + e.dataset.rule;
      return words.length > 0 && words.every(function (w) { return title.includes(w); });
    });
  }

  // find returns the entries that fit, and whether that is sure.
  function find(raw) {
    const text = plain(raw);
    if (linked(text, "wait") || said(text, wait)) { return { hits: [wait], sure: true }; }
    for (const test of [
      function (e) { return linked(text, e.dataset.rule); },
      function (e) { return said(text, e); },
      function (e) { return named(text, e.dataset.rule); }
    ]) {
      const hits = entries.filter(test);
      if (hits.length > 0) { return { hits: hits, sure: true }; }
    }
    if (/\b451[- ]4\.7\.1\b/.test(raw)) { return { hits: [wait], sure: false }; }
    if (/relay(ing)?\b.*\b(denied|not permitted|access)|unable to relay/.test(text)) {
      return { hits: [relay], sure: true };
    }
    const byCode = coded(raw);
    if (byCode.length > 0) { return { hits: byCode, sure: false }; }
    return { hits: worded(text), sure: false };
  }

  function link(entry) {
    return entry.querySelector("a").cloneNode(true);
  }

  function show() {
    const empty = box.value.trim() === "";
    const found = empty ? { hits: [], sure: true } : find(box.value);
    const hits = found.hits;
    for (const e of entries) {
      e.hidden = hits.length > 0 && !hits.includes(e);
      e.classList.toggle("found", hits.length === 1 && hits[0] === e);
    }
    for (const group of document.querySelectorAll(".group")) {
      group.hidden = !group.querySelector("[data-rule]:not([hidden])");
    }
    answer.replaceChildren();
    if (empty) { return; }
    if (hits.length === 1) {
      answer.append((found.sure ? texts.found : texts.maybe) + " ", link(hits[0]));
    } else {
      answer.append(hits.length === 0 ? texts.none : texts.many.replace("%d", String(hits.length)));
    }
  }

  // The other language opens at the same reason.
  function keepPlace() {
    for (const a of document.querySelectorAll("a.lang")) { a.hash = location.hash; }
  }

  let timer = 0;
  box.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(show, 150);
  });
  form.addEventListener("submit", function (event) { event.preventDefault(); show(); });
  window.addEventListener("hashchange", keepPlace);
  keepPlace();
  form.hidden = false;
  show(); // a browser may have kept the text
})();
