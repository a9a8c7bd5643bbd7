//! Finding messages by their words. What is indexed and what is asked for are cut into words by the same function here,
//! so that both backends find the same and a user's text is never read as a query language.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::connection::AnyConnection;
use super::fault::{JobFault, StoreFault};
use super::rows::id;
use super::schema::{message_index, part};
use crate::domain::ids::{ConversationId, MessageId, OrganizationId, UserId};

/// Bytes of a message that are searched. PostgreSQL refuses vectors of more than 1 MiB.
const INDEXED_BYTES: usize = 256 * 1024;
/// Words of a question that count.
const ASKED_WORDS: usize = 16;
/// Bytes a single word may have; PostgreSQL ignores words over 2 KiB.
const WORD_BYTES: usize = 512;
/// Characters shown before and after the word that was found.
const AROUND: usize = 80;

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub conversation: ConversationId,
    pub message: MessageId,
    /// Some text around the first word that was found.
    pub snippet: String,
}

/// The words of a text with the byte they begin at.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = text.as_ptr() as usize;
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= WORD_BYTES)
        .map(move |word| (word.as_ptr() as usize - start, word))
}

/// The organization as a word, so that the index itself is walked by tenant.
fn scope(organization: &str) -> String {
    organization.bytes().fold(String::from("o"), |mut word, byte| {
        use std::fmt::Write;
        let _ = write!(word, "{byte:02x}");
        word
    })
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes.min(text.len()))]
}

