"use strict";
(() => {
  // A page that the browser kept may be of a login that is over.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload();
  });

  // A second tap on a button sends nothing more.
  for (const form of document.querySelectorAll("form[data-otpauth-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) {
        event.preventDefault();
        return;
      }
      form.dataset.sent = "yes";
      form.setAttribute("aria-busy", "true");
    });
  }
})();
