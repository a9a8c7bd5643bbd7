//! Skills and actions in wire words: one place for all doors.

use protocol::acting as wire;

use crate::domain::action::{
    Action, ActionAnswer, ActionPreview, ActionWish, Entity, Execution, ExecutionState, UndoWish,
};
use crate::domain::command::{Command, Once};
use crate::domain::ids::ExecutionId;
use crate::domain::skill::{Skill, SkillResult};
use crate::doors::words;
use crate::error::Fault;

pub fn skill(skill: &Skill) -> wire::Skill {
    wire::Skill {
        id: skill.id.clone(),
        name: skill.name.clone(),
        description: skill.description.clone(),
        scope: skill.scope.clone(),
        input_schema: skill.input.value().clone(),
        output_schema: skill.output.as_ref().map(|schema| schema.value().clone()),
    }
}

pub fn skill_result(result: &SkillResult) -> wire::SkillResult {
    wire::SkillResult {
        skill_id: result.skill.clone(),
        output: result.output.clone(),
        usage: words::usage(&result.usage),
        provider: result.provider.clone(),
        model: result.model.clone(),
    }
}

pub fn action(action: &Action) -> wire::Action {
    wire::Action {
        id: action.id.clone(),
        name: action.name.clone(),
        description: action.description.clone(),
        category: action.category.clone(),
        requires_preview: action.requires_preview,
        input_schema: action.input.value().clone(),
        entity_types: action.entity_types.clone(),
        undo_seconds: action.undo_for.and_then(|time| u64::try_from(time / 1000).ok()),
    }
}

pub fn preview(preview: &ActionPreview) -> wire::ActionPreview {
    wire::ActionPreview {
        action_id: preview.action.clone(),
        name: preview.name.clone(),
        summary: preview.summary.clone(),
        risks: preview.risks.clone(),
        input: preview.input.clone(),
        entity_type: preview.entity.as_ref().map(|entity| entity.kind.clone()),
        entity_id: preview.entity.as_ref().map(|entity| entity.id.clone()),
        request: preview.request.clone(),
        details: preview.details.clone(),
    }
}

fn status(state: ExecutionState) -> wire::ActionStatus {
    match state {
        ExecutionState::Pending => wire::ActionStatus::Pending,
        ExecutionState::Executing => wire::ActionStatus::Executing,
        ExecutionState::Completed => wire::ActionStatus::Completed,
        ExecutionState::Failed => wire::ActionStatus::Failed,
        ExecutionState::Undone => wire::ActionStatus::Undone,
        ExecutionState::Unknown => wire::ActionStatus::Unknown,
    }
}

pub fn outcome(answer: &ActionAnswer) -> wire::ActionOutcome {
    match answer {
        ActionAnswer::PreviewRequired(seen) => wire::ActionOutcome {
            status: wire::ActionStatus::PreviewRequired,
            preview: Some(preview(seen)),
            execution_id: None,
            result: None,
            error: None,
            undo_until: None,
        },
        ActionAnswer::Done(execution) => wire::ActionOutcome {
            status: status(execution.state),
            preview: None,
            execution_id: Some(execution.id.to_string()),
            result: execution.result.clone(),
            error: execution.error.clone(),
            undo_until: execution.undo_until.map(|at| at.to_rfc3339()),
        },
    }
}

pub fn undone(execution: &Execution) -> wire::ActionUndone {
    wire::ActionUndone { success: true, execution_id: execution.id.to_string() }
}

/// # Errors
/// `bad_request` with the field of the entity.
pub fn skill_execute(asked: wire::SkillExecute, once: Option<Once>) -> Result<Command, Fault> {
    let entity = Entity::of(asked.entity_type, asked.entity_id)?;
    let input = asked.input.unwrap_or_default().into();
    Ok(Command::SkillExecute { skill: asked.skill_id, input, entity, once })
}

/// # Errors
/// `bad_request` with the field of the entity.
pub fn action_preview(asked: wire::ActionTarget) -> Result<Command, Fault> {
    let entity = Entity::of(asked.entity_type, asked.entity_id)?;
    let input = asked.input.unwrap_or_default().into();
    Ok(Command::ActionPreview(ActionWish { action: asked.action_id, input, entity }))
}

/// # Errors
/// `bad_request` with the field of the entity.
pub fn action_execute(asked: wire::ActionExecute, once: Option<Once>) -> Result<Command, Fault> {
    let entity = Entity::of(asked.entity_type, asked.entity_id)?;
    let wish = ActionWish { action: asked.action_id, input: asked.input.unwrap_or_default().into(), entity };
    Ok(Command::ActionExecute { wish, skip_preview: asked.skip_preview.unwrap_or(false), once })
}

/// # Errors
/// `bad_request` with the field of the entity; what is no id of an execution names none.
pub fn action_undo(asked: wire::ActionUndo) -> Result<Command, Fault> {
    let entity = Entity::of(asked.entity_type, asked.entity_id)?;
    let execution = asked.execution_id.as_deref().map(ExecutionId::parse).transpose();
    let execution = execution.map_err(|_| Fault::not_found("execution"))?;
    Ok(Command::ActionUndo(UndoWish { action: asked.action_id, entity, execution }))
}
