//! Skills as they lie in folders: a `SKILL.md` of the open Agent Skills format, `input.schema.json`, and where the answer
//! is typed `output.schema.json`.

mod front_matter;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::domain::schema::Schema;
use crate::domain::skill::{Skill, TOOL};
use front_matter::FrontMatter;

/// Bytes of a file of a skill.
const LONGEST_FILE: u64 = 256 << 10;
/// Skills of a folder.
const MOST: usize = 500;

/// What a hub can do without a folder.
const OWN: [(&str, &str, &str); 1] =
    [("summarize", include_str!("summarize/SKILL.md"), include_str!("summarize/input.schema.json"))];

/// The hub's own and those of the folder, which beat them by name, in the order of their names. A folder that is not
/// there is an empty one; a skill that cannot be is left out, with a sentence about it.
pub fn read(folder: &Path) -> (Vec<Arc<Skill>>, Vec<String>) {
    let (mut skills, mut sentences) = (BTreeMap::new(), Vec::new());
    let mut add = |what: String, skill: Result<Skill, String>| match skill {
        Ok(skill) => drop(skills.insert(skill.id.clone(), Arc::new(skill))),
        Err(why) => sentences.push(format!("the skill {what} is left out: {why}")),
    };
    for (name, text, input) in OWN {
        add(name.to_owned(), skill(name, text, input, None));
    }
    match names(folder) {
        Ok(names) => {
            for name in names {
                add(folder.join(&name).display().to_string(), from_folder(folder, &name));
            }
        }
        Err(why) => sentences.push(format!("the folder of skills {} cannot be read: {why}", folder.display())),
    }
    (skills.into_values().collect(), sentences)
}

/// The folders that hold a `SKILL.md`, by name.
fn names(folder: &Path) -> Result<Vec<String>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.path().join("SKILL.md").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if names.len() > MOST {
        return Err(format!("{} skills are more than {MOST}", names.len()));
    }
    names.sort();
    Ok(names)
}

