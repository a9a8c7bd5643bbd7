// The native wire of Switchboard. Made from crates/protocol by its own test: do not edit.

/**
 * Something that can be done.
 */
export type Action = { id: string, name: string, description: string, category: string,
/**
 * Whether it is only shown, unless `skipPreview` says that the caller has seen it.
 */
requiresPreview: boolean,
/**
 * JSON Schema of the input.
 */
inputSchema: JsonValue,
/**
 * Kinds of things it is done to; empty: nothing in particular.
 */
entityTypes: Array<string>,
/**
 * Seconds in which it can be undone; absent: it cannot.
 */
undoSeconds?: number, };

export type ActionExecute = { actionId: string,
/**
 * As the action's schema wants it; `{}` where it is left out.
 */
input?: { [key in string]: JsonValue }, entityType?: string, entityId?: string,
/**
 * The caller has seen what it does.
 */
skipPreview?: boolean, idempotencyKey?: string, };

export type ActionList = {
/**
 * Only those for things of this kind.
 */
entityType?: string, };

export type ActionOutcome = { status: ActionStatus, preview?: ActionPreview,
/**
 * The record of what was done.
 */
executionId?: string, result?: JsonValue, error?: string,
/**
 * Until when it can be undone.
 */
undoUntil?: string, };

/**
 * What an action would do.
 */
export type ActionPreview = { actionId: string, name: string,
/**
 * One line for a human.
 */
summary: string, risks: Array<string>, input: JsonValue, entityType?: string, entityId?: string,
/**
 * The request as it would be sent: method, address and body, without secrets.
 */
request?: JsonValue,
/**
 * What the action itself says about it.
 */
details?: JsonValue, };

export type ActionStatus = "preview_required" | "pending" | "executing" | "completed" | "failed" | "undone" | "unknown";

export type ActionTarget = { actionId: string,
/**
 * As the action's schema wants it; `{}` where it is left out.
 */
input?: { [key in string]: JsonValue }, entityType?: string, entityId?: string, };

export type ActionUndo = { actionId: string, entityType?: string, entityId?: string,
/**
 * The execution meant; without it the latest on that entity that can still be undone.
 */
executionId?: string, };

export type ActionUndone = { success: boolean,
/**
 * Which execution was undone.
 */
executionId: string, };

export type Agent = { id: string, description: string, provider: string, model: string, tools: Array<string>,
/**
 * Kinds of entities that it serves.
 */
entityTypes?: Array<string>, default: boolean, };

export type AgentGet = { agent: string, };

export type AgentState = "idle" | "thinking" | "responding" | "calling_tool" | "awaiting_approval" | "stopping";

/**
 * `agent.status_changed`.
 */
export type AgentStatusChanged = { sessionId: string, agent: string, status: AgentState, turnId?: string, };

export type ApprovalDetails = { tool: string, summary: string, risks: Array<string>,
/**
 * The exact arguments, whole.
 */
input: JsonValue,
/**
 * The same as canonical JSON: one spelling, and what would not be seen is escaped.
 */
arguments: string,
/**
 * SHA-256 of the tool's name, a line break and `arguments`, in hexadecimal: what an answer is bound to.
 */
digest: string,
/**
 * How an answer may be kept; empty: not at all.
 */
remember: Array<RuleScope>, };

export type ApprovalList = { sessionId?: string, cursor?: string, limit?: number, };

/**
 * A question to a human about one tool call.
 */
export type ApprovalRequest = { requestId: string, correlationId: string, sessionId: string, turnId: string, toolCallId: string, toolName: string, request: ApprovalDetails, state: ApprovalState, requestedAt: string,
/**
 * When silence becomes a denial.
 */
deadline: string, };

/**
 * `tool.approval_resolved`. `by` is absent where the clock, a stop or a disconnect decided.
 */
export type ApprovalResolved = { requestId: string, sessionId: string, toolCallId: string, approved: boolean, state: ApprovalState, reason?: string, by?: string, at: string, };

