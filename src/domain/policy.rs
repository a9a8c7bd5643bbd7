//! Who may do what: one table, asked by the hub for every door alike.

use super::channel::Channel;
use super::principal::{Principal, Role};
use super::settings::{Settings, Visibility};
use crate::error::Fault;

/// What a command needs, apart from whose conversation it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read lists, agents, tools, models, one's own usage.
    Read,
    /// Begin conversations and projects.
    Create,
    /// Publish to application channels.
    Publish,
}

/// The least role that holds each permission.
pub const PERMISSIONS: &[(Permission, Role)] =
    &[(Permission::Read, Role::Viewer), (Permission::Create, Role::Member), (Permission::Publish, Role::Member)];

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

/// Whether a role is enough.
pub fn require(principal: &Principal, permission: Permission) -> Result<(), Fault> {
    let least = PERMISSIONS.iter().find(|(p, _)| *p == permission).map_or(Role::Owner, |(_, role)| *role);
    match principal.role >= least {
        true => Ok(()),
        false => Err(Fault::forbidden(format!("needs the role {} or more", least.name()))),
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
