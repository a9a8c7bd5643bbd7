//! Columns for people. What stands in the store came from anywhere: nothing of it reaches a terminal as a command.

/// A table with a line of titles.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    pub fn add(&mut self, cells: &[String]) {
        self.rows.push(cells.iter().map(|cell| line(cell)).collect());
    }

    /// Without an end of line at the end.
    pub fn print(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let lines = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A text in one line, with all that a terminal would obey written out.
pub(super) fn line(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_a_terminal_obeys_nothing() {
        let mut table = Table::new(&["A", "B"]);
        table.add(&["long one".into(), "x".into()]);
        table.add(&["\u{1b}[31mred\n".into(), "\u{202e}y".into()]);
        let printed = table.print();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(!printed.contains('\u{1b}') && !printed.contains('\u{202e}'), "{printed:?}");
        assert!(lines[2].starts_with(r"\u{1b}[31mred\u{a}"), "{printed}");
        assert_eq!(lines[1].find('x'), lines[0].find('B'));
    }
}