export type ApprovalResponse = { requestId: string, approved: boolean, reason?: string,
/**
 * Keep the answer as a rule, for the very same arguments.
 */
remember?: boolean, };

/**
 * An answer that is kept: it decides the next such call in a turn of its user with that agent.
 */
export type ApprovalRule = { id: string, agent: string, tool: string, scope: RuleScope, approved: boolean,
/**
 * The arguments that were seen when it was made; all that counts where the scope is `arguments`.
 */
input: JsonValue,
/**
 * The same as canonical JSON.
 */
arguments: string, digest: string,
/**
 * The question that was answered.
 */
requestId: string, createdAt: string, };

export type ApprovalState = "pending" | "approved" | "denied" | "expired" | "cancelled";

/**
 * An argument of a slash command. `type` is `enum` where `values` are all that it may be, else `string`.
 */
export type ArgInfo = { name: string, type: string, optional: boolean,
/**
 * To complete from.
 */
values?: Array<string>, description: string, };

/**
 * What comes with a message: an address, or bytes in base64.
 */
export type Attachment = { type: AttachmentKind, name: string, mediaType?: string, url?: string, data?: string, };

export type AttachmentKind = "file" | "image";

/**
 * `broadcast`: an administrator says something to everybody on an `org:` channel.
 */
export type Broadcast = {
/**
 * For people.
 */
message: string,
/**
 * For programs: whatever the sender put there.
 */
data?: JsonValue, scope: BroadcastScope,
/**
 * Which administrator of the organization; absent where it comes from the hub's administration.
 */
by?: string, };

/**
 * Who hears a broadcast: one organization, or all of the hub.
 */
export type BroadcastScope = "organization" | "hub";

/**
 * The budget that had no room for a turn. `unit` is `tokens` or `usd`; the amounts are in it.
 */
export type BudgetRefusal = {
/**
 * Its name in the configuration.
 */
budget: string, unit: string, limit: number, used: number,
/**
 * What calls under way might still use.
 */
held: number,
/**
 * What this turn's call might have used.
 */
asked: number,
/**
 * When the next period begins.
 */
renewsAt: string, };

export type ChannelEvents = { epoch: string, seq: number,
/**
 * False where `since` was given and events after it are gone.
 */
recovered: boolean, events: Array<Event>, };

export type ChannelGet = { channel: string, };

export type ChannelHistory = { channel: string, since?: Position,
/**
 * The newest so many.
 */
limit?: number, };

/**
 * Client to hub.
 */
export type ClientFrame = { "type": "request" } & Request | { "type": "subscribe" } & Subscribe | { "type": "unsubscribe" } & Unsubscribe | { "type": "publish" } & Publish | { "type": "ping" } | { "type": "message" } & FlatMessage | { "type": "approval_response" } & ApprovalResponse;

/**
 * A slash command: `/model gpt-5`, or `model` with its arguments apart.
 */
export type CommandExecute = { sessionId: string, command: string, args?: string, };

/**
 * A slash command that the caller may use.
 */
export type CommandInfo = {
/**
 * Without the slash.
 */
name: string, description: string, aliases: Array<string>, args?: Array<ArgInfo>,
/**
 * `core`, `agent`, `template` (from configuration) or `admin` (for administrators of the hub).
 */
scope: string, };

/**
 * The slash commands; `version` is the same for the same commands.
 */
export type CommandManifest = { commands: Array<CommandInfo>, version: number, };

/**
 * What came of a slash command.
 */
export type CommandResult = { command: string, success: boolean,
/**
 * For people.
 */
message: string,
/**
 * For programs; of a command that failed `code` is a word of the table of errors.
 */
data?: JsonValue, };

export type Deleted = { deleted: boolean, };

export type Empty = Record<symbol, never>;

export type ErrorBody = { code: string, message: string, details?: JsonValue, };

export type ErrorFrame = { code?: string, message: string, channel?: string, id?: string, details?: JsonValue, sessionId?: string, turnId?: string, };

/**
 * `seq` rises by one per channel; a merged event stands for all from `fromSeq` to `seq`.
 */