/// Makes the message findable by its text parts as they stand in the open transaction; replaces what was there.
pub(super) fn index(
    connection: &mut AnyConnection,
    organization: &str,
    conversation: &str,
    message: &str,
) -> Result<(), JobFault> {
    let texts: Vec<String> = part::table
        .filter(part::organization_id.eq(organization))
        .filter(part::message_id.eq(message))
        .filter(part::kind.eq("text"))
        .order(part::idx)
        .select(part::text)
        .load(connection)?;
    let text = texts.join(" ");
    let words = words(cut(&text, INDEXED_BYTES)).map(|(_, word)| word.to_lowercase()).collect::<Vec<_>>().join(" ");
    match connection {
        AnyConnection::Sqlite(c) => {
            // The trigger on `message_index` takes the words away.
            diesel::delete(
                message_index::table
                    .filter(message_index::organization_id.eq(organization))
                    .filter(message_index::message_id.eq(message)),
            )
            .execute(c)?;
            let n: i64 = diesel::insert_into(message_index::table)
                .values((
                    message_index::organization_id.eq(organization),
                    message_index::conversation_id.eq(conversation),
                    message_index::message_id.eq(message),
                ))
                .returning(message_index::n)
                .get_result(c)?;
            diesel::sql_query("insert into message_words (rowid, scope, words) values (?, ?, ?)")
                .bind::<BigInt, _>(n)
                .bind::<Text, _>(scope(organization))
                .bind::<Text, _>(words)
                .execute(c)?;
        }
        AnyConnection::Postgres(c) => {
            diesel::sql_query(
                "insert into message_index (organization_id, conversation_id, message_id, words) \
                 values ($1, $2, $3, to_tsvector('simple', $4)) \
                 on conflict (organization_id, message_id) do update set words = excluded.words",
            )
            .bind::<Text, _>(organization)
            .bind::<Text, _>(conversation)
            .bind::<Text, _>(message)
            .bind::<Text, _>(format!("{} {words}", scope(organization)))
            .execute(c)?;
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    conversation_id: String,
    #[diesel(sql_type = Text)]
    message_id: String,
}

const VISIBLE: &str = "join conversation c on c.organization_id = m.organization_id and c.id = m.conversation_id \
                       where m.organization_id = ";

/// Messages that hold all words of `asked`, newest first: of the viewer's own conversations and of those that the
/// organization may see.
pub(super) fn search(
    connection: &mut AnyConnection,
    organization: &OrganizationId,
    viewer: &UserId,
    asked: &str,
    limit: i64,
) -> Result<Vec<Hit>, StoreFault> {
    let asked: Vec<String> = words(asked).take(ASKED_WORDS).map(|(_, word)| word.to_lowercase()).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let (organization, scope) = (organization.as_str(), scope(organization.as_str()));
    let found: Vec<Found> = match connection {
        AnyConnection::Sqlite(c) => {
            let asked = asked.iter().map(|word| format!(" AND words : \"{word}\"")).collect::<String>();
            diesel::sql_query(format!(
                "select m.conversation_id, m.message_id from message_words w join message_index m on m.n = w.rowid \
                 {VISIBLE} ? and (c.user_id = ? or c.visibility = 'organization') and message_words match ? \
                 order by m.message_id desc limit ?"
            ))
            .bind::<Text, _>(organization)
            .bind::<Text, _>(viewer.as_str())
            .bind::<Text, _>(format!("scope : \"{scope}\"{asked}"))
            .bind::<BigInt, _>(limit)
            .load(c)?
        }
        AnyConnection::Postgres(c) => diesel::sql_query(format!(
            "select m.conversation_id, m.message_id from message_index m \
             {VISIBLE} $1 and (c.user_id = $2 or c.visibility = 'organization') \
             and m.words @@ plainto_tsquery('simple', $3) order by m.message_id desc limit $4"
        ))
        .bind::<Text, _>(organization)
        .bind::<Text, _>(viewer.as_str())
        .bind::<Text, _>(format!("{scope} {}", asked.join(" ")))
        .bind::<BigInt, _>(limit)
        .load(c)?,
    };
    with_snippets(connection, organization, &asked, found)
}

fn with_snippets(
    connection: &mut AnyConnection,
    organization: &str,
    asked: &[String],
    found: Vec<Found>,
) -> Result<Vec<Hit>, StoreFault> {
    let ids: Vec<String> = found.iter().map(|row| row.message_id.clone()).collect();
    let rows: Vec<(String, String)> = part::table
        .filter(part::organization_id.eq(organization))
        .filter(part::message_id.eq_any(ids))
        .filter(part::kind.eq("text"))
        .order(part::idx)
        .select((part::message_id, part::text))
        .load(connection)?;
    let mut texts: HashMap<String, String> = HashMap::new();
    for (message, text) in rows {
        let whole = texts.entry(message).or_default();
        if !whole.is_empty() {
            whole.push(' ');
        }
        whole.push_str(&text);
    }
    let hit = |row: Found| {
        Ok(Hit {
            conversation: id(&row.conversation_id, ConversationId::parse)?,
            message: id(&row.message_id, MessageId::parse)?,
            snippet: snippet(texts.get(&row.message_id).map_or("", String::as_str), asked),
        })
    };
    found.into_iter().map(hit).collect()
}

fn snippet(text: &str, asked: &[String]) -> String {
    let text = cut(text, INDEXED_BYTES);
    let at = words(text).find(|(_, word)| asked.contains(&word.to_lowercase())).map_or(0, |(at, _)| at);
    let before = text[..at].char_indices().rev().nth(AROUND - 1).map_or(0, |(position, _)| position);
    let after = text[at..].char_indices().nth(AROUND).map_or(text.len(), |(position, _)| at + position);
    let mut snippet = String::new();
    if before > 0 {
        snippet.push('…');
    }
    snippet.push_str(text[before..after].trim());
    if after < text.len() {
        snippet.push('…');
    }
    snippet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_where_they_begin() {
        assert_eq!(words("¡Hola, señor! x-y").collect::<Vec<_>>(), [(2, "Hola"), (8, "señor"), (16, "x"), (18, "y")]);
        assert_eq!(words("\" OR * NEAR(").map(|w| w.1).collect::<Vec<_>>(), ["OR", "NEAR"]);
    }

    #[test]
    fn a_snippet_is_cut_at_characters() {
        let text = format!("{}needle{}", "é ".repeat(100), " ü".repeat(100));
        let shown = snippet(&text, &["needle".into()]);
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.contains("needle"), "{shown}");
        assert!(shown.chars().count() <= 2 * AROUND + 2);
        assert_eq!(snippet("short", &["short".into()]), "short");
    }
}
