//! Who may do what: one table, asked by the hub for every door alike.

use super::channel::Channel;
use super::ids::OrganizationId;
use super::principal::{Credential, Principal, Role};
use super::settings::{Settings, Visibility};
use crate::error::Fault;

/// Who is enough for an operation, apart from whose thing it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// No credential is asked for.
    Anyone,
    Role(Role),
    /// Whoever administers the whole hub, whatever the role.
    HubAdmin,
}

/// Which credentials are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    Any,
    /// A paired device is for watching, steering and approving; it makes no credentials and administers nothing.
    NoDevice,
    /// A person's own sign-in: no paired device, and no API key either. What it changes would outlive the revocation
    /// of both.
    Person,
}

/// Whose thing an operation concerns: what is looked at once the role is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// The hub itself, or nothing at all.
    Hub,
    /// The caller's own: nobody else's can be named.
    Own,
    /// What all of an organization share.
    Organization,
    /// A conversation, judged by [`conversation`].
    Session(Access),
    /// A channel, judged by [`channel`].
    Channel,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub operation: Operation,
    /// The word in the audit log and in tests; a socket method's own name.
    pub name: &'static str,
    pub least: Least,
    pub through: Through,
    pub resource: Resource,
}

macro_rules! operations {
    ($($operation:ident $name:literal: $least:expr, $through:ident, $resource:expr;)*) => {
        /// Everything that can be asked of the hub, by whatever door.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation { $($operation),* }

        /// The table: an operation without a row cannot be written down.
        pub const RULES: &[Rule] = &[$(Rule {
            operation: Operation::$operation,
            name: $name,
            least: $least,
            through: Through::$through,
            resource: $resource,
        }),*];
    };
}

use Least::{Anyone, HubAdmin};

const VIEWER: Least = Least::Role(Role::Viewer);
const MEMBER: Least = Least::Role(Role::Member);
const ADMIN: Least = Least::Role(Role::Admin);