export type Event = { channel: string, seq: number, fromSeq?: number, epoch: string, event: string, data: JsonValue,
/**
 * Milliseconds since 1970-01-01 UTC.
 */
ts: number, };

/**
 * Flat form: a question to a human.
 */
export type FlatApprovalRequest = { requestId: string, correlationId: string, toolCallId: string, toolName: string, request: ApprovalDetails, sessionId: string, turnId: string, };

export type FlatMessage = { content: string, attachments?: Array<Attachment>,
/**
 * Without it: the caller's own `websocket` session, made if there is none.
 */
sessionId?: string, };

/**
 * What to do when a turn is already running; the agent's own rule where absent.
 */
export type IfRunning = "queue" | "interrupt" | "reject";

export type JsonValue = number | string | boolean | Array<JsonValue> | { [key in string]: JsonValue } | null;

export type ListParams = { cursor?: string,
/**
 * 1 to 200; 50 by default.
 */
limit?: number, };

export type Message = { id: string, sessionId: string, turnId: string, role: Role, state: MessageState,
/**
 * A retry replaced this answer.
 */
superseded?: boolean, userId?: string, provider?: string, model?: string, usage?: Usage, createdAt: string, parts: Array<Part>, };

/**
 * `message.created` and `message.updated`: the whole message.
 */
export type MessageChanged = { message: Message, };

/**
 * Flat form: the turn ended well, or was stopped.
 */
export type MessageComplete = { usage: Usage, sessionId: string, turnId: string, };

export type MessageList = { sessionId: string,
/**
 * A message id; older ones are given.
 */
before?: string, limit?: number, };

export type MessageRetry = { sessionId: string,
/**
 * Without it: the newest turn that ended.
 */
turnId?: string, model?: string, idempotencyKey?: string, };

export type MessageSend = { sessionId: string, content: string, attachments?: Array<Attachment>, model?: string, ifRunning?: IfRunning,
/**
 * The same key with the same message sends it once, and every try gets the same answer.
 */
idempotencyKey?: string, };

export type MessageSent = { messageId: string, turnId: string, state: TurnState, };

export type MessageState = "queued" | "streaming" | "complete" | "stopped" | "interrupted" | "failed" | "cancelled";

/**
 * Edits a message whose turn still waits.
 */
export type MessageUpdate = { sessionId: string, messageId: string, content: string, };

export type Model = { id: string, provider: string, thinkingLevels: Array<ThinkingLevel>, };

export type ModelUsage = { provider: string, model: string, turns: number, usage: Usage, };

/**
 * A list; `nextCursor` is absent on the last page.
 */
export type Page<T> = { items: Array<T>, nextCursor?: string, };

/**
 * A piece of a message. `index` is its position within the message.
 */
export type Part = { id: string, messageId: string, index: number, } & ({ "type": "text", text: string, } | { "type": "thinking", text: string, } | { "type": "tool_call",
/**
 * The part's own id.
 */
toolCallId: string, name: string, input: JsonValue, state: ToolCallState,
/**
 * The approval that was asked for.
 */
requestId?: string, } | { "type": "tool_result", toolCallId: string, output: string, isError: boolean, } | { "type": "attachment", kind: AttachmentKind, name: string, mediaType?: string, url?: string,
/**
 * Base64.
 */
data?: string, });

/**
 * `part.created`.
 */
export type PartCreated = { part: Part, };

/**
 * `part.updated`: exactly one of `delta` (append it), `text` (replace the text) and `part` (replace the part).
 */
export type PartUpdated = { messageId: string, partId: string, delta?: string, text?: string, part?: Part, };

export type Period = "day" | "week" | "month";

/**
 * Where a client stopped hearing a channel.
 */
export type Position = { epoch: string, seq: number, };

/**
 * Who is on a channel. Above `channels.presence_members` users (100 unless configured) only the count is given.
 */
export type Presence = { count: number, users?: Array<string>, };

/**
 * `presence.joined` and `presence.left`. `userId` is absent above
 * `channels.presence_members` users (100 unless configured).
 */
