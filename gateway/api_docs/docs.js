"use strict";
(() => {
  const token = document.getElementById("token");
  const filter = document.getElementById("filter");

  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const operation of document.querySelectorAll(".operation")) {
      operation.hidden = !operation.dataset.text.includes(wanted);
    }
  });

  function target(form) {
    let path = form.dataset.path;
    const query = new URLSearchParams();
    for (const input of form.querySelectorAll("input[data-in]")) {
      if (input.dataset.in === "path") {
        path = path.replace("{" + input.name + "}", encodeURIComponent(input.value));
      } else if (input.dataset.in === "query" && input.value !== "") {
        query.append(input.name, input.value);
      }
    }
    return query.size ? path + "?" + query : path;
  }

  function headers(body) {
    const sent = {};
    const credential = token.value.trim();
    if (credential) {
      // An access token is a JWT: three parts with dots between.
      if (credential.split(".").length === 3) sent["Authorization"] = "Bearer " + credential;
      else sent["X-API-Key"] = credential;
    }
    if (body) sent["Content-Type"] = "application/json";
    return sent;
  }

  function shown(text) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }

  async function send(form) {
    const result = form.querySelector(".result");
    const area = form.querySelector("textarea");
    const body = area && area.value.trim() ? area.value : undefined;
    const started = performance.now();
    result.textContent = "…";
    try {
      const answer = await fetch(target(form), {
        method: form.dataset.method, headers: headers(body), body, credentials: "omit",
      });
      const text = await answer.text();
      const took = Math.round(performance.now() - started);
      result.textContent = answer.status + " in " + took + " ms\n\n" + shown(text);
    } catch (error) {
      result.textContent = "No answer: " + error.message;
    }
  }

  for (const form of document.querySelectorAll("form")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form);
    });
  }
})();