operations! {
    Health "health": Anyone, Any, Resource::Hub;
    Ready "ready": Anyone, Any, Resource::Hub;
    Page "page": Anyone, Any, Resource::Hub;
    Describe "describe": Anyone, Any, Resource::Hub;
    // Who somebody is may be told later, when connecting to a namespace.
    SocketIo "socketio": Anyone, Any, Resource::Hub;
    SignIn "sign_in": Anyone, Any, Resource::Hub;
    SignOut "sign_out": Anyone, Any, Resource::Own;
    // From the machine itself nobody is asked; everybody else is judged by the next row.
    MetricsHere "metrics.here": Anyone, Any, Resource::Hub;
    Metrics "metrics": HubAdmin, Any, Resource::Hub;
    HealthDetailed "health.detailed": HubAdmin, Any, Resource::Hub;
    WhoAmI "session.get": VIEWER, Any, Resource::Own;
    SetPassword "password.set": VIEWER, Person, Resource::Own;
    TicketCreate "tickets.create": VIEWER, Any, Resource::Own;
    PairingCreate "pairing.create": MEMBER, NoDevice, Resource::Own;
    PairingVerify "pairing.verify": Anyone, Any, Resource::Hub;
    DeviceList "devices.list": VIEWER, Any, Resource::Own;
    DeviceRename "devices.rename": VIEWER, NoDevice, Resource::Own;
    DeviceRevoke "devices.revoke": VIEWER, NoDevice, Resource::Own;
    ConfigGet "config.get": HubAdmin, NoDevice, Resource::Hub;
    ConfigUpdate "config.update": HubAdmin, NoDevice, Resource::Hub;

    Subscribe "channels.subscribe": VIEWER, Any, Resource::Channel;
    Publish "channels.publish": MEMBER, Any, Resource::Channel;
    ProjectCreate "projects.create": MEMBER, Any, Resource::Organization;
    ProjectList "projects.list": VIEWER, Any, Resource::Organization;
    ProjectGet "projects.get": VIEWER, Any, Resource::Organization;
    SessionCreate "sessions.create": MEMBER, Any, Resource::Own;
    SessionList "sessions.list": VIEWER, Any, Resource::Session(Access::Watch);
    SessionGet "sessions.get": VIEWER, Any, Resource::Session(Access::Watch);
    SessionUpdate "sessions.update": MEMBER, Any, Resource::Session(Access::Steer);
    SessionShare "sessions.share": MEMBER, Any, Resource::Session(Access::Govern);
    SessionArchive "sessions.archive": MEMBER, Any, Resource::Session(Access::Govern);
    SessionPause "sessions.pause": MEMBER, Any, Resource::Session(Access::Steer);
    SessionResume "sessions.resume": MEMBER, Any, Resource::Session(Access::Steer);
    SessionDelete "sessions.delete": MEMBER, Any, Resource::Session(Access::Govern);
    MessageSend "messages.send": MEMBER, Any, Resource::Session(Access::Steer);
    MessageUpdate "messages.update": MEMBER, Any, Resource::Session(Access::Steer);
    MessageCancel "messages.cancel": MEMBER, Any, Resource::Session(Access::Steer);
    MessageStop "messages.stop": MEMBER, Any, Resource::Session(Access::Steer);
    MessageAbort "messages.abort": MEMBER, Any, Resource::Session(Access::Steer);
    MessageRetry "messages.retry": MEMBER, Any, Resource::Session(Access::Steer);
    MessageList "messages.list": VIEWER, Any, Resource::Session(Access::Watch);
    TurnGet "turns.get": VIEWER, Any, Resource::Session(Access::Watch);
    AgentList "agents.list": VIEWER, Any, Resource::Organization;
    AgentGet "agents.get": VIEWER, Any, Resource::Organization;
    ToolList "tools.list": VIEWER, Any, Resource::Organization;
    ToolApprove "tools.approve": MEMBER, Any, Resource::Session(Access::Approve);
    ToolReject "tools.reject": MEMBER, Any, Resource::Session(Access::Approve);
    ApprovalList "approvals.list": VIEWER, Any, Resource::Session(Access::Watch);
    RuleList "approvals.rules": VIEWER, Any, Resource::Own;
    RuleRevoke "approvals.revoke": VIEWER, Any, Resource::Own;
    TodoGet "todos.get": VIEWER, Any, Resource::Session(Access::Watch);
    TodoUpdate "todos.update": MEMBER, Any, Resource::Session(Access::Steer);
    ModelList "models.list": VIEWER, Any, Resource::Organization;
    CommandList "commands.list": VIEWER, Any, Resource::Organization;
    // What the command does is judged once more by its own row.
    CommandExecute "commands.execute": MEMBER, Any, Resource::Session(Access::Steer);
    RoutingExplain "routing.explain": VIEWER, Any, Resource::Own;
    Presence "channels.presence": VIEWER, Any, Resource::Channel;
    History "channels.history": VIEWER, Any, Resource::Channel;
    UsageGet "usage.get": VIEWER, Any, Resource::Own;
    // Permissions of skills and actions are looked at where they are known.
    SkillList "skills.list": VIEWER, Any, Resource::Organization;
    SkillExecute "skills.execute": MEMBER, Any, Resource::Organization;
    ActionList "actions.list": VIEWER, Any, Resource::Organization;
    ActionPreview "actions.preview": MEMBER, Any, Resource::Organization;
    ActionExecute "actions.execute": MEMBER, Any, Resource::Organization;
    ActionUndo "actions.undo": MEMBER, Any, Resource::Organization;

    AdminConnectionList "admin.connections.list": ADMIN, NoDevice, Resource::Organization;
    AdminConnectionClose "admin.connections.close": ADMIN, NoDevice, Resource::Organization;
    AdminChannelList "admin.channels.list": ADMIN, NoDevice, Resource::Organization;
    AdminChannelGet "admin.channels.get": ADMIN, NoDevice, Resource::Organization;
    AdminChannelHistory "admin.channels.history": ADMIN, NoDevice, Resource::Organization;
    AdminPublish "admin.publish": ADMIN, NoDevice, Resource::Organization;
    AdminBroadcast "admin.broadcast": ADMIN, NoDevice, Resource::Organization;
    AdminBroadcastAll "admin.broadcast_all": HubAdmin, NoDevice, Resource::Hub;
    AdminSessionList "admin.sessions.list": ADMIN, NoDevice, Resource::Organization;
    AdminSessionRead "admin.sessions.read": ADMIN, NoDevice, Resource::Organization;
    AdminSessionStop "admin.sessions.stop": ADMIN, NoDevice, Resource::Organization;
    AdminSessionAbort "admin.sessions.abort": ADMIN, NoDevice, Resource::Organization;
    AdminApprovalList "admin.approvals.list": ADMIN, NoDevice, Resource::Organization;
    AdminApprovalDecide "admin.approvals.decide": ADMIN, NoDevice, Resource::Organization;
    AdminOrganizationList "admin.organizations.list": HubAdmin, NoDevice, Resource::Hub;
    AdminOrganizationCreate "admin.organizations.create": HubAdmin, NoDevice, Resource::Hub;
    AdminOrganizationDisable "admin.organizations.disable": HubAdmin, NoDevice, Resource::Hub;
    AdminUserList "admin.users.list": ADMIN, NoDevice, Resource::Organization;
    AdminUserCreate "admin.users.create": ADMIN, NoDevice, Resource::Organization;
    AdminUserUpdate "admin.users.update": ADMIN, NoDevice, Resource::Organization;
    AdminUserDisable "admin.users.disable": ADMIN, NoDevice, Resource::Organization;
    // Beside creating and changing users: a password is a way in that outlives what it was set with.
    AdminPasswordSet "admin.users.password": ADMIN, Person, Resource::Organization;
    AdminKeyList "admin.keys.list": ADMIN, NoDevice, Resource::Organization;
    AdminKeyCreate "admin.keys.create": ADMIN, NoDevice, Resource::Organization;
    AdminKeyRevoke "admin.keys.revoke": ADMIN, NoDevice, Resource::Organization;
    AdminDeviceList "admin.devices.list": ADMIN, NoDevice, Resource::Organization;
    AdminDeviceCreate "admin.devices.create": ADMIN, NoDevice, Resource::Organization;
    AdminDeviceRevoke "admin.devices.revoke": ADMIN, NoDevice, Resource::Organization;
    // At the command line; no address makes tokens.
    AdminTokenCreate "admin.tokens.create": HubAdmin, NoDevice, Resource::Hub;
    AdminTokenRevoke "admin.tokens.revoke": ADMIN, NoDevice, Resource::Organization;
    AdminUsage "admin.usage": ADMIN, NoDevice, Resource::Organization;
    AdminReload "admin.reload": HubAdmin, NoDevice, Resource::Hub;
    AdminAudit "admin.audit": ADMIN, NoDevice, Resource::Organization;
}