export type PresenceChanged = { userId?: string, count: number, };

export type Project = { id: string, name: string, createdAt: string, };

export type ProjectCreate = {
/**
 * Unique within the organization; an existing project of that name is returned.
 */
name: string, idempotencyKey?: string, };

export type ProjectGet = { projectId: string, };

export type Publish = { channel: string, event: string, data?: JsonValue, id?: string, };

/**
 * What a `publish` with `id` gives: the event is ordered, not stored.
 */
export type Published = { epoch: string, seq: number, };

/**
 * Proof that a stop stopped.
 */
export type Receipt = {
/**
 * When the upstream request was closed.
 */
closedAt: string,
/**
 * Bytes taken from the upstream after that: always 0.
 */
bytesAfter: number,
/**
 * Bytes of the answer's text that were kept.
 */
keptBytes: number, usage: Usage, };

export type Request = {
/**
 * Chosen by the client, 1 to 128 characters.
 */
id: string, method: string, params?: JsonValue, };

/**
 * Exactly one of `result` and `error`.
 */
export type Response = { id: string, result?: JsonValue, error?: ErrorBody, };

export type Role = "user" | "assistant";

/**
 * Why a model answers.
 */
export type RoutingDecision = { model: string, provider: string, ruleName: string,
/**
 * For people.
 */
reason: string, };

export type RuleRevoke = { ruleId: string, };

/**
 * How far an answer that is kept reaches: the very same arguments, or whatever they are.
 */
export type RuleScope = "arguments" | "tool";

/**
 * Hub to client.
 */
export type ServerFrame = { "type": "response" } & Response | { "type": "event" } & Event | { "type": "subscribed" } & Subscribed | { "type": "unsubscribed" } & Unsubscribed | { "type": "pong" } | { "type": "text_delta" } & TextDelta | { "type": "tool_call_start" } & ToolCallStart | { "type": "tool_call_result" } & ToolCallResult | { "type": "approval_request" } & FlatApprovalRequest | { "type": "message_complete" } & MessageComplete | { "type": "error" } & ErrorFrame;

/**
 * A conversation: on the wire it is called a session.
 */
export type Session = { id: string,
/**
 * The caller's own id of it, where the caller made or asked for it by that id, and in lists. Nobody else sees it.
 */
alias?: string, organizationId: string, userId: string, projectId?: string, title: string, state: SessionState, visibility: Visibility, agent: string,
/**
 * Overrides the agent's model.
 */
model?: string, thinkingLevel: ThinkingLevel,
/**
 * Words that routing rules may look for.
 */
tags?: Array<string>,
/**
 * What kind of door began it.
 */
channel?: string,
/**
 * All its turns together.
 */
usage: Usage, createdAt: string, updatedAt: string, };

export type SessionCreate = {
/**
 * An id of the caller's own, 1 to 128 printable characters: the session that the caller calls so and that is not
 * archived, or a new one. From then on it may stand wherever the caller sends a session's id.
 */
sessionId?: string,
/**
 * A project's id or name; one that does not exist is created in the caller's organization.
 */
projectId?: string, title?: string, agent?: string, model?: string, thinkingLevel?: ThinkingLevel, visibility?: Visibility,
/**
 * Words that routing rules may look for, at most 32.
 */
tags?: Array<string>, idempotencyKey?: string, };

export type SessionGet = { sessionId: string, };

/**
 * Who answers in a session, and how.
 */
export type SessionInfo = { provider: string, model: string, thinkingLevel: ThinkingLevel,
/**
 * The levels that the model has.
 */
availableThinkingLevels: Array<ThinkingLevel>, agent: string,
/**
 * Where a rule chose the model.
 */
routingDecision?: RoutingDecision, };

export type SessionList = { projectId?: string, state?: SessionState,
/**
 * Full-text search in the messages.
 */
q?: string, cursor?: string, limit?: number, };

/**
 * The state of a `session:` channel as of one `seq`.
 */
