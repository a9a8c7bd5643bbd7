//! MCP itself, as the crate `rmcp` speaks it: nobody else in the house knows that crate.
//!
//! The hub has no capabilities to offer a server: what it asks of a model (sampling) or of a user (elicitation) is
//! refused, and there are no roots.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ClientRequest,
    ContentBlock, Implementation, PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ResourceContents,
    ServerResult,
};
use rmcp::service::{
    NotificationContext, Peer, PeerRequestOptions, RequestHandle, RoleClient, RunningService, ServiceError,
    serve_client_with_ct,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::process::Group;
use super::{Answer, Fault, Link, Listed, Reach, ServerSettings};
use crate::tools::Alive;

/// One message of a server. What is longer is dropped, and its call ends by its time limit.
const MESSAGE_BYTES: usize = 4 << 20;
/// What stands for content that the hub does not know.
const UNKNOWN: &str = "[content of a kind that cannot be shown]";
/// Of a list of tools.
const PAGES: usize = 32;

type Signs = Arc<Mutex<HashMap<ProgressToken, Alive>>>;

/// What a server may tell or ask.
struct Ear {
    signs: Signs,
    changed: Arc<Notify>,
}

impl rmcp::ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        let hub = Implementation::new("switchboard", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), hub)
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alive) = signs.get(&progress.progress_token) {
            alive.sign();
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

struct Connection {
    peer: Peer<RoleClient>,
    signs: Signs,
    changed: Arc<Notify>,
    /// Fired to end the connection, and when it has ended.
    stop: CancellationToken,
    gone: CancellationToken,
    group: Option<Group>,
}

/// Connects and shakes hands.
///
/// # Errors
/// A sentence for the log: nothing of it holds a secret.
pub(super) async fn connect(settings: &ServerSettings) -> Result<Arc<dyn Link>, String> {
    let (signs, changed, stop) = (Signs::default(), Arc::new(Notify::new()), CancellationToken::new());
    let ear = Ear { signs: signs.clone(), changed: changed.clone() };
    let (service, group) = match &settings.reach {
        Reach::Program { program, arguments, directory, environment, .. } => {
            let program = (program.as_str(), arguments.as_slice());
            let (service, group) = of_program(ear, &stop, &settings.name, program, directory, environment).await?;
            (service, Some(group))
        }
        Reach::Http { url, bearer } => (of_url(ear, &stop, url, bearer.as_ref()).await?, None),
    };
    let peer = service.peer().clone();
    let gone = CancellationToken::new();
    let ended = gone.clone();
    tokio::spawn(async move {
        let _ = service.waiting().await;
        ended.cancel();
    });
    Ok(Arc::new(Connection { peer, signs, changed, stop, gone, group }))
}

async fn of_program(
    ear: Ear,
    stop: &CancellationToken,
    name: &str,
    program: (&str, &[String]),
    directory: &Path,
    environment: &[(String, SecretString)],
) -> Result<(RunningService<RoleClient, Ear>, Group), String> {
    let (group, stdout, stdin) = Group::start(name, program, directory, environment)?;
    let transport = AsyncRwTransport::new_client(stdout, stdin).with_max_line_length(MESSAGE_BYTES);
    let served = serve_client_with_ct(ear, transport, stop.clone()).await;
    let service = served.map_err(|error| format!("it does not shake hands: {error}"))?;
    Ok((service, group))
}

async fn of_url(
    ear: Ear,
    stop: &CancellationToken,
    url: &str,
    bearer: Option<&SecretString>,
) -> Result<RunningService<RoleClient, Ear>, String> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    config.max_sse_event_size = MESSAGE_BYTES;
    if let Some(bearer) = bearer {
        config = config.auth_header(bearer.expose_secret());
    }
    let transport = StreamableHttpClientTransport::from_config(config);
    let served = serve_client_with_ct(ear, transport, stop.clone()).await;
    served.map_err(|error| format!("it does not shake hands: {error}"))
}