impl Operation {
    pub fn rule(self) -> &'static Rule {
        &RULES[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.rule().name
    }
}

/// Whether this caller may ask for this at all. Whose thing it is, is looked at where the thing is known.
pub fn allow(principal: &Principal, operation: Operation) -> Result<(), Fault> {
    let rule = operation.rule();
    match (rule.through, &principal.credential) {
        (Through::NoDevice | Through::Person, Credential::Device { .. }) => {
            return Err(Fault::forbidden("a paired device may not do this: sign in"));
        }
        (Through::Person, Credential::ApiKey { .. }) => {
            return Err(Fault::forbidden("an API key may not do this: sign in"));
        }
        _ => {}
    }
    match rule.least {
        Anyone => Ok(()),
        HubAdmin if principal.hub_admin => Ok(()),
        HubAdmin => Err(Fault::forbidden("only administrators of the hub may do this")),
        Least::Role(least) if principal.role >= least => Ok(()),
        Least::Role(least) => Err(Fault::forbidden(format!("needs the role {} or more", least.name()))),
    }
}

/// What one may do to a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// See and hear it.
    Watch,
    /// Send, edit, stop, retry, pause, set.
    Steer,
    /// Archive, delete, choose who sees it.
    Govern,
    /// Answer its approvals.
    Approve,
}

/// In which capacity somebody comes to a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// As one of its users.
    User,
    /// As an administrator, by an operation of the administration, which is written down.
    Administration,
}

/// Whether a principal may administer that organization: its own, or any for whoever administers the hub. Another one
/// does not exist. That the role is enough is the operation's own rule.
pub fn administers(principal: &Principal, organization: &OrganizationId) -> bool {
    principal.organization == *organization || principal.hub_admin
}

/// Whether a principal may do this to that conversation, in that capacity.
pub fn conversation_by(by: By, principal: &Principal, settings: &Settings, access: Access) -> Result<(), Fault> {
    match by {
        By::User => conversation(principal, settings, access),
        By::Administration if !administers(principal, &settings.organization) => Err(Fault::not_found("session")),
        By::Administration if principal.role < Role::Admin => Err(Fault::forbidden("needs the role admin or more")),
        By::Administration => Ok(()),
    }
}

/// Whether a principal may do this to that conversation. What belongs to another organization does not exist.
pub fn conversation(principal: &Principal, settings: &Settings, access: Access) -> Result<(), Fault> {
    if principal.organization != settings.organization {
        return Err(Fault::not_found("session"));
    }
    let own = principal.user == settings.user;
    let shared = settings.visibility == Visibility::Organization;
    if !own && !shared {
        return Err(Fault::forbidden("this session is private"));
    }
    match access {
        Access::Watch => Ok(()),
        _ if principal.role < Role::Member => Err(Fault::forbidden("viewers change nothing")),
        Access::Steer => Ok(()),
        Access::Govern | Access::Approve if own || principal.role >= Role::Admin => Ok(()),
        Access::Govern => Err(Fault::forbidden("only the session's user, admins and owners may do this")),
        Access::Approve => Err(Fault::forbidden("only the session's user, admins and owners may approve")),
    }
}

/// Whether a principal may listen to a channel other than a session's (there the conversation decides).
pub fn channel(principal: &Principal, channel: &Channel) -> Result<(), Fault> {
    match channel {
        Channel::Session(_) => Ok(()),
        Channel::User(user) if *user == principal.user => Ok(()),
        // Another user's channel must not tell whether that user exists.
        Channel::User(_) => Err(Fault::forbidden("not your channel")),
        Channel::Organization(organization) if *organization == principal.organization => Ok(()),
        Channel::Organization(_) => Err(Fault::not_found("channel")),
        Channel::Project(_) | Channel::Application(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_operation_and_has_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for (position, rule) in RULES.iter().enumerate() {
            assert_eq!(rule.operation as usize, position, "{}", rule.name);
            assert!(names.insert(rule.name), "{}", rule.name);
        }
    }
}
