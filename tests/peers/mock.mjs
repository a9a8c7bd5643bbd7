// A strict mock of the OpenAI and Anthropic APIs with answers that tests know. Prints `ready http://127.0.0.1:PORT`;
// ends with its standard input.

import { LLMock } from "@copilotkit/aimock";

const mock = new LLMock({ port: 0, host: "127.0.0.1", chunkSize: 5, strict: true, logLevel: "silent" });
// The first that fits answers: a result stands after the message that led to it.
mock.on({ toolResultContains: "noon" }, { content: "It is noon." });
mock.onMessage("say hello", { content: "Hello there, this is the mock." });
mock.onMessage("think first", { content: "Thought through.", reasoning: "Let me think about it." });
mock.onMessage("use two tools", {
  toolCalls: [
    { name: "time", arguments: { zone: "UTC" } },
    { name: "http_fetch", arguments: { url: "http://example.org/ü" } },
  ],
});
mock.onMessage("fall over", { error: { message: "Overloaded", type: "overloaded_error" }, status: 529 });
await mock.start();
console.log(`ready ${mock.url}`);
process.stdin.on("close", () => process.exit(0)).resume();