fn fault(error: &ServiceError) -> Fault {
    match error {
        ServiceError::McpError(said) => Fault::Refused(format!("the server refused: {}", said.message)),
        ServiceError::TransportClosed | ServiceError::TransportSend(_) => {
            Fault::Broken("the connection to the server broke".into())
        }
        _ => Fault::Refused("the server did not answer as it should".into()),
    }
}

/// A request that was sent. Dropped before its answer, it is cancelled at the server.
struct Sent {
    handle: Option<RequestHandle<RoleClient>>,
    signs: Signs,
    token: ProgressToken,
}

impl Sent {
    async fn answer(&mut self) -> Result<ServerResult, ServiceError> {
        let Some(handle) = &mut self.handle else { return Err(ServiceError::UnexpectedResponse) };
        let answer = (&mut handle.rx).await;
        self.handle = None;
        answer.map_err(|_| ServiceError::TransportClosed)?
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
        if let (Some(handle), Ok(runtime)) = (self.handle.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(handle.cancel(Some("the call was aborted".to_owned())));
        }
    }
}

impl Link for Connection {
    fn list(&self) -> BoxFuture<'static, Result<Listed, Fault>> {
        let peer = self.peer.clone();
        async move {
            let (mut listed, mut cursor) = (Vec::new(), None);
            for _ in 0..PAGES {
                let page = PaginatedRequestParams::default().with_cursor(cursor);
                let page = peer.list_tools(Some(page)).await.map_err(|error| fault(&error))?;
                listed.extend(page.tools.into_iter().map(|tool| {
                    let schema = Value::Object((*tool.input_schema).clone());
                    (tool.name.into_owned(), tool.description.unwrap_or_default().into_owned(), schema)
                }));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            Ok(listed)
        }
        .boxed()
    }

    fn call(
        &self,
        tool: String,
        arguments: Map<String, Value>,
        alive: Alive,
    ) -> BoxFuture<'static, Result<Answer, Fault>> {
        let (peer, signs) = (self.peer.clone(), self.signs.clone());
        async move {
            let params = CallToolRequestParams::new(tool).with_arguments(arguments);
            let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
            let handle = peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
            let handle = handle.map_err(|error| fault(&error))?;
            let token = handle.progress_token.clone();
            signs.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), alive);
            let mut sent = Sent { handle: Some(handle), signs, token };
            match sent.answer().await.map_err(|error| fault(&error))? {
                ServerResult::CallToolResult(result) => Ok(answer(result)),
                _ => Err(Fault::Refused("the server wants more than a call may give".to_owned())),
            }
        }
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let changed = self.changed.clone();
        async move { changed.notified().await }.boxed()
    }

    fn closed(&self) -> BoxFuture<'static, ()> {
        self.gone.clone().cancelled_owned().boxed()
    }

    fn end(&self) {
        self.stop.cancel();
        if let Some(group) = &self.group {
            group.end();
        }
    }
}

/// What a model can read of a result.
fn answer(result: CallToolResult) -> Answer {
    let mut pieces: Vec<String> = result.content.into_iter().map(text_of).collect();
    if let (true, Some(structured)) = (pieces.is_empty(), &result.structured_content) {
        pieces.push(structured.to_string());
    }
    Answer { text: pieces.join("\n"), is_error: result.is_error.unwrap_or_default() }
}

fn text_of(content: ContentBlock) -> String {
    let unseen = |what: &str, kind: &str, bytes: usize| format!("[{what} of type {kind}, {bytes} bytes of base64]");
    match content {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => unseen("an image", &image.mime_type, image.data.len()),
        ContentBlock::Audio(audio) => unseen("a recording", &audio.mime_type, audio.data.len()),
        ContentBlock::Resource(resource) => match resource.resource {
            ResourceContents::TextResourceContents { text, .. } => text,
            ResourceContents::BlobResourceContents { mime_type, blob, .. } => {
                unseen("a file", mime_type.as_deref().unwrap_or("unknown"), blob.len())
            }
            _ => UNKNOWN.to_owned(),
        },
        ContentBlock::ResourceLink(link) => format!("[{}]", link.uri),
        _ => UNKNOWN.to_owned(),
    }
}