export type SessionSnapshot = { session: Session,
/**
 * The newest ones, oldest first, up to 1 MiB; the half-written answer is among them.
 */
messages: Array<Message>,
/**
 * Whether older messages exist: ask `messages.list` with `before`.
 */
more: boolean, before?: string,
/**
 * The turn at work, or `null`.
 */
turn: Turn | null,
/**
 * The newest turns that ended, oldest first.
 */
turns: Array<Turn>,
/**
 * Turns that wait, in order.
 */
queue: Array<Turn>, approvals: Array<ApprovalRequest>, todos: Array<Todo>, presence: Presence, status: AgentState, };

export type SessionState = "active" | "paused" | "archived";

export type SessionUpdate = { sessionId: string, title?: string, agent?: string,
/**
 * `null` clears the override.
 */
model?: string | null, thinkingLevel?: ThinkingLevel, visibility?: Visibility,
/**
 * The whole list.
 */
tags?: Array<string>, };

/**
 * `session.updated`. `deleted` says that the conversation is gone.
 */
export type SessionUpdated = { session: Session, deleted?: boolean,
/**
 * Where model, agent or thinking level are others than before.
 */
info?: SessionInfo, };

/**
 * The state of a `project:` or `org:` channel: the newest fifty sessions that the whole organization may see.
 */
export type SessionsSnapshot = { sessions: Array<Session>, };

/**
 * Something a model can do in one answer.
 */
export type Skill = { id: string, name: string, description: string, scope: string,
/**
 * JSON Schema of the input.
 */
inputSchema: JsonValue,
/**
 * JSON Schema of the output; without it the output is a text.
 */
outputSchema?: JsonValue, };

export type SkillExecute = { skillId: string,
/**
 * As the skill's schema wants it; `{}` where it is left out.
 */
input?: { [key in string]: JsonValue }, entityType?: string, entityId?: string, idempotencyKey?: string, };

/**
 * A skill's one answer.
 */
export type SkillResult = { skillId: string,
/**
 * A text, or what the skill's output schema says.
 */
output: JsonValue, usage: Usage, provider: string, model: string, };

/**
 * By the kind of the channel.
 */
export type Snapshot = SessionSnapshot | UserSnapshot | SessionsSnapshot;

export type Subscribe = { channels: Array<string>,
/**
 * With it, each channel is answered by `subscribed` and by what was missed.
 */
since?: { [key in string]: Position }, id?: string, };

export type SubscribeOutcome = { subscribed: Array<string>,
/**
 * Error code by channel.
 */
refused: { [key in string]: string }, };

/**
 * The answer to `subscribe` with `since` or `id`. With `recovered` the missed events follow; otherwise `snapshot`,
 * where the channel has one, replaces all that the client holds. The next event is `seq` + 1.
 */
export type Subscribed = { channel: string, epoch: string, seq: number, recovered: boolean, snapshot?: Snapshot, };

/**
 * `system.reload`: the hub has read its configuration once more. What a client remembers of agents, models, tools and
 * commands may be old.
 */
export type SystemReload = { at: string, };

/**
 * Flat form: more of the answer.
 */
export type TextDelta = { delta: string, sessionId: string, turnId: string, };

export type ThinkingLevel = "off" | "minimal" | "low" | "medium" | "high" | "xhigh";

export type Todo = { id: string, content: string, state: TodoState, };

export type TodoInput = {
/**
 * Made where absent.
 */
id?: string, content: string, state?: TodoState, };

export type TodoList = { todos: Array<Todo>, };

export type TodoState = "pending" | "in_progress" | "completed" | "cancelled";

export type TodoUpdate = { sessionId: string,
/**
 * The whole list.
 */
todos: Array<TodoInput>, };

/**
 * `todos.updated`.
 */
export type TodosUpdated = { todos: Array<Todo>, };

export type Tool = { name: string, description: string,
/**
 * JSON Schema of the input.
 */
inputSchema: JsonValue, policy: ToolPolicy, };

/**
 * Flat form: a tool call ended.
 */
export type ToolCallResult = { id: string, name: string, success: boolean, sessionId: string, turnId: string, };

