//! Names that people give to things and other people read.

use crate::error::Fault;

/// The longest name, in characters.
const LONGEST: usize = 100;

/// A name of 1 to 100 characters that shows what it is: no control characters (so no ANSI sequences and no line ends),
/// nothing that turns the direction of the text around it. Spaces at its ends are taken off. What is markup elsewhere is
/// plain text here.
pub fn display_name(field: &str, text: &str) -> Result<String, Fault> {
    let name = text.trim_matches(' ');
    let length = name.chars().count();
    if length == 0 || length > LONGEST {
        return Err(Fault::field(field, format!("must have 1 to {LONGEST} characters")));
    }
    match name.chars().find(|c| deceives(*c)) {
        Some(c) => {
            Err(Fault::field(field, format!("must not hold U+{:04X}: it does not show as what it is", c as u32)))
        }
        None => Ok(name.to_owned()),
    }
}

fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_what_it_is() {
        for fine in ["My phone", "Ännes Gerät", "電話", "<b>phone</b>", "👩‍💻 laptop", &"x".repeat(100)] {
            assert_eq!(display_name("n", fine).as_deref(), Ok(fine));
        }
        assert_eq!(display_name("n", " padded ").as_deref(), Ok("padded"));
        for bad in
            ["", "  ", "two\nlines", "\u{1b}[31mred", "\u{9b}31m", "a\u{202e}b", "a\u{2066}b", "a\0b", "\u{feff}"]
        {
            let fault = display_name("n", bad).unwrap_err();
            assert_eq!(fault.details, Some(serde_json::json!({ "field": "n" })), "{bad:?}");
        }
        assert!(display_name("n", &"x".repeat(101)).is_err());
    }
}