fn file(path: &Path) -> Result<String, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let length = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?.len();
    if length > LONGEST_FILE {
        return Err(format!("{name} has {length} bytes; at most {LONGEST_FILE} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))
}

fn from_folder(folder: &Path, name: &str) -> Result<Skill, String> {
    let folder = folder.join(name);
    let (text, input) = (file(&folder.join("SKILL.md"))?, file(&folder.join("input.schema.json"))?);
    let output = folder.join("output.schema.json");
    let output = if output.exists() { Some(file(&output)?) } else { None };
    skill(name, &text, &input, output.as_deref())
}

/// A name as the format has it, short enough for the name of a tool.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64 - TOOL.len()).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

fn skill(folder: &str, text: &str, input: &str, output: Option<&str>) -> Result<Skill, String> {
    let (front, body) = FrontMatter::split(text).map_err(|why| format!("SKILL.md: {why}"))?;
    let field = |name: &str| front.get(name).filter(|text| !text.is_empty());
    let name = field("name").ok_or("SKILL.md: name is missing")?;
    if !is_name(name) {
        let most = 64 - TOOL.len();
        return Err(format!(
            "SKILL.md: name: {name:?} is not 1 to {most} lower-case letters, digits and single hyphens between them"
        ));
    }
    if name != folder {
        return Err(format!("SKILL.md: name: {name:?} is not the folder's, {folder:?}"));
    }
    let description = field("description").ok_or("SKILL.md: description is missing")?;
    if description.chars().count() > 1024 {
        return Err("SKILL.md: description has more than 1024 characters".to_owned());
    }
    if body.trim().is_empty() {
        return Err("SKILL.md: says nothing below its front matter".to_owned());
    }
    let of = |name: &str, text: &str| serde_json::from_str(text).map_err(|error| format!("{name}: not JSON: {error}"));
    let input = of("input.schema.json", input)
        .and_then(|value| Schema::of_object(value).map_err(|why| format!("input.schema.json: {why}")))?;
    let output = output.map(|text| {
        of("output.schema.json", text)
            .and_then(|value| Schema::new(value).map_err(|why| format!("output.schema.json: {why}")))
    });
    let words = |text: &str| text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    Ok(Skill {
        id: name.to_owned(),
        name: field("metadata.title").unwrap_or(name).to_owned(),
        description: description.to_owned(),
        scope: field("metadata.scope").unwrap_or("global").to_owned(),
        permissions: field("metadata.permissions").map(words).unwrap_or_default(),
        agent: field("metadata.agent").map(str::to_owned),
        input,
        output: output.transpose()?,
        instructions: body.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(skills: &'a [Arc<Skill>], id: &str) -> &'a Skill {
        skills.iter().find(|skill| skill.id == id).unwrap_or_else(|| panic!("no {id}"))
    }

    const INPUT: &str = r#"{"type":"object"}"#;

    #[test]
    fn the_hubs_own_are_whole() {
        let (skills, sentences) = read(Path::new("/nowhere/at/all"));
        assert!(sentences.is_empty(), "{sentences:?}");
        let ids: Vec<&str> = skills.iter().map(|skill| skill.id.as_str()).collect();
        assert_eq!(ids, ["summarize"]);
        let own = named(&skills, "summarize");
        assert!(own.instructions.starts_with("# Summarize") && own.permissions.is_empty());
        assert_eq!(own.scope, "global");
        assert!(own.input.check("input", &serde_json::json!({"text": "a"})).is_ok());
        assert!(own.input.check("input", &serde_json::json!({"sentences": 2})).is_err());
    }

    #[test]
    fn a_folder_is_read_and_what_cannot_be_is_left_out_with_its_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, file: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join(name)).expect("made");
            std::fs::write(folder.path().join(name).join(file), text).expect("written");
        };
        let good = "---\nname: translate\ndescription: Translates.\nmetadata:\n  permissions: notes:read, notes:write\n\
             \x20 agent: clerk\n---\nTranslate.\n";
        write("translate", "SKILL.md", good);
        write("translate", "input.schema.json", INPUT);
        write("translate", "output.schema.json", r#"{"type":"string"}"#);
        write("notes", "README.md", "no skill");
        write("other", "SKILL.md", "---\nname: another\ndescription: d\n---\nx");
        write("other", "input.schema.json", INPUT);
        write("bare", "SKILL.md", "---\nname: bare\ndescription: d\n---\nx");
        write("summarize", "SKILL.md", "---\nname: summarize\ndescription: Mine.\n---\nShorter.");
        write("summarize", "input.schema.json", INPUT);
        let (skills, mut sentences) = read(folder.path());
        let ids: Vec<&str> = skills.iter().map(|skill| skill.id.as_str()).collect();
        assert_eq!(ids, ["summarize", "translate"]);
        assert_eq!(named(&skills, "summarize").description, "Mine.");
        let one = named(&skills, "translate");
        assert_eq!(one.permissions, ["notes:read", "notes:write"]);
        assert_eq!((one.agent.as_deref(), one.output.is_some()), (Some("clerk"), true));
        sentences.sort();
        assert_eq!(sentences.len(), 2, "{sentences:?}");
        assert!(sentences[0].contains("bare") && sentences[0].contains("input.schema.json"), "{sentences:?}");
        assert!(sentences[1].contains("other") && sentences[1].contains("is not the folder's"), "{sentences:?}");
    }

    #[test]
    fn a_skill_needs_a_name_a_description_and_something_to_say() {
        let with = |front: &str, body: &str| skill("a-b", &format!("---\n{front}\n---\n{body}"), INPUT, None);
        assert!(with("name: a-b\ndescription: d", "x").is_ok());
        for (front, body) in [
            ("description: d", "x"),
            ("name: a-b", "x"),
            ("name: a-b\ndescription: d", " \n"),
            ("name: A-B\ndescription: d", "x"),
            ("name: a--b\ndescription: d", "x"),
            ("name: -ab\ndescription: d", "x"),
        ] {
            assert!(with(front, body).is_err(), "{front:?} {body:?}");
        }
        assert!(skill("a", "no front matter", INPUT, None).is_err());
        assert!(skill("a", "---\nname: a\ndescription: d\n---\nx", r#"{"type":"string"}"#, None).is_err());
    }
}