/**
 * Flat form: a tool call begins.
 */
export type ToolCallStart = { id: string, name: string, summary?: string, sessionId: string, turnId: string, };

export type ToolCallState = "requested" | "awaiting" | "approved" | "executing" | "succeeded" | "failed" | "denied" | "expired" | "cancelled" | "unknown";

/**
 * `applied` is false where somebody was first; the rest tells what holds.
 */
export type ToolDecided = { requestId: string, applied: boolean, approved: boolean, state: ApprovalState, by?: string,
/**
 * The rule that this answer was kept as.
 */
ruleId?: string, };

/**
 * Names the approval by `requestId`, or by `toolCallId`.
 */
export type ToolDecision = { sessionId?: string, requestId?: string, toolCallId?: string, reason?: string, remember?: boolean,
/**
 * How far that rule reaches: `arguments` by default.
 */
scope?: RuleScope,
/**
 * Of the question as it was seen: refused with `conflict` where it is another.
 */
digest?: string, };

export type ToolPolicy = "allow" | "ask" | "deny";

export type Turn = { id: string, state: TurnState, messageId: string,
/**
 * The assistant's message.
 */
answerId?: string, userId: string, model?: string, usage?: Usage, receipt?: Receipt, error?: string,
/**
 * Where it failed because of a budget.
 */
refusal?: BudgetRefusal,
/**
 * Why that model answers, where a rule or a fallback chose it.
 */
routingDecision?: RoutingDecision,
/**
 * The turn that this one repeats.
 */
retryOf?: string, createdAt: string, startedAt?: string, endedAt?: string, };

/**
 * `turn.ended`.
 */
export type TurnEnded = { turnId: string, state: TurnState, usage?: Usage, receipt?: Receipt,
/**
 * Why it failed.
 */
error?: string,
/**
 * Where it failed because of a budget.
 */
refusal?: BudgetRefusal, };

export type TurnOutcome = { turnId: string, state: TurnState,
/**
 * Present where an upstream request was closed.
 */
receipt?: Receipt, };

/**
 * `turn.queued`: `position` counts from 1.
 */
export type TurnQueued = { turnId: string, messageId: string, position: number, };

/**
 * `turn.started`: `messageId` is the prompt, `answerId` the message that will hold the answer.
 */
export type TurnStarted = { turnId: string, messageId: string, answerId?: string, model?: string, provider?: string,
/**
 * Why that model answers, where a rule chose it.
 */
routingDecision?: RoutingDecision, };

export type TurnState = "queued" | "running" | "awaiting_approval" | "stopping" | "completed" | "stopped" | "aborted" | "cancelled" | "failed" | "interrupted";

export type TurnTarget = { sessionId: string,
/**
 * Without it: the turn at work.
 */
turnId?: string, };

export type Unsubscribe = { channels: Array<string>, id?: string, };

export type UnsubscribeOutcome = { unsubscribed: Array<string>, };

/**
 * The hub ended a subscription.
 */
export type Unsubscribed = { channel: string, code: string, message: string, };

/**
 * Tokens; `cost` in US dollars where the price is known.
 */
export type Usage = { input: number, output: number, cacheRead: number, cacheWrite: number, total: number, cost?: number, };

export type UsageGet = {
/**
 * `day` by default: the last 24 hours, 7 days or 30 days.
 */
period?: Period, };

export type UsageReport = { period: Period, from: string, to: string, turns: number, usage: Usage, byModel: Array<ModelUsage>, };

/**
 * The state of a `user:` channel: a bounded document.
 */
export type UserSnapshot = {
/**
 * The newest fifty.
 */
sessions: Array<Session>,
/**
 * All that wait for this user, up to a hundred.
 */
approvals: Array<ApprovalRequest>, };

export type Visibility = "private" | "organization";

