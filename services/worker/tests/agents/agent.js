// Behaves as the Node.js agent of upstream's operators does: needs `-o` to serve, processes a notification and then
// answers it with 404 and an HTML page, knows SIGINT only, publishes `Result<id>` with the correlator that it was given.

const http = require("http");

if (!process.argv.includes("-o")) {
  console.log("test mode");
  process.exit(0);
}

let brokerURL = process.env.brokerURL;
let correlator;
for (const command of JSON.parse(process.env.adminCfg || "[]")) {
  if (command.command === "CONNECT_BROKER") brokerURL = command.brokerURL;
  if (command.command === "SET_CORRELATORID") correlator = command.correlatorID;
}

function publish(element) {
  const body = JSON.stringify({ contextElements: [element], updateAction: "UPDATE" });
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), "Fiware-Correlator": correlator };
  http
    .request(`${brokerURL}/updateContext`, { method: "POST", headers }, (response) => response.resume())
    .on("error", (error) => console.error(error.message))
    .end(body);
}

http
  .createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => {
      const isJson = (request.headers["content-type"] || "").includes("application/json");
      if (request.method === "POST" && request.url === "/notifyContext" && isJson) {
        for (const { contextElement } of JSON.parse(text).contextResponses) {
          publish({
            entityId: { id: `Result${contextElement.entityId.id}`, type: "Result", isPattern: false },
            attributes: contextElement.attributes,
          });
        }
      }
      if (request.url === "/admin") {
        response.end();
        return;
      }
      response.writeHead(404, { "Content-Type": "text/html; charset=utf-8" });
      response.end(`<!DOCTYPE html><html><body><pre>Cannot ${request.method} ${request.url}</pre></body></html>`);
    });
  })
  .listen(Number(process.env.myport), "0.0.0.0", () => console.log(`agent on ${process.env.myport}`));

process.on("SIGINT", () => process.exit(0));
