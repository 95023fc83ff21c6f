"use strict";

(() => {
  const mount = document.getElementById("swagger-ui");

  // A token is often copied with the name of its scheme, which Swagger UI would put before it once more.
  const bare = (given) => (typeof given === "string" ? given.trim().replace(/^bearer\s+/i, "") : given);

  const withBareTokens = (given) =>
    Object.fromEntries(Object.entries(given).map(([name, one]) => [name, { ...one, value: bare(one.value) }]));

  const bareTokens = () => ({
    statePlugins: {
      auth: { wrapActions: { authorize: (authorize) => (given) => authorize(withBareTokens(given)) } },
    },
  });

  SwaggerUIBundle({
    domNode: mount,
    url: mount.dataset.document,
    layout: "BaseLayout",
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [bareTokens],
    deepLinking: true,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: 0,
    // Nothing goes to other servers, and no token stays in the browser.
    validatorUrl: null,
    persistAuthorization: false,
  });
})();
