"use strict";
(() => {
  const box = document.getElementById("code");
  if (!box) return;
  const form = document.getElementById("code-form");
  const input = form.querySelector("[data-otpauth-digits]");
  const timer = document.getElementById("timer");
  const expired = document.getElementById("expired");
  const resend = document.getElementById("resend");
  const digits = Number(box.dataset.digits);

  // Times are the server's. What its clock says now is what it said when it answered, and the time since.
  const navigation = performance.getEntriesByType("navigation")[0];
  const answered = performance.timeOrigin + (navigation ? navigation.responseStart : performance.now());
  const now = () => Number(box.dataset.now) + Date.now() - answered;
  const left = (name) => Number(box.dataset[name]) - now();
  const clock = (milliseconds) => {
    const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };

  const send = () => {
    if (!form.dataset.sent) form.requestSubmit();
  };

  const take = (text) => {
    const code = text.replace(/[\s-]/g, "");
    if (!new RegExp(`^[0-9]{${digits}}$`).test(code)) return false;
    input.value = code;
    send();
    return true;
  };

  input.addEventListener("input", () => take(input.value));
  input.addEventListener("paste", (event) => {
    if (take(event.clipboardData.getData("text"))) event.preventDefault();
  });

  if (resend) {
    const label = resend.textContent;
    const buttons = [resend, ...document.querySelectorAll("[data-otpauth-resend]")];
    const unlock = () => {
      const wait = left("resendAt");
      for (const button of buttons) button.disabled = wait > 0;
      resend.textContent = wait > 0 ? resend.dataset.text.replace("{time}", clock(wait)) : label;
      if (wait > 0) window.setTimeout(unlock, Math.min(wait, 1000 - ((Date.now() - answered) % 1000)));
    };
    unlock();
  }

  const lapse = () => {
    if (box.dataset.restart) {
      window.location.assign(box.dataset.restart);
      return;
    }
    const held = form.contains(document.activeElement);
    form.hidden = true;
    expired.hidden = false;
    if (resend) {
      resend.classList.replace("btn-link", "btn-primary");
      if (held) resend.focus();
    }
  };

  const tick = () => {
    const rest = left("expiresAt");
    timer.textContent = timer.dataset.text.replace("{time}", clock(rest));
    // A moment later than the server: it must agree.
    if (rest > -1000) window.setTimeout(tick, rest > 0 ? Math.min(rest, 1000 - ((Date.now() - answered) % 1000)) : 1000);
    else lapse();
  };
  if (!form.hidden) tick();

  // WebOTP: the browser asks whether it may read the code out of the text message.
  if ("OTPCredential" in window && !form.hidden) {
    const abort = new AbortController();
    form.addEventListener("submit", () => abort.abort());
    navigator.credentials
      .get({ otp: { transport: ["sms"] }, signal: abort.signal })
      .then((credential) => credential && take(credential.code))
      .catch(() => {});
  }
})();