/** What each method of a `request` takes and gives. */
export interface Methods {
  "projects.create": { params: ProjectCreate; result: Project };
  "projects.list": { params: ListParams; result: Page<Project> };
  "projects.get": { params: ProjectGet; result: Project };
  "sessions.create": { params: SessionCreate; result: Session };
  "sessions.list": { params: SessionList; result: Page<Session> };
  "sessions.get": { params: SessionGet; result: Session };
  "sessions.update": { params: SessionUpdate; result: Session };
  "sessions.archive": { params: SessionGet; result: Session };
  "sessions.pause": { params: SessionGet; result: Session };
  "sessions.resume": { params: SessionGet; result: Session };
  "sessions.delete": { params: SessionGet; result: Deleted };
  "messages.send": { params: MessageSend; result: MessageSent };
  "messages.update": { params: MessageUpdate; result: Message };
  "messages.cancel": { params: TurnTarget; result: TurnOutcome };
  "messages.stop": { params: TurnTarget; result: TurnOutcome };
  "messages.abort": { params: TurnTarget; result: TurnOutcome };
  "messages.retry": { params: MessageRetry; result: MessageSent };
  "messages.list": { params: MessageList; result: Page<Message> };
  "agents.list": { params: Empty; result: Page<Agent> };
  "agents.get": { params: AgentGet; result: Agent };
  "tools.list": { params: Empty; result: Page<Tool> };
  "tools.approve": { params: ToolDecision; result: ToolDecided };
  "tools.reject": { params: ToolDecision; result: ToolDecided };
  "approvals.list": { params: ApprovalList; result: Page<ApprovalRequest> };
  "approvals.rules": { params: ListParams; result: Page<ApprovalRule> };
  "approvals.revoke": { params: RuleRevoke; result: Deleted };
  "todos.get": { params: SessionGet; result: TodoList };
  "todos.update": { params: TodoUpdate; result: TodoList };
  "models.list": { params: Empty; result: Page<Model> };
  "commands.list": { params: Empty; result: CommandManifest };
  "commands.execute": { params: CommandExecute; result: CommandResult };
  "channels.presence": { params: ChannelGet; result: Presence };
  "channels.history": { params: ChannelHistory; result: ChannelEvents };
  "usage.get": { params: UsageGet; result: UsageReport };
  "skills.list": { params: Empty; result: Page<Skill> };
  "skills.execute": { params: SkillExecute; result: SkillResult };
  "actions.list": { params: ActionList; result: Page<Action> };
  "actions.preview": { params: ActionTarget; result: ActionPreview };
  "actions.execute": { params: ActionExecute; result: ActionOutcome };
  "actions.undo": { params: ActionUndo; result: ActionUndone };
}

/** The `data` of each event that has a defined shape. */
export interface Events {
  "message.created": MessageChanged;
  "message.updated": MessageChanged;
  "part.created": PartCreated;
  "part.updated": PartUpdated;
  "session.updated": SessionUpdated;
  "tool.approval_required": ApprovalRequest;
  "tool.approval_resolved": ApprovalResolved;
  "agent.status_changed": AgentStatusChanged;
  "turn.queued": TurnQueued;
  "turn.started": TurnStarted;
  "turn.ended": TurnEnded;
  "todos.updated": TodosUpdated;
  "presence.joined": PresenceChanged;
  "presence.left": PresenceChanged;
  "broadcast": Broadcast;
  "system.reload": SystemReload;
}

/** Every name that only the hub may publish. */
export type EventName =
  | "message.created"
  | "message.updated"
  | "part.created"
  | "part.updated"
  | "session.updated"
  | "tool.approval_required"
  | "tool.approval_resolved"
  | "agent.status_changed"
  | "turn.queued"
  | "turn.started"
  | "turn.ended"
  | "todos.updated"
  | "presence.joined"
  | "presence.left"
  | "broadcast"
  | "system.reload"
  | "host.connected"
  | "host.disconnected"
  | "host.metrics"
  | "host.log"
  | "host.action_started"
  | "host.action_output"
  | "host.action_ended"
  | "alert.firing"
  | "alert.resolved";

/** The `result` of other frames that carried an `id`. */
export interface Outcomes {
  subscribe: SubscribeOutcome;
  unsubscribe: UnsubscribeOutcome;
  publish: Published;
}
