// A real language model of 135 million parameters behind an OpenAI-compatible streaming endpoint.
//
//     node real-llm.mjs MODEL.gguf [PORT]
//
// Prints `ready http://127.0.0.1:PORT/v1`, then `taken N` and `freed N TOKENS` for each request. Ends with its standard
// input. SLOTS: requests at a time (4), one more is refused with 429. FORCE_TOOLS=1: a request that offers tools must
// call the first one, as with tool_choice "required", and answers in words once it has the result; a model this small
// would do neither by itself.

import http from "node:http";
import { getLlama, LlamaChat, LlamaJsonSchemaGrammar } from "node-llama-cpp";

const [modelPath, port = "0"] = process.argv.slice(2);
const slots = Number(process.env.SLOTS ?? 4);
const forceTools = process.env.FORCE_TOOLS === "1";

const llama = await getLlama({ build: "never", gpu: false, maxThreads: 1, logLevel: "error" });
const model = await llama.loadModel({ modelPath });
// One thread: with more they spin on a machine of two cores.
const context = await model.createContext({ contextSize: 2048, sequences: slots, threads: 1 });
let requests = 0;

/** The words of a message's content, which is a string, a list of parts or null. */
function words(content) {
  return typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("");
}

function toHistory(messages) {
  const history = messages.map(({ role, content }) => {
    if (role === "assistant") return { type: "model", response: [words(content)] };
    if (role === "system") return { type: "system", text: words(content) };
    return { type: "user", text: (role === "tool" ? "Tool result: " : "") + words(content) };
  });
  if (history.at(-1).type !== "model") history.push({ type: "model", response: [] });
  return history;
}

/** The tool that must be called, or nothing. */
function forcedTool({ messages, tools, tool_choice: choice }) {
  if (!tools?.length) return undefined;
  if (forceTools && messages.at(-1).role === "tool") return undefined;
  const named = tools.find((tool) => tool.function.name === choice?.function?.name);
  return named ?? (forceTools || choice === "required" ? tools[0] : undefined);
}

/** What a grammar can hold the model to: a property that may be absent and has a pattern is left out. */
function enforceable({ properties = {}, required = [], ...schema }) {
  const kept = Object.entries(properties).filter(([name, { pattern }]) => !pattern || required.includes(name));
  return { ...schema, properties: Object.fromEntries(kept) };
}

function refuse(response, status, type, message) {
  response.writeHead(status, { "content-type": "application/json", "retry-after": "1" });
  response.end(JSON.stringify({ error: { message, type, param: null, code: null } }));
}

async function answer(body, response) {
  const number = ++requests;
  const abort = new AbortController();
  response.on("close", () => abort.abort());
  const sequence = context.getSequence();
  const chat = new LlamaChat({ contextSequence: sequence });
  const head = { id: `chatcmpl-${number}`, object: "chat.completion.chunk", created: Math.floor(Date.now() / 1000), model: "smollm2-135m" };
  const send = (event) => response.write(`data: ${JSON.stringify({ ...head, ...event })}\n\n`);
  const delta = (piece, finish = null) => send({ choices: [{ index: 0, delta: piece, finish_reason: finish }] });
  const tool = forcedTool(body);
  console.log(`taken ${number}`);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  delta({ role: "assistant", content: tool ? null : "" });
  if (tool) {
    delta({ tool_calls: [{ index: 0, id: `call_${number}`, type: "function", function: { name: tool.function.name, arguments: "" } }] });
  }
  try {
    const result = await chat.generateResponse(toHistory(body.messages), {
      maxTokens: body.max_tokens ?? body.max_completion_tokens ?? 128,
      temperature: body.temperature ?? 0.7,
      seed: body.seed,
      grammar: tool && new LlamaJsonSchemaGrammar(llama, enforceable(tool.function.parameters)),
      signal: abort.signal,
      stopOnAbortSignal: true,
      onTextChunk: (text) => delta(tool ? { tool_calls: [{ index: 0, function: { arguments: text } }] } : { content: text }),
    });
    const finish = result.metadata.stopReason === "maxTokens" ? "length" : tool ? "tool_calls" : "stop";
    delta({}, finish);
    const used = sequence.tokenMeter.getState();
    const usage = { prompt_tokens: used.usedInputTokens, completion_tokens: used.usedOutputTokens, total_tokens: used.usedInputTokens + used.usedOutputTokens };
    if (body.stream_options?.include_usage) send({ choices: [], usage });
    response.write("data: [DONE]\n\n");
  } catch (error) {
    send({ error: { message: String(error.message), type: "server_error" } });
  } finally {
    const tokens = sequence.tokenMeter.getState().usedOutputTokens;
    chat.dispose();
    sequence.dispose();
    response.end();
    console.log(`freed ${number} ${tokens}`);
  }
}

const server = http.createServer(async (request, response) => {
  let text = "";
  for await (const piece of request) text += piece;
  if (request.method === "GET") {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ object: "list", data: [{ id: "smollm2-135m", object: "model", created: 0, owned_by: "local" }] }));
    return;
  }
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = {};
  }
  if (!Array.isArray(body.messages) || body.messages.length === 0) {
    refuse(response, 400, "invalid_request_error", "messages: a list of messages is required");
  } else if (!context.sequencesLeft) {
    refuse(response, 429, "rate_limit_error", "all slots are busy");
  } else {
    await answer(body, response);
  }
});

server.listen(Number(port), "127.0.0.1", () => console.log(`ready http://127.0.0.1:${server.address().port}/v1`));
process.stdin.on("close", () => process.exit(0)).resume();
